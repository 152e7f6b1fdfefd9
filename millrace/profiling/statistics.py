"""A column as its distinct values and how often each occurs, and what follows from that.

All statistics are taken over all rows; a value that occurs a thousand times is read once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.casting import cast_column, plain
from millrace.contract import LARGEST, Column, ColumnType
from millrace.strict import Strict

TEXT = Column(type="id")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TOP = 8
# Tukey's outer fences: quartiles and three times the distance between them.
FENCE = 3.0


@dataclass(frozen=True)
class Tally:
    """The distinct values of a column that are there, and the rows that hold each."""

    values: pa.Array
    counts: NDArray[np.int64]
    rows: int
    null_words: dict[str, int]
    """Text such as NA that is read as an empty cell, with its rows."""

    @property
    def known(self) -> int:
        """The rows that hold a value."""
        return int(self.counts.sum())

    @property
    def missing(self) -> int:
        """The rows that do not."""
        return self.rows - self.known

    def read(self, kind: ColumnType) -> "pd.Series[Any]":
        """The distinct values as the contract would read them in a column of this type."""
        return cast_column(pa.chunked_array([self.values]), Column.model_construct(type=kind))

    def where(self, chosen: NDArray[np.bool_]) -> "Tally":
        """The distinct values that are chosen, [values], and their rows."""
        return Tally(self.values.filter(pa.array(chosen)), self.counts[chosen], self.rows, {})

    def head(self, count: int = 5) -> list[str]:
        """The first few distinct values as text."""
        return Tally(self.values[:count], self.counts[:count], self.rows, {}).texts()

    def texts(self) -> list[str]:
        """The distinct values as text."""
        return [str(text) for text in self.read("id")]


class Numbers(Strict):
    """The distribution of a number; outliers lie outside Tukey's outer fences."""

    low: float
    quantiles: tuple[float, ...]
    high: float
    mean: float
    deviation: float
    outliers: int


class Facts(Strict):
    """A column's statistics, over all rows."""

    missing: int
    distinct: int
    top: tuple[tuple[str, int], ...]
    numbers: Numbers | None = None
    first: str = ""
    last: str = ""
    """The earliest and latest of dates."""


def countable(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type holds single values that a contract has a type for."""
    if pa.types.is_dictionary(kind):
        return countable(kind.value_type)
    return any(
        holds(kind)
        for holds in (
            pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating,
            pa.types.is_decimal, pa.types.is_timestamp, pa.types.is_date, pa.types.is_string,
            pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary,
        )
    )  # fmt: skip


def tally(column: pa.ChunkedArray) -> Tally:
    """Count the values of a raw column.

    Raises:
        pa.ArrowException: the column holds bytes that are no text, or a type that has no equality.
    """
    given = plain(column, TEXT)
    if pa.types.is_float16(given.type):
        given = given.cast(pa.float32())
    empty = pc.is_null(given, nan_is_null=True)
    counted = given.filter(pc.invert(empty)).value_counts()
    return Tally(
        values=counted.field("values"),
        counts=counted.field("counts").to_numpy().astype(np.int64),
        rows=len(column),
        null_words=_null_words(column.filter(empty).drop_null()),
    )


def _null_words(cells: pa.ChunkedArray) -> dict[str, int]:
    words: dict[str, int] = {}
    for cell in cells.value_counts().to_pylist():
        word = str(cell["values"]).strip()
        if word and isinstance(cell["values"], str):
            words[word] = words.get(word, 0) + cell["counts"]
    return words


def describe_numbers(values: NDArray[np.float64], counts: NDArray[np.int64]) -> Numbers:
    """Summarise finite distinct numbers that occur `counts` times; a quantile is a value that occurs."""
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    upto = np.cumsum(counts)
    quantiles = values[np.searchsorted(upto, np.array(QUANTILES) * upto[-1])]
    reach = FENCE * (quantiles[3] - quantiles[1])
    outside = (values < quantiles[1] - reach) | (values > quantiles[3] + reach)
    # Halved, as the square of a number near the largest one is infinite.
    mean = float(np.average(values / 2, weights=counts) * 2)
    scale = float(np.abs(values - mean).max()) or 1.0
    return Numbers(
        low=float(values[0]),
        quantiles=tuple(map(float, quantiles)),
        high=float(values[-1]),
        mean=mean,
        deviation=float(np.sqrt(np.average(((values - mean) / scale) ** 2, weights=counts)) * scale),
        outliers=int(counts[outside].sum()),
    )


def describe(counted: Tally, kind: ColumnType | None) -> Facts:
    """The statistics of a column whose cells are of this type."""
    facts: dict[str, Any] = {}
    if kind in ("number", "integer"):
        numbers = counted.read(kind).to_numpy()
        good = np.isfinite(numbers) & (np.abs(numbers) <= LARGEST[kind])
        facts["numbers"] = describe_numbers(numbers[good], counted.counts[good])
    if kind == "datetime":
        moments = counted.read(kind)
        facts |= {"first": f"{moments.min():%Y-%m-%d %H:%M}", "last": f"{moments.max():%Y-%m-%d %H:%M}"}
    top = tuple(
        (text.removesuffix(".0") if "numbers" in facts else text, n) for text, n in most_frequent(counted)
    )
    return Facts(missing=counted.missing, distinct=len(counted.values), top=top, **facts)


def most_frequent(counted: Tally) -> tuple[tuple[str, int], ...]:
    """The most frequent values as text, with their rows."""
    top = np.argsort(-counted.counts, kind="stable")[:TOP]
    few = Tally(counted.values.take(pa.array(top)), counted.counts[top], counted.rows, {})
    return tuple(zip(few.texts(), map(int, few.counts), strict=True))


def count_duplicates(table: pa.Table) -> int:
    """The rows that repeat an earlier one in every column."""
    import polars as pl

    named = table.rename_columns([str(position) for position in range(table.num_columns)])
    frame = pl.DataFrame(pl.from_arrow(named))
    return frame.height - frame.n_unique()


def missing_patterns(table: pa.Table) -> list[tuple[tuple[str, ...], int]]:
    """Which columns are empty together, and in how many rows; the most frequent first."""
    import polars as pl

    columns = {
        str(p): pc.is_null(plain(table.column(p), TEXT), nan_is_null=True) for p in range(table.num_columns)
    }
    holed = {position: empty for position, empty in columns.items() if pc.any(empty).as_py()}
    if not holed:
        return []
    frame = pl.DataFrame(pl.from_arrow(pa.table(holed)))
    groups = frame.group_by(list(holed), maintain_order=True).len("rows").sort("rows", descending=True)
    return [
        (tuple(table.column_names[int(p)] for p in holed if row[p]), row["rows"])
        for row in groups.head(TOP + 1).iter_rows(named=True)
    ]
