"""The columns of a table while a draft is made of it: seen one by one, then judged together."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from millrace.casting import plain
from millrace.contract import Column, Problem, Target
from millrace.errors import UserError
from millrace.profiling.inference import THOUSANDS, Finding, as_text, infer, nothing, percent, within
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.statistics import TEXT, Facts, countable, describe, tally
from millrace.profiling.target import infer_target

IDENTIFIES = re.compile(r"(?:^|[_\W])(?i:id|uuid|guid|key)$|[a-z](?:Id|ID)$")
# YAML reads no longer name than 1024 characters, escapes included.
LONGEST_NAME = 200


@dataclass
class Seen:
    """A column while the draft is made."""

    name: str
    raw: pa.ChunkedArray
    finding: Finding
    facts: Facts | None

    def leave_out(self, why: str) -> None:
        """Keep the column out of the contract."""
        self.finding = replace(self.finding, column=None, notes=(why, *self.finding.notes))

    def retype(self, finding: Finding, *notes: str) -> None:
        """See the column as something else, and say why."""
        self.finding = replace(finding, notes=(*notes, *finding.notes))

    def bad(self) -> NDArray[np.bool_]:
        """The rows whose cell breaks the contract: [rows]."""
        if not self.finding.bad_rows:
            return np.zeros(len(self.raw), dtype=bool)
        broken = pc.is_in(plain(self.raw, TEXT), self.finding.bad)
        return np.asarray(broken.to_numpy(zero_copy_only=False), dtype=bool)


def look(
    name: str, raw: pa.ChunkedArray, names: list[str], target: str, settings: ProfilingSettings, origin: str
) -> Seen:
    """What one column seems to be.

    Raises:
        UserError: it is the target, and none that can be predicted.
    """
    if not countable(raw.type):
        return Seen(name, raw, nothing(f"holds {raw.type}, not numbers, text or dates"), None)
    try:
        counted = tally(raw)
    except pa.ArrowException:
        if name == target:
            raise UserError(f"{origin}: the target '{name}' holds bytes that are not UTF-8 text.") from None
        return Seen(name, raw, nothing("holds bytes that are not UTF-8 text"), None)
    finding = infer_target(counted, name, settings, origin) if name == target else infer(counted, settings)
    words = [f"'{word}' ({count})" for word, count in counted.null_words.items()]
    if words:
        finding = replace(finding, notes=(*finding.notes, f"count as empty: {', '.join(words)}"))
    seen = Seen(name, raw, finding, describe(counted, finding.kind))
    fault = name_fault(name, names)
    if fault:
        seen.leave_out(fault)
    return seen


def name_fault(name: str, names: list[str]) -> str | None:
    """Why no contract can have this name, if so; the rules are the contract's own."""
    if names.count(name) > 1:
        return f"'{name}' stands in the header twice; rename one"
    if len(name) > LONGEST_NAME:
        return f"its name is longer than {LONGEST_NAME} characters; rename it"
    number, other = Column(type="number"), "x" if name != "x" else "y"
    target = Target(name=other, type="number")
    try:
        Problem(
            name="p", title="", task="regression", source="table.csv", target=target, features={name: number}
        )
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return None


def choose_key(features: list[Seen], different_rows: int) -> str | None:
    """The column that most looks as if it identified rows: one value for each different row."""
    candidates = [
        column
        for column in features
        if column.finding.column
        and column.facts
        and column.facts.missing == 0
        and column.facts.distinct == different_rows
        and _identifies(column, column.facts)
    ]
    candidates.sort(key=lambda column: (not IDENTIFIES.search(column.name), column.finding.kind != "id"))
    return candidates[0].name if candidates else None


def _identifies(column: Seen, facts: Facts) -> bool:
    if column.finding.kind == "id":
        codes = [text for text, _ in facts.top if len(text) <= 64 and " " not in text]
        return len(codes) == len(facts.top) and not all(map(THOUSANDS.fullmatch, codes))
    if column.finding.kind != "integer" or facts.numbers is None or column.finding.bad_rows:
        return False
    running = facts.numbers.high - facts.numbers.low + 1 == facts.distinct
    return running or bool(IDENTIFIES.search(column.name))


def mark_ids(features: list[Seen], key: str | None, settings: ProfilingSettings) -> None:
    """Give the key, and whole numbers that identify something by their name, the type id."""
    for column in features:
        found, facts = column.finding, column.facts
        if found.column is None or facts is None:
            continue
        by_name = IDENTIFIES.search(column.name) and facts.distinct > settings.max_categories
        if column.name == key:
            why = "suspected key: a different value in each different row"
        elif found.kind == "integer" and by_name:
            why = "by its name it identifies something: not for a model to learn from"
        else:
            continue
        identifier = Column(type="id", nullable=facts.missing > 0)
        column.finding = Finding(identifier, "id", (why, *found.notes))


def keep_within_limit(features: list[Seen], aim: Seen, settings: ProfilingSettings) -> None:
    """Read columns with bad cells as text until their rows together pass training's limit."""
    rows = len(aim.raw)
    empty = pc.is_null(plain(aim.raw, TEXT), nan_is_null=True).to_numpy(zero_copy_only=False)
    unusable = aim.bad() | empty.astype(bool)
    # If the target alone is over the limit, the user must raise it; features then get as much again.
    taken = unusable & within(int(unusable.sum()), rows, settings)
    faulty = {
        column.name: column.bad() for column in features if column.finding.column and column.finding.bad_rows
    }
    while faulty and not within(int(np.logical_or.reduce([taken, *faulty.values()]).sum()), rows, settings):
        worst = max(faulty, key=lambda name: int(faulty[name].sum()))
        count = int(faulty.pop(worst).sum())
        column = next(column for column in features if column.name == worst)
        why = (
            f"{percent(count, rows)} of its cells cannot be read as {column.finding.kind}: "
            "with those of other columns too many to set aside"
        )
        column.retype(as_text(tally(column.raw), settings), why)
