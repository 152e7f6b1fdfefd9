"""The contract as a form: what a page needs to know to ask for one row, with a real row to begin with.

The contract says what is allowed. What is common is read from the bundle's own rows, as a range of 0 to 2,000
is no help to somebody whose values lie between 2 and 5.
"""

from math import floor, log10
from typing import Any, Literal

import pandas as pd

from millrace.bundle import REFERENCE, SELFTEST, Bundle
from millrace.contract import NUMERIC, Column, ColumnType, Problem
from millrace.features import FeatureState
from millrace.intervals import HIGHEST, LOWEST
from millrace.requests import names_rows
from millrace.strict import Strict

# Between these quantiles values are common.
COMMON = (0.01, 0.99)
# A slider's span has at least so many steps.
STEPS = 100
# How many decimal places more than its step an example has.
FINER = 2
Span = tuple[float, float]
# What a field is to the model: learnt from, only checked, or no more than a row's name.
Role = Literal["input", "checked", "name"]


class Field(Strict):
    """One feature to fill in.

    `range` is what the contract allows and `common` where 98% of the held-out rows are, both in `unit`.
    `step` suits a slider; an integer's is whole. Null is allowed where the field is `nullable`.
    """

    name: str
    type: ColumnType
    unit: str
    meaning: str
    role: Role
    nullable: bool
    range: tuple[float | None, float | None]
    common: Span | None
    step: float | None
    categories: tuple[str, ...]
    example: bool | float | str | None


class Form(Strict):
    """The fields in the contract's order, where targets commonly are, and the levels an interval may have.

    `made_from` names the fields that the model's own features are made from.
    """

    fields: tuple[Field, ...]
    target_common: Span | None
    levels: Span = (LOWEST, HIGHEST)
    made_from: dict[str, tuple[str, ...]]


def read_form(bundle: Bundle) -> Form:
    """The form of a bundle: its examples are the first self-test row, its common values the reference's."""
    rows = example_rows(bundle)
    sample = pd.read_parquet(bundle.folder / REFERENCE)
    return make_form(bundle.problem, rows[0], sample, bundle.fitted.state)


def example_rows(bundle: Bundle) -> list[dict[str, Any]]:
    """Rows of the self-test to show to callers: what is private in them is made up."""
    private = {name: column for name, column in bundle.problem.inputs.items() if column.private}
    made_up = {name: _made_up(column) for name, column in private.items()}
    return [{**row, **made_up} for row in bundle.read(SELFTEST)["rows"]]


def make_form(
    problem: Problem, row: dict[str, Any], sample: pd.DataFrame, state: FeatureState | None = None
) -> Form:
    """The form of a problem, with a row as a caller would send it and a typed sample of the table.

    `state` is the model's. Row and sample may lack columns, as bundles keep none but the inputs: what is not
    known is null.
    """
    fields = tuple(
        _field(problem, name, row.get(name), _common(sample, name, column))
        for name, column in problem.features.items()
    )
    return Form(
        fields=fields,
        target_common=_common(sample, problem.target.name, problem.target),
        made_from=state.made_from if state else {},
    )


def _field(problem: Problem, name: str, example: Any, common: Span | None) -> Field:
    column = problem.features[name]
    step = _step(column, common)
    role = _role(problem, name)
    return Field(
        name=name,
        type=column.type,
        unit=column.unit,
        meaning=column.meaning,
        role=role,
        nullable=column.nullable or role != "input",
        range=column.range or (None, None),
        common=common,
        step=step,
        categories=column.categories,
        example=_short(example, step, column) if isinstance(example, float) and step else example,
    )


def _role(problem: Problem, name: str) -> Role:
    if name in problem.inputs:
        return "input"
    return "name" if names_rows(problem, name) else "checked"


def _made_up(column: Column) -> bool | float | str | None:
    """A value that the contract allows, of nobody."""
    if column.nullable or column.type == "id":
        return None
    if column.type in NUMERIC:
        low, high = column.range or (None, None)
        return 0 if (low or 0) <= 0 <= (high or 0) else low if low is not None else high
    if column.type == "boolean":
        return False
    return column.categories[0] if column.type == "category" else "2000-01-01T00:00:00"


def _common(sample: pd.DataFrame, name: str, column: Column) -> Span | None:
    if column.type not in NUMERIC or name not in sample or column.private:
        return None
    low, high = sample[name].quantile(COMMON)
    return (float(low), float(high)) if low < high else None


def _step(column: Column, common: Span | None) -> float | None:
    """A power of ten, of which the span has at least STEPS."""
    if column.type == "integer":
        return 1
    low, high = common or column.range or (None, None)
    if column.type != "number" or low is None or high is None:
        return None
    # Zero where the span is smaller than what a float can be divided into.
    return 10.0 ** floor(log10(high - low) - log10(STEPS)) or None


def _short(value: float, step: float, column: Column) -> float:
    """The value in as many digits as matter, and still in its range."""
    short = round(value, FINER - round(log10(step)))
    low, high = column.range or (None, None)
    short = short if low is None else max(short, low)
    return short if high is None else min(short, high)
