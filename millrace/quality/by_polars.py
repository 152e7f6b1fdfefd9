"""A suite evaluated by polars: the expectations that our suites use, with Great Expectations' outcomes.

An expectation of another type, or with a setting that is not read here, is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.digests import alike, repeats, take
from millrace.quality.report import SAMPLES, Check, shown
from millrace.quality.suites import Suite
from millrace.threads import in_threads

if TYPE_CHECKING:
    import polars as pl

# The first rows are nearly always enough to see that a column has the few different values it must have.
FIRST_ROWS = 1000


@dataclass(frozen=True)
class Found:
    """What one expectation found; `unexpected` and `rows` only where it is about rows."""

    passed: bool
    samples: list[Any]
    unexpected: int | None = None
    rows: int | None = None


class once(cached_property[Any]):  # noqa: N801
    """A cached property; the one of Python 3.11 computes it for one column at a time, behind a lock."""

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        value = self.func(instance)
        instance.__dict__[self.attrname or ""] = value
        return value


@dataclass(frozen=True)
class Cells:
    """A column."""

    values: "pd.Series[Any]"

    @once
    def series(self) -> "pl.Series":
        """As polars holds it, numbers in the same memory."""
        import polars as pl

        number = self.values.dtype == np.float64
        array = pa.array(self.values.to_numpy() if number else self.values, from_pandas=not number)
        return pl.Series(pl.from_arrow(array))

    @once
    def bounds(self) -> tuple[float, float]:
        """The least and the largest, if these are numbers and none is missing; else NaN."""
        if self.values.dtype != np.float64:
            return np.nan, np.nan
        numbers = self.values.to_numpy()
        return numbers.min(), numbers.max()

    @once
    def missing(self) -> "pl.Series":
        """Which values are missing."""
        import polars as pl

        if self.values.dtype == np.float64:
            nan: pl.Series = self.series.is_nan()
            return nan
        return pl.Series(self.values.isna().to_numpy())

    def outcome(self, unexpected: "pl.Series", considered: int, mostly: float) -> Found:
        """What a rule about single values found, of which `considered` can break it."""
        count = int(unexpected.sum())
        passed = considered == 0 or (considered - count) / considered >= mostly
        if passed:
            return Found(True, [], count, len(self.values))
        rows = unexpected.arg_true().head(SAMPLES).to_numpy()
        samples = [_plain(value) for value in self.values.iloc[rows].tolist()]
        return Found(False, samples, count, len(self.values))

    def known_outcome(self, unexpected: "pl.Series", mostly: float) -> Found:
        """The same for a rule that says nothing of missing values."""
        known = ~self.missing
        return self.outcome(unexpected & known, int(known.sum()), mostly)


def evaluate(table: pd.DataFrame, suite: Suite, name: str) -> list[Check]:
    """The outcomes of a suite, in its order.

    Raises:
        RuntimeError: an expectation is not known here, or its column is not there.
    """
    # What one rule finds out about a column serves the next.
    subjects: dict[str | None, Any] = {None: table}
    for config in suite:
        if config["type"] not in RULES:
            raise RuntimeError(f"polars does not know {config['type']} of {name}.")
        column = config["kwargs"].get("column")
        if column is not None and column not in table:
            raise RuntimeError(f"polars could not evaluate {config['type']} on '{column}'.")
        if column not in subjects:
            subjects[column] = Cells(table[column])

    def check(config: dict[str, Any]) -> Check:
        kwargs = dict(config["kwargs"])
        column = kwargs.pop("column", None)
        found = RULES[config["type"]](subjects[column], **kwargs)
        return Check(
            rule=config["type"],
            column=column,
            expected=config["meta"]["expected"],
            severity=config["severity"],
            passed=found.passed,
            unexpected=found.unexpected,
            rows=found.rows,
            samples=shown(found.samples),
        )

    return in_threads(check, suite)


def _row_count(table: pd.DataFrame, min_value: int) -> Found:
    return _observed(len(table) >= min_value, len(table))


def _columns_match(table: pd.DataFrame, column_set: list[str]) -> Found:
    return _observed(set(table.columns) == set(column_set), sorted(table.columns))


def _compound_unique(table: pd.DataFrame, column_list: list[str]) -> Found:
    rows = pd.DataFrame({name: table[name] for name in column_list}, copy=False)
    repeated = repeats(rows, alike(rows), keep=False)
    # A row of nothing but missing values is like no other.
    repeated = repeated[take(rows, repeated).notna().any(axis=1).to_numpy()]
    samples = take(rows, repeated[:SAMPLES]).to_dict("records")
    plain = [{name: _plain(value) for name, value in row.items()} for row in samples]
    return Found(not len(repeated), plain, len(repeated), len(table))


def _null(cells: Cells, mostly: float = 1) -> Found:
    return cells.outcome(~cells.missing, len(cells.values), mostly)


def _not_null(cells: Cells, mostly: float = 1) -> Found:
    # Where none may be missing, as a rule none is, and the look at the range tells it.
    if mostly == 1 and cells.bounds[0] == cells.bounds[0]:
        return Found(True, [], 0, len(cells.values))
    return cells.outcome(cells.missing, len(cells.values), mostly)


def _between(cells: Cells, min_value: float, max_value: float) -> Found:
    # On a clean table this is all there is to find out.
    least, largest = cells.bounds
    if min_value <= least and largest <= max_value:
        return Found(True, [], 0, len(cells.values))
    series = cells.series
    return cells.known_outcome((series < min_value) | (series > max_value), 1)


def _in_set(cells: Cells, value_set: list[str]) -> Found:
    import polars as pl

    if cells.series.dtype != pl.String:
        return cells.known_outcome(pl.repeat(True, len(cells.values), eager=True), 1)
    return cells.known_outcome(~cells.series.is_in(value_set), 1)


def _unique(cells: Cells) -> Found:
    return cells.known_outcome(cells.series.is_duplicated(), 1)


def _distinct(cells: Cells, min_value: int) -> Found:
    found = cells.values.head(FIRST_ROWS).nunique()
    if found < min_value:
        found = cells.series.filter(~cells.missing).n_unique()
    return _observed(found >= min_value, found)


def _maximum(cells: Cells, max_value: float) -> Found:
    largest: Any = cells.series.filter(~cells.missing).max()
    return _observed(largest is not None and largest <= max_value, largest)


def _of_type(cells: Cells, type_: str) -> Found:
    wanted = (np.dtype(type_).type, *((str,) if type_ == "str" else ()))
    found = cells.values.dtype.type
    if found is not np.object_:
        return _observed(found in wanted, found.__name__)
    import polars as pl

    # Objects can be of any type each.
    other = cells.values.map(lambda value: not isinstance(value, wanted)).to_numpy(dtype=bool)
    known = cells.values.notna().to_numpy()
    return cells.outcome(pl.Series(other & known), int(known.sum()), 1)


def _observed(passed: bool, value: Any) -> Found:
    return Found(passed, [] if passed else [value])


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else value


RULES: dict[str, Callable[..., Found]] = {
    "expect_column_max_to_be_between": _maximum,
    "expect_column_unique_value_count_to_be_between": _distinct,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_of_type": _of_type,
    "expect_column_values_to_be_unique": _unique,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_compound_columns_to_be_unique": _compound_unique,
    "expect_table_columns_to_match_set": _columns_match,
    "expect_table_row_count_to_be_between": _row_count,
}
