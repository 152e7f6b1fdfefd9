"""JSON lines: one object a line."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from millrace.errors import UserError
from millrace.sources.cells import to_arrow
from millrace.sources.text import Text
from millrace.sources.wanted import Found, Wanted

KIND = "JSON lines file"


def read(text: Text, origin: str, wanted: Wanted) -> Found:
    """Read objects as rows; a key that a row lacks is a missing value.

    Arrow's own reader would make dates of text and stop at a column of two types.

    Raises:
        UserError: a line is no JSON object, with its number.
    """
    rows = _objects(text.utf8, origin)
    names = list(dict.fromkeys(name for row in rows for name in row))
    needed = wanted.needed(names)
    columns = [to_arrow([row.get(name) for row in rows]) for name in needed]
    found = wanted.pick(pa.table(columns, names=needed), f"JSON lines: {text.format}")
    return Found(found.table, names, found.format)


def _objects(content: bytes, origin: str) -> list[dict[str, Any]]:
    import msgspec

    decoder = msgspec.json.Decoder(dict[str, Any])
    rows = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(decoder.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                raise UserError(
                    f"{origin}: line {number} is not a JSON object: {str(error).rstrip('.')}."
                ) from None
    return rows
