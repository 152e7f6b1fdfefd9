"""The rows that are replayed: those of the problem's table that the champion has not learnt from."""

from pathlib import Path
from typing import Any

from millrace.casting import cast
from millrace.cleaning import clean
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.features import encode_target
from millrace.simulation.scenarios import World
from millrace.sources import Source, read
from millrace.splitting import SplitRecord

# Held-out rows, below which all rows are taken; and rows beyond which a sample is.
FEWEST, MOST = 20, 100_000


def make_world(problem: Problem, source: Source, cache: Path, about: dict[str, Any]) -> tuple[World, str]:
    """Read the source as training does, and say in words which of its rows there are.

    `about` is what the service says of its model: how it was split from the rows it learnt from, and what its
    inputs matter.

    Raises:
        UserError: the source is no table of this problem, or not one row of it keeps the contract.
    """
    raw = read(source, cache, problem.columns)
    table = clean(cast(raw.table, problem, raw.origin), problem, bad_rows_limit=1.0).silver
    if not len(table):
        raise UserError(f"{raw.origin}: no row keeps the contract of '{problem.name}'.")
    told = f"all {len(table):,} rows of {raw.origin}, also those that the model has learnt from"
    if about.get("split"):
        held = table[SplitRecord.model_validate(about["split"]).held_out(table, problem)]
        if len(held) >= FEWEST:
            table = held
            told = f"the {len(held):,} rows of {raw.origin} that the model has not learnt from"
    if len(table) > MOST:
        table = table.sample(MOST, random_state=0)
        told += f", {MOST:,} of them"
    table = table.reset_index(drop=True)
    targets = encode_target(table[problem.target.name], problem)
    return World(problem, table, targets, about.get("importance", {})), told
