"""Delimited text: CSV and its kin. The delimiter and decimal commas are found out; cells stay text."""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from millrace.errors import UserError
from millrace.sources.text import Text
from millrace.sources.wanted import Found, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "CSV file"
# In the order in which a tie is decided: text and numbers hold commas more often than the others.
DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "vertical bar", ",": "comma"}
SAMPLE = 65_536
SAMPLE_ROWS = 200
COMMA = r"^[+-]?(\d+,\d+|\d{1,3}(\.\d{3})+,\d+)([eE][+-]?\d+)?$"
# 1,234 may be a thousand or one and a bit.
PERHAPS_THOUSANDS = r"^[+-]?[1-9]\d{0,2},\d{3}$"
POINT = r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$"


def read(text: Text, origin: str, wanted: Wanted) -> Found:
    """Read every cell as text: a guess at the types would lose the zeros of 007.

    Raises:
        UserError: no rows, or rows of different lengths, with the line.
    """
    content = text.utf8
    if b"\n" not in content and b"\r" not in content:
        raise UserError(f"{origin}: has a header but no rows.")
    delimiter = find_delimiter(content, wanted)
    table, names = _parse(content, delimiter, origin, wanted)
    if not table.num_rows:
        raise UserError(f"{origin}: has a header but no rows.")
    table, converted = _convert_decimal_commas(table, wanted) if delimiter != "," else (table, [])
    parts = [f"CSV: {DELIMITERS[delimiter]}", text.format]
    if converted:
        parts.append(f"decimal commas in {', '.join(converted)}")
    found = wanted.pick(table, ", ".join(parts))
    return Found(found.table, names, found.format)


def find_delimiter(content: bytes, wanted: Wanted) -> str:
    """The delimiter of a file that begins with `content`, which is UTF-8."""
    return _delimiter(_sample(content), wanted)


def _sample(content: bytes) -> str:
    head = content[:SAMPLE]
    if len(content) > SAMPLE:
        # A row that is cut off would look ragged.
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1] or head
    return head.decode(errors="ignore")


def _delimiter(sample: str, wanted: Wanted) -> str:
    """The delimiter that gives most of the wanted names, then the most even rows."""

    def score(delimiter: str) -> tuple[int, float]:
        try:
            rows = list(islice(filter(None, _rows(sample, delimiter)), SAMPLE_ROWS))
        except csv.Error:
            return 0, 0.0
        if not rows or len(rows[0]) < 2:
            return 0, 0.0
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        return len(set(rows[0]) & set(wanted.columns or ())), even

    best = max(DELIMITERS, key=score)
    return best if score(best) > (0, 0.0) else ","


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _parse(content: bytes, delimiter: str, origin: str, wanted: Wanted) -> tuple[pa.Table, list[str]]:
    from pyarrow import csv as arrow_csv

    layout = arrow_csv.ParseOptions(
        delimiter=delimiter,
        # Cells with line breaks keep the parser from working in parallel, so only where there may be some.
        newlines_in_values=b'"' in content,
    )
    try:
        names = arrow_csv.open_csv(pa.BufferReader(content), parse_options=layout).schema.names
        needed = wanted.needed(names)
        only = needed if needed != names else None
        types = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), include_columns=only)
        table = arrow_csv.read_csv(pa.BufferReader(content), parse_options=layout, convert_options=types)
        return table, names
    except pa.ArrowInvalid as error:
        where = _uneven_row(content, delimiter)
        message = str(error).splitlines()[0].removeprefix("CSV parse error: ").rstrip(".")
        raise UserError(f"{origin}: is not a well-formed CSV file: {where or message}.") from None


def _uneven_row(content: bytes, delimiter: str) -> str:
    """Where the first row is that is not as long as the header, in words."""
    reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter)
    width, line = 0, 1
    try:
        for row in reader:
            width = width or len(row)
            if row and len(row) != width:
                shown = delimiter.join(row)[:60].replace("\n", " ")
                return f"line {line}: expected {width} columns, got {len(row)}: {shown}"
            line = reader.line_num + 1
    except csv.Error as error:
        return f"line {line}: {error}"
    return ""


def _convert_decimal_commas(table: pa.Table, wanted: Wanted) -> tuple[pa.Table, list[str]]:
    """Write 1,5 as 1.5 in the number columns where it cannot mean anything else."""
    from millrace.contract import NUMERIC

    converted = []
    for position, name in enumerate(table.column_names):
        if wanted.columns and name in wanted.columns and wanted.columns[name].type not in NUMERIC:
            continue
        if has_commas(table.column(position)) and not has_points(table.column(position)):
            table = table.set_column(position, name, with_points(table.column(position)))
            converted.append(name)
    return table, converted


def has_commas(column: pa.ChunkedArray) -> bool:
    """Whether a column of text has decimal commas that cannot be thousands."""
    cells = pc.utf8_trim_whitespace(column)
    commas = pc.match_substring_regex(cells, COMMA)
    sure = pc.and_not(commas, pc.match_substring_regex(cells, PERHAPS_THOUSANDS))
    return bool(pc.any(sure).as_py())


def has_points(column: pa.ChunkedArray) -> bool:
    """Whether a column of text has decimal points."""
    cells = pc.utf8_trim_whitespace(column)
    return bool(pc.any(pc.match_substring_regex(cells, POINT)).as_py())


def with_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with points for its decimal commas."""
    cells = pc.utf8_trim_whitespace(column)
    plain = pc.replace_substring(pc.replace_substring(cells, ".", ""), ",", ".")
    return pc.if_else(pc.match_substring_regex(cells, COMMA), plain, cells)
