"""Excel workbooks: one sheet, whose first row names the columns."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import pyarrow as pa

from millrace.errors import UserError, unknown
from millrace.sources.cells import to_arrow
from millrace.sources.text import refuse_bomb
from millrace.sources.wanted import Found, Wanted


def read(content: bytes, origin: str, sheet: str, wanted: Wanted) -> Found:
    """Read the sheet of this name, or the first; formulas by the values that were stored with them.

    Raises:
        UserError: not an .xlsx file, no such sheet, or no rows.
    """
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            refuse_bomb(sum(member.file_size for member in archive.infolist()), len(content), origin)
        with warnings.catch_warnings():
            # Styles and validations that openpyxl does not know are not data.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            if sheet and sheet not in book.sheetnames:
                raise unknown(f"sheet in {origin}:", sheet, book.sheetnames)
            page: Any = book[sheet] if sheet else book.worksheets[0]
            # The size that a workbook states for a sheet is often wrong.
            page.reset_dimensions()
            lines = [line for line in page.iter_rows(values_only=True) if any(v is not None for v in line)]
    except UserError:
        raise
    except Exception as error:
        # openpyxl lets through whatever a damaged part of the file makes its parsers raise.
        raise UserError(f"{origin}: is not a readable .xlsx file: {_first_line(error)}.") from None
    if len(lines) < 2:
        raise UserError(f"{origin}: the sheet '{page.title}' has no header with rows below it.")
    names, columns = _columns(lines)
    needed = wanted.needed(names)
    # Without a choice among them, columns of one name stay apart.
    kept = columns if needed == names else [columns[names.index(name)] for name in needed]
    found = wanted.pick(pa.table([to_arrow(cells) for cells in kept], names=needed), "")
    return Found(found.table, names, f"Excel: sheet {page.title}")


def _columns(lines: list[tuple[Any, ...]]) -> tuple[list[str], list[list[Any]]]:
    """The header and the cells below each name; columns right of the last name are no columns."""
    header = list(lines[0])
    while header and header[-1] is None:
        header.pop()
    names = ["" if name is None else str(name) for name in header]
    cells = [[line[i] if i < len(line) else None for line in lines[1:]] for i in range(len(names))]
    return names, cells


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
