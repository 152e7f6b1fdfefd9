"""A draft of the contract that trains as it is: inferred column by column, then rehearsed whole.

The rehearsal casts, cleans, splits and encodes the table as a training run does, so that what would
stop that run is known, and left out, before it.
"""

import math
from typing import Literal

import pandas as pd
import pyarrow as pa

from millrace.casting import cast
from millrace.cleaning import RowCounts, clean
from millrace.contract import ColumnType, Problem, Target
from millrace.errors import UserError, nearest
from millrace.models import TrainingRows
from millrace.profiling.columns import Seen, choose_key, keep_within_limit, look, mark_ids, name_fault
from millrace.profiling.inference import examples, percent, within
from millrace.profiling.leaks import find_leaks
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.statistics import Facts, count_duplicates, countable
from millrace.profiling.target import task_of, without_classes
from millrace.quality import GOLD_TARGET
from millrace.splitting import split
from millrace.strict import Strict

Role = Literal["target", "key", "feature", "id", "left out"]


class ColumnProfile(Strict):
    """One column of the table: what became of it, why, and its statistics over all rows."""

    name: str
    kind: ColumnType | None
    role: Role
    notes: tuple[str, ...]
    facts: Facts | None


class Draft(Strict):
    """A contract that was inferred from a table, and how the table fares under it."""

    problem: Problem
    columns: tuple[ColumnProfile, ...]
    expected: RowCounts
    bad_rows_limit: float
    warnings: tuple[str, ...]
    rows: int
    duplicates: int
    memory: int
    origin: str

    @property
    def target(self) -> ColumnProfile:
        """The column to predict."""
        return next(column for column in self.columns if column.role == "target")


def make_draft(
    raw: pa.Table, origin: str, *, name: str, source: str, target: str, settings: ProfilingSettings
) -> Draft:
    """Infer a problem called `name` from a raw table, to be read again from `source`.

    Raises:
        UserError: no such target, or nothing can be learnt of it from this table.
    """
    _check(raw, target, origin)
    seen = [
        look(column, raw.column(position), raw.column_names, target, settings, origin)
        for position, column in enumerate(raw.column_names)
    ]
    aim = next(column for column in seen if column.name == target)
    features = [column for column in seen if column is not aim]
    kept = [position for position, kind in enumerate(raw.schema.types) if countable(kind)]
    duplicates = count_duplicates(raw.select(kept))
    key = choose_key(features, raw.num_rows - duplicates)
    mark_ids(features, key, settings)
    keep_within_limit(features, aim, settings)
    problem, expected = _rehearsed(raw, origin, name, source, features, aim, key, settings)
    return Draft(
        problem=problem,
        columns=tuple(_profile(column, problem) for column in seen),
        expected=expected,
        bad_rows_limit=settings.bad_rows_limit,
        warnings=tuple(_warnings(seen, aim, expected, settings)),
        rows=raw.num_rows,
        duplicates=duplicates,
        memory=raw.nbytes,
        origin=origin,
    )


def _check(raw: pa.Table, target: str, origin: str) -> None:
    names = raw.column_names
    if target not in names:
        raise UserError(
            f"{origin}: there is no column '{target}' to predict.{nearest(target, names)} "
            f"The table has: {', '.join(names[:20])}."
        )
    fault = name_fault(target, names)
    if fault:
        raise UserError(f"{origin}: the target cannot be used: {fault}.")
    if raw.num_rows == 0:
        raise UserError(f"{origin}: has a header but no rows.")
    kind = raw.schema.field(target).type
    if not countable(kind):
        raise UserError(f"{origin}: the target '{target}' holds {kind}, not numbers or text.")


def _rehearsed(
    raw: pa.Table,
    origin: str,
    name: str,
    source: str,
    features: list[Seen],
    aim: Seen,
    key: str | None,
    settings: ProfilingSettings,
) -> tuple[Problem, RowCounts]:
    """The problem after leaving out what would stop its training, and where the rows go."""
    assert aim.finding.column is not None
    target = Target(name=aim.name, **aim.finding.column.model_dump(exclude={"nullable"}))
    while True:
        problem = _problem(name, source, target, features, key, origin)
        cleaned = clean(cast(raw, problem, origin), problem, bad_rows_limit=1.0)
        silver = cleaned.silver
        if len(silver) < settings.min_rows:
            raise UserError(
                f"{origin}: only {len(silver)} different rows have a usable target '{target.name}'; "
                f"at least {settings.min_rows} are needed."
            )
        sizes = silver[target.name].value_counts()
        sparse = [text for text in target.categories if sizes.get(text, 0) < settings.min_rows]
        if sparse:
            target = without_classes(target, sparse, origin, settings.min_rows)
            aim.retype(
                aim.finding, f"classes with too few different rows go to quarantine: {examples(sparse)}"
            )
            continue
        if silver[target.name].nunique() < 2:
            raise UserError(f"{origin}: after cleaning, the target '{target.name}' has one value only.")
        leaks = find_leaks(_gold(silver, problem), problem.task, settings)
        for column in features:
            if column.name in leaks:
                column.leave_out(leaks[column.name])
        if not leaks:
            return problem, cleaned.counts


def _gold(silver: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    training_rows, _, _ = split(silver, problem)
    rows = TrainingRows.of(training_rows, problem)
    return pd.DataFrame(rows.matrix, columns=rows.state.names).assign(**{GOLD_TARGET: rows.target})


def _problem(
    name: str, source: str, target: Target, features: list[Seen], key: str | None, origin: str
) -> Problem:
    columns = {column.name: column.finding.column for column in features if column.finding.column}
    if all(column.type == "id" for column in columns.values()):
        why = "; ".join(f"{column.name}: {column.finding.notes[0]}" for column in features[:5])
        raise UserError(f"{origin}: no column is left to learn from{f' ({why})' if why else ''}.")
    return Problem(
        name=name,
        title=name.replace("_", " ").capitalize(),
        task=task_of(target),
        source=source,
        synthetic=source.startswith("sample://"),
        target=target,
        features=columns,
        key=key if key in columns else None,
    )


def _profile(column: Seen, problem: Problem) -> ColumnProfile:
    role: Role = "feature"
    if column.name == problem.target.name:
        role = "target"
    elif column.finding.column is None:
        role = "left out"
    elif column.name == problem.key:
        role = "key"
    elif column.finding.kind == "id":
        role = "id"
    return ColumnProfile(
        name=column.name, kind=column.finding.kind, role=role, notes=column.finding.notes, facts=column.facts
    )


def _warnings(seen: list[Seen], aim: Seen, expected: RowCounts, settings: ProfilingSettings) -> list[str]:
    found = []
    if aim.facts and aim.facts.missing:
        found.append(
            f"The target '{aim.name}' is empty in {aim.facts.missing:,} rows; they go to quarantine."
        )
    if not within(expected.quarantined, expected.read, settings):
        share = min(math.floor(100 * expected.quarantined / expected.read + 1) / 100, 0.99)
        found.append(
            f"{expected.quarantined:,} of {expected.read:,} rows go to quarantine, more than the limit of "
            f"{settings.bad_rows_limit:.0%}: mend the table, or train with --set bad_rows_limit={share:g}."
        )
    if expected.duplicates:
        found.append(f"{expected.duplicates:,} rows repeat another one and are used once.")
    holed = [
        f"'{column.name}' ({percent(column.facts.missing, expected.read)})"
        for column in seen
        if column.finding.column and column.facts and 2 * column.facts.missing > expected.read
    ]
    if holed:
        found.append(f"Mostly empty: {', '.join(holed)}.")
    return found
