"""Python values to Arrow columns, for formats whose columns have no type of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa


def to_arrow(values: Sequence[Any]) -> pa.Array:
    """An array of the values' one type; of text where they have several.

    Decimals become text too: Arrow would want one precision for all, and a float would round them.
    """
    if not any(isinstance(value, Decimal) for value in values):
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass
    return pa.array([_text(value) for value in values], pa.string())


def combine(parts: Sequence[pa.Array]) -> pa.ChunkedArray:
    """One column of parts whose types may differ: the type that holds all, or text."""
    try:
        columns = pa.concat_tables([pa.table({"": part}) for part in parts], promote_options="permissive")
        return columns.column(0)
    except pa.ArrowException:
        return pa.chunked_array([pa.array(map(_text, part.to_pylist()), pa.string()) for part in parts])


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | list | dict):
        return json.dumps(value, default=str)
    return str(value)
