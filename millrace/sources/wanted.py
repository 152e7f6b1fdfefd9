"""Which columns and rows are wanted: told to the formats that can leave the others unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.errors import UserError, unknown
from millrace.sources.source import Filter

if TYPE_CHECKING:
    from millrace.contract import Column

COMPARE = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Found:
    """What a reader found: the wanted rows and columns, every column's name, and the format in words."""

    table: pa.Table
    names: list[str]
    format: str


@dataclass(frozen=True)
class Wanted:
    """The columns of a contract, or None for all, the filters on rows, and whose they are.

    With `every`, the table's other columns are kept, too.
    """

    columns: Mapping[str, Column] | None = None
    where: tuple[Filter, ...] = ()
    origin: str = ""
    every: bool = False

    def choose(self, names: Sequence[str]) -> list[str]:
        """Those of a table's columns to keep, in the table's order.

        All of them if a wanted one is missing or there twice: whoever says so has to see them.
        """
        if self.every or self.columns is None or any(names.count(name) != 1 for name in self.columns):
            return list(names)
        return [name for name in names if name in self.columns]

    def needed(self, names: Sequence[str]) -> list[str]:
        """The columns to read: those to keep and those that filters look at."""
        kept = self.choose(names)
        return [*kept, *(name for name in dict.fromkeys(self.filtered(names)) if name not in kept)]

    def filtered(self, names: Sequence[str]) -> list[str]:
        """The columns that filters look at.

        Raises:
            UserError: the table does not have one of them, or has it twice.
        """
        for name, _, _ in self.where:
            if name not in names:
                raise unknown(f"column in 'where' of {self.origin}:", name, names)
            if names.count(name) > 1:
                raise UserError(
                    f"{self.origin}: the column '{name}' of 'where' stands in the table twice; rename one."
                )
        return [name for name, _, _ in self.where]

    def expression(self, schema: pa.Schema) -> Any:
        """The filters as one Arrow expression, or None without any.

        A number compares with text by the number that the text spells, so a CSV file is filtered as a
        Parquet file is.

        Raises:
            UserError: a filter cannot be compared with its column.
        """
        self.filtered(schema.names)
        parts = [_expression(row_filter, schema, self.origin) for row_filter in self.where]
        return reduce(and_, parts) if parts else None

    def pick(self, table: pa.Table, format_: str) -> Found:
        """Filter and project a table that was read whole."""
        names = table.column_names
        rows = self.expression(table.schema)
        if rows is not None:
            table = table.filter(rows)
        kept = self.choose(names)
        return Found(table if kept == names else table.select(kept), names, format_)


def _expression(row_filter: Filter, schema: pa.Schema, origin: str) -> Any:
    name, operator, given = row_filter
    values = given if isinstance(given, tuple) else (given,)
    field, kind = pc.field(name), schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        field = field.cast(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        field = pc.utf8_trim_whitespace(field)
        if all(isinstance(value, bool) for value in values):
            field, kind = _flag(field, kind), pa.bool_()
        elif all(isinstance(value, int | float) for value in values):
            field, kind = _number(field, kind), pa.float64()
    try:
        scalars = [_scalar(value, kind) for value in values]
    except (pa.ArrowException, ValueError, TypeError):
        raise UserError(
            f"{origin}: 'where': {given!r} cannot be compared with the column '{name}' ({kind})."
        ) from None
    if operator == "in":
        return field.isin(pa.array([scalar.as_py() for scalar in scalars], scalars[0].type))
    return COMPARE[operator](field, scalars[0])


def _scalar(value: bool | int | float | str, kind: pa.DataType) -> pa.Scalar:
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if isinstance(value, bool) != pa.types.is_boolean(kind) and not isinstance(value, str):
        raise TypeError
    if isinstance(value, int | float):
        if not (numeric or pa.types.is_boolean(kind)):
            raise TypeError
        return pa.scalar(value)
    return pa.scalar(value).cast(kind)


def _number(field: Any, kind: pa.DataType) -> Any:
    spelt = pc.match_substring_regex(field, pattern=NUMBER)
    return pc.if_else(spelt, field, pa.scalar(None, kind)).cast(pa.float64())


def _flag(field: Any, kind: pa.DataType) -> Any:
    from millrace.casting import BOOLEANS

    lowered = pc.utf8_lower(field)
    known = lowered.isin(pa.array(list(BOOLEANS), kind))
    true = lowered.isin(pa.array([word for word, meaning in BOOLEANS.items() if meaning], kind))
    return pc.if_else(known, true, pa.scalar(None, pa.bool_()))
