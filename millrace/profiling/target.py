"""What is to be predicted: the task that a target column asks for."""

import numpy as np
import pyarrow as pa

from millrace.contract import Column, Target, Task
from millrace.errors import UserError
from millrace.profiling.inference import Finding, examples, infer, sort
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.statistics import Tally

MAX_CLASSES = 50
# Whole numbers with more different values than this are amounts, not classes.
MAX_NUMBERED_CLASSES = 10


def infer_target(counted: Tally, name: str, settings: ProfilingSettings, origin: str) -> Finding:
    """The target's part of the contract and what breaks it; classes with too few rows do.

    Raises:
        UserError: the column is none that can be predicted.
    """
    found = infer(counted, settings.model_copy(update={"max_categories": MAX_CLASSES}))
    about = f"{origin}: the target '{name}'"
    if found.column is None:
        raise UserError(f"{about} is {found.notes[0]}; there is nothing to predict.")
    if found.kind in ("id", "datetime"):
        different = f"{len(counted.values):,} different values such as {examples(counted.texts())}"
        why = f" ({found.notes[0]})" if len(found.notes) > 1 else ""
        raise UserError(
            f"{about} has {different}: neither numbers nor 2 to {MAX_CLASSES} classes{why}. "
            "Mend the column, or name another with --target."
        )
    rows = _class_rows(counted, found)
    if found.kind == "integer" and len(rows) > 2:
        few = len(rows) <= MAX_NUMBERED_CLASSES and min(rows.values()) >= settings.min_rows
        rows = rows if few else {}
    if not rows:
        return found
    usual = [text for text, count in rows.items() if count >= settings.min_rows]
    if len(usual) < 2:
        raise UserError(
            f"{about} has fewer than two classes with at least {settings.min_rows} rows each; "
            f"found {', '.join(f'{text} ({count})' for text, count in list(rows.items())[:5])}."
        )
    return found if found.kind == "boolean" else _classes(counted, found, rows, usual)


def task_of(target: Column) -> Task:
    """The task that a target of this type and with these categories asks for."""
    if target.type in ("number", "integer"):
        return "regression"
    return "multiclass" if len(target.categories) > 2 else "binary"


def without_classes(target: Target, sparse: list[str], about: str, min_rows: int) -> Target:
    """The target without classes of which cleaning left too few rows.

    Raises:
        UserError: fewer than two classes remain.
    """
    left = tuple(name for name in target.categories if name not in sparse)
    if len(left) < 2:
        raise UserError(
            f"{about}: after cleaning, fewer than two classes of the target '{target.name}' have at least "
            f"{min_rows} different rows. Bring more rows."
        )
    return target.model_copy(update={"categories": left})


def _class_rows(counted: Tally, found: Finding) -> dict[str, int]:
    """The rows of each class that the column may hold; none if it is clearly a measure."""
    if found.kind == "number":
        return {}
    bad = set(found.bad.to_pylist())
    rows: dict[str, int] = {}
    names = _class_names(counted, found)
    for value, name, count in zip(counted.values.to_pylist(), names, counted.counts, strict=True):
        if value not in bad:
            rows[name] = rows.get(name, 0) + int(count)
    return rows


def _class_names(counted: Tally, found: Finding) -> list[str]:
    if found.kind == "boolean":
        return [str(truth).lower() for truth in counted.read("boolean")]
    return [text.removesuffix(".0") if found.kind == "integer" else text for text in counted.texts()]


def _classes(counted: Tally, found: Finding, rows: dict[str, int], usual: list[str]) -> Finding:
    notes = found.notes
    if found.kind == "integer":
        notes = (*notes, f"{len(usual)} whole numbers, taken for classes")
    rare = [text for text in rows if text not in usual]
    if rare:
        count = sum(rows[text] for text in rare)
        notes = (
            *notes,
            f"{len(rare)} classes with too few rows to learn from, like {examples(rare)}: "
            f"{count} rows go to quarantine",
        )
    bad = np.array([name not in usual for name in _class_names(counted, found)])
    values = counted.values.filter(pa.array(bad))
    column = Column(type="category", categories=sort(usual), nullable=counted.missing > 0)
    return Finding(column, "category", notes, values, int(counted.counts[bad].sum()))
