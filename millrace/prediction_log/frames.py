"""A log's tables: their columns, and how logged values become those of the contract again."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from millrace.casting import cast_column
from millrace.contract import LOG_COLUMNS, Column, Problem
from millrace.prediction_log.entries import answer_columns, names_class

TYPES = (
    pa.float64(), pa.string(), pa.int64(), pa.string(), pa.string(), pa.string(), pa.string(), pa.string(),
    pa.float64(),
)  # fmt: skip
OWN = [pa.field(name, kind) for name, kind in zip(LOG_COLUMNS, TYPES, strict=True)]
NUMBER, NAME = Column(type="number"), Column(type="id")
OUTCOMES = [
    pa.field("time", pa.float64()),
    pa.field("request", pa.string()),
    pa.field("row", pa.int64()),
    pa.field("key", pa.string()),
    pa.field("actual", pa.string()),
]


def array(values: Sequence[Any]) -> pa.Array:
    """Values as Arrow's; as text where they are of several types, as after a change of the contract."""
    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        found = pa.array([None if value is None else _text(value) for value in values], pa.string())
    return found.cast(pa.string()) if pa.types.is_null(found.type) else found


def frame(table: pa.Table, problem: Problem) -> pd.DataFrame:
    """A stored log's table as the contract's features, in the contract's types, and the log's own columns.

    What was not logged, or under another contract as something else, is missing. `_time` is UTC without
    a zone.
    """
    nothing = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    columns: dict[str, Any] = {}
    for name, column in problem.features.items():
        given = table.column(name) if name in table.column_names else nothing
        columns[name] = cast_column(given, column)
    columns |= {name: table.column(name).to_pandas() for name in LOG_COLUMNS}
    for name in answer_columns([], problem):
        given = table.column(name) if name in table.column_names else nothing
        columns[name] = cast_column(given, NAME if names_class(name, problem) else NUMBER)
    columns["_time"] = pd.Series((1e6 * columns["_time"]).round().astype("datetime64[us]"))
    return pd.DataFrame(columns, copy=False)


def _text(value: Any) -> str:
    """A number of the contract's integers is a float in the log."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
