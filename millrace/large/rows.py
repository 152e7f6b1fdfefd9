"""Rows of a table of any length, cleaned, encoded and kept on disk: a folder for each side of the split."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.casting import cast
from millrace.cleaning import row_faults
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.features import encode_inputs, encode_target, encoded
from millrace.metrics import Floats
from millrace.sources.streams import Part
from millrace.splitting import ALL, SplitRecord, parts
from millrace.transforms import Matrix

# Rows read and cleaned at once.
BATCH = 100_000
# A hash is below it as often as a number from 0 to 1 is below 1.
HASHES = 2**64
SIDES = ("training", "holdout")


@dataclass(frozen=True)
class StoredRows:
    """Encoded rows on disk: inputs, the target, and each row's part.

    The parts are those of `millrace.splitting`, which folds are made of.
    """

    folder: Path
    problem: Problem
    rows: int

    def inputs(self, start: int = 0, stop: int | None = None) -> Matrix:
        """Inputs [rows, inputs] of the rows from `start` to before `stop`."""
        width = len(self.problem.inputs)
        count = (self.rows if stop is None else min(stop, self.rows)) - start
        # Not mapped into memory: what is read would count as the process' own.
        read = np.fromfile(self.folder / "inputs.f64", np.float64, count * width, offset=8 * start * width)
        return read.reshape(count, width)

    @property
    def target(self) -> Floats:
        """The encoded target in its own unit: [rows]."""
        return np.fromfile(self.folder / "target.f64", np.float64)

    @property
    def parts(self) -> NDArray[np.uint8]:
        """Which part each row is in: [rows]."""
        return np.fromfile(self.folder / "parts.u8", np.uint8)

    def batches(self) -> Iterator[tuple[int, Matrix]]:
        """The inputs of all rows, some at a time, with the number of the first."""
        for start in range(0, self.rows, BATCH):
            yield start, self.inputs(start, start + BATCH)


@dataclass(frozen=True)
class Stored:
    """A table's rows on both sides of the split, the rule, and how many broke the contract."""

    training: StoredRows
    holdout: StoredRows
    split: SplitRecord
    quarantined: int


def store(sources: Sequence[Part], problem: Problem, folder: Path, bad_rows_limit: float) -> Stored:
    """Clean and encode the rows of all parts of a source, which are to be read with the contract's columns.

    Repeated rows stay: to find them takes all rows at once. They are on one side of the split, and in one
    part.

    Raises:
        UserError: more rows than the limit break the contract, a side is empty, or the contract splits by
            time, which takes all moments at once.
    """
    rule = _rule(problem)
    counts = dict.fromkeys(SIDES, 0)
    read = quarantined = 0
    with ExitStack() as stack:
        files = {side: _open(folder / side, stack) for side in SIDES}
        for source in sources:
            for batch in source.read(BATCH):
                bronze = cast(batch.table, problem, source.name)
                silver = _sound(bronze, problem)
                read, quarantined = read + len(bronze), quarantined + len(bronze) - len(silver)
                if not len(silver):
                    continue
                held = rule.held_out(silver, problem)
                for side, rows in zip(SIDES, (~held, held), strict=True):
                    _write(files[side], silver[rows], problem)
                    counts[side] += int(rows.sum())
    if quarantined > bad_rows_limit * read:
        raise UserError(
            f"{quarantined:,} of {read:,} rows break the contract of '{problem.name}', more than the limit "
            f"of {bad_rows_limit:.1%}. Mend the data or the contract, or raise the limit."
        )
    for side, count in counts.items():
        if not count:
            raise UserError(f"Of {read:,} rows none is on the {side} side; bring more rows.")
    split = rule.model_copy(update={"training_rows": counts["training"], "holdout_rows": counts["holdout"]})
    training, holdout = (StoredRows(folder / side, problem, counts[side]) for side in SIDES)
    return Stored(training, holdout, split, quarantined)


def _rule(problem: Problem) -> SplitRecord:
    """The contract's rule, whose thresholds no row has a say in."""
    split = problem.split
    if split.by == "time":
        raise UserError("A table is split by time in memory alone; split it by rows or by group.")
    # As `SplitRecord` calls them.
    classes = ("False", "True") if problem.target.type == "boolean" else problem.classes
    strata = classes if classes and split.by == "rows" else (ALL,)
    return SplitRecord(
        by=split.by,
        column=split.column,
        seed=split.seed,
        holdout=split.holdout,
        thresholds=dict.fromkeys(strata, int(split.holdout * HASHES)),
        training_rows=0,
        holdout_rows=0,
    )


def _sound(bronze: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    faults, _ = row_faults(bronze, problem)
    sound = np.ones(len(bronze), dtype=np.bool_)
    for rows, _ in faults:
        sound[rows] = False
    return bronze[sound]


def _open(folder: Path, stack: ExitStack) -> list[IO[bytes]]:
    folder.mkdir(parents=True)
    return [
        stack.enter_context((folder / name).open("wb")) for name in ("inputs.f64", "target.f64", "parts.u8")
    ]


def _write(files: list[IO[bytes]], silver: pd.DataFrame, problem: Problem) -> None:
    inputs, target, numbers = files
    encode_inputs(silver, encoded(problem)).tofile(inputs)
    encode_target(silver[problem.target.name], problem).tofile(target)
    parts(silver, problem).astype(np.uint8).tofile(numbers)
