"""Tables as requests: CSV, Parquet or an Arrow stream in; the same rows with the answers beside them out.

A table's rows are told as JSON and read like any other request, so there is one way to check them. What
the contract does not name is ignored, as in training, and comes back as it was; but every feature has its
column.
"""

import csv
import io
from collections.abc import Callable
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from millrace.contract import NUMERIC, Column, Problem
from millrace.errors import nearest
from millrace.foreign_tables import read_arrow, read_parquet, too_many
from millrace.requests import MAX_ROWS, InvalidRequest, names_rows

if TYPE_CHECKING:
    import pyarrow as pa

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
MEDIA_TYPES = (CSV, PARQUET, ARROW)
# What a column is whose values only name rows.
NAME = Column(type="id")
BOOLEANS = {"true": True, "false": False}


def read_table(body: bytes, media: str) -> "pa.Table":
    """The table that a body holds; of CSV every cell is text, or null where training reads it so.

    Raises:
        InvalidRequest: 400, it is not of that format; 422, it is larger than a table may be.
    """
    import pyarrow as pa

    try:
        if media == CSV:
            return _read_csv(body)
        table = read_parquet(body) if media == PARQUET else read_arrow(body)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise InvalidRequest(
            f"The body is not a table of the type '{media}': {reason}.", "table", status=400
        ) from None
    if len(set(table.column_names)) < table.num_columns:
        raise InvalidRequest("The table has two columns of one name.", "table", status=400)
    return table


def as_request(table: "pa.Table", problem: Problem, level: float | None) -> bytes:
    """The rows as the JSON request that asks the same.

    Raises:
        InvalidRequest: 422, a feature has no column, or there are too many rows.
    """
    if not 1 <= table.num_rows <= MAX_ROWS:
        raise too_many(table.num_rows)
    for name in problem.features:
        if name not in table.column_names:
            hint = nearest(name, set(table.column_names) - set(problem.columns))
            raise InvalidRequest(f"The table has no column '{name}'.{hint}", "required", field=name)
    columns = {
        name: _values(table[name], NAME if names_rows(problem, name) else column)
        for name, column in problem.features.items()
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return msgspec.json.encode({"rows": rows, "interval": level})


def write_table(table: "pa.Table", media: str) -> bytes:
    """The table in a format.

    Raises:
        InvalidRequest: 422, the format has no place for one of its columns.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    try:
        if media == PARQUET:
            pq.write_table(table, sink)
        elif media == ARROW:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        else:
            pa.csv.write_csv(flat(table), sink, pa.csv.WriteOptions(quoting_style="needed"))
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise InvalidRequest(f"The table cannot come back as '{media}': {reason}.", "table") from None
    return bytes(sink.getvalue())


def _read_csv(body: bytes) -> "pa.Table":
    import pyarrow as pa

    from millrace.casting import NULLS

    lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
    names = next(lines, [])
    if not names or len(set(names)) < len(names):
        raise csv.Error("the first line must name the columns, each once")
    rows = []
    for cells in lines:
        if len(cells) != len(names) and cells:
            raise csv.Error(f"line {lines.line_num} has {len(cells)} cells, and the first line {len(names)}")
        rows += [cells] if cells else []
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    cells = [
        pa.array([None if cell in NULLS else cell for cell in column], pa.string()) for column in columns
    ]
    return pa.table(cells, names)


def _values(column: "pa.ChunkedArray", about: Column) -> list[Any]:
    """A column's values as JSON has them; text where it should be something else is left to be refused."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        # The same moments in UTC; there may be no such zone.
        column = column.cast(pa.timestamp(column.type.unit))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        # As text: Python's calendar is shorter than Arrow's.
        return list(column.cast(pa.string()).to_pylist())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values = column.to_pylist()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        parse = _parser(about)
        return [parse(value) if value is not None else None for value in values] if parse else values
    if about.type in ("id", "category"):
        return [str(value) if value is not None else None for value in values]
    # JSON has no infinity, and NaN is how tables of floats say that a value is missing.
    return [str(value) if value in (inf, -inf) else value for value in values]


def _parser(about: Column) -> Callable[[str], Any] | None:
    if about.type in NUMERIC:
        return _number
    return (lambda text: BOOLEANS.get(text.strip().lower(), text)) if about.type == "boolean" else None


def _number(text: str) -> Any:
    # Python also reads 1_000, and digits of other scripts.
    if not text.isascii() or "_" in text:
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return number if isfinite(number) else text


def flat(table: "pa.Table") -> "pa.Table":
    """CSV has no lists: a set of classes becomes their names with a bar between."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            joined = ["|".join(names) for names in table[position].to_pylist()]
            table = table.set_column(position, field.name, pa.array(joined))
    return table
