"""Bronze: the raw table with exactly the contract's columns, in the contract's types.

Numbers and integers are float64 (integers are exact up to 2**53), categories and ids text, booleans
nullable, datetimes UTC without a zone. A cell that cannot be read as its type becomes null, and the
column `_unreadable` says so for its row, so that nothing is lost in silence. A value reads the same
from a CSV file, where it is text, as from a Parquet file, where it has a type.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contract import NUMERIC, Column, Problem
from millrace.digests import BLOCK
from millrace.errors import UserError, nearest
from millrace.threads import in_threads

UNREADABLE = "_unreadable"
# Text that stands for an empty cell, unless the contract lists it as a category.
NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A"]
# What Arrow reads as a number; the nearest float, as Python reads it too.
NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))$"
# Its bits, as a signed integer.
MINUS_ZERO = np.iinfo(np.int64).min
TEXT_ALIKE = (pa.types.is_null, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string_view)
BOOLEANS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True} | {
    "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False
}  # fmt: skip
# Positions of rows, and what is wrong with all of them, or with each.
Faults: TypeAlias = tuple[NDArray[np.int64], str | NDArray[np.object_]]


def cast(raw: pa.Table, problem: Problem, origin: str) -> pd.DataFrame:
    """Select and type the contract's columns.

    Raises:
        UserError: a column is missing or there twice, or there are no rows.
    """
    check_names(raw.column_names, list(problem.columns), problem, origin)
    if raw.num_rows == 0:
        raise UserError(f"{origin}: has a header but no rows.")

    def read(name: str) -> tuple["pd.Series[Any]", Faults]:
        return read_column(raw.column(name), name, problem.columns[name], origin)

    found = in_threads(read, problem.columns)
    columns: dict[str, Any] = {name: values for name, (values, _) in zip(problem.columns, found, strict=True)}
    columns[UNREADABLE] = _sparse(joined(faults for _, faults in found), raw.num_rows)
    # Each column stays where it is; one block of all numbers would need as much memory once more.
    return pd.DataFrame(columns, copy=False)


def read_column(
    given: pa.ChunkedArray, name: str, column: Column, origin: str
) -> tuple["pd.Series[Any]", Faults]:
    """A column's values, and which cells are there but cannot be read.

    Raises:
        UserError: it holds bytes that are no text.
    """
    try:
        given = plain(given, column)
    except pa.ArrowInvalid:
        raise UserError(f"{origin}: the column '{name}' holds bytes that are not UTF-8 text.") from None
    values = cast_column(given, column)
    none = np.empty(0, dtype=np.int64), ""
    if column.type == "number" and _is_number(given.type):
        return values, none
    missing = values.isna().to_numpy()
    if not missing.any():
        return values, none
    lost = missing & pc.invert(pc.is_null(given, nan_is_null=True)).to_numpy(zero_copy_only=False)
    cells = given.filter(pa.array(lost)).to_pandas()
    shown = cells.astype(str).str.slice(0, 40).to_numpy(dtype=object)
    return values, (np.flatnonzero(lost), f"{name}: '" + shown + f"' is not {_article(column.type)}")


def joined(parts: Iterable[Faults]) -> "pd.Series[str]":
    """What is wrong with each row, as one text a row, by position."""
    told = [(rows, words) for rows, words in parts if len(rows)]
    # np.unique takes ten times as long.
    faulty = np.sort(pd.unique(np.concatenate([np.empty(0, dtype=np.int64), *(rows for rows, _ in told)])))
    text = np.full(len(faulty), "", dtype=object)
    for rows, words in told:
        at = np.searchsorted(faulty, rows)
        text[at] = text[at] + np.where(text[at] == "", "", "; ") + words
    return pd.Series(text, index=faulty, dtype=object)


def _sparse(text: "pd.Series[str]", rows: int) -> "pd.Series[Any]":
    """Text for a few of the rows; Arrow's, because millions of None cost a second and 80 bytes a row."""
    kind = pa.large_string()
    # Blocks of nulls alone are all the same memory.
    nothing = pa.nulls(min(rows, BLOCK), kind)
    starts = range(0, rows, BLOCK)
    edges = np.searchsorted(text.index, [*starts, rows])
    blocks = []
    for start, first, last in zip(starts, edges, edges[1:], strict=False):
        block = nothing[: rows - start]
        if first < last:
            mask = np.zeros(len(block), dtype=np.bool_)
            mask[text.index[first:last] - start] = True
            block = pc.replace_with_mask(block, pa.array(mask), pa.array(text.iloc[first:last], kind))
        blocks.append(block)
    return pd.Series(pd.array(pa.chunked_array(blocks, kind), dtype=pd.ArrowDtype(kind)))


def plain(given: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """The column without dictionary encoding; text stripped, and null where it stands for an empty cell."""
    if pa.types.is_dictionary(given.type):
        given = given.cast(given.type.value_type)
    if any(holds(given.type) for holds in TEXT_ALIKE):
        given = given.cast(pa.large_string())
    if not _is_text(given.type):
        return given
    text = pc.utf8_trim_whitespace(given)
    empty = [word for word in NULLS if word not in column.categories]
    return pc.if_else(pc.is_in(text, pa.array(empty, text.type)), pa.scalar(None, text.type), text)


def cast_column(given: pa.ChunkedArray, column: Column) -> "pd.Series[Any]":
    """What `plain` returned as the contract's type; null where a cell cannot be read so."""
    if column.type in NUMERIC:
        return _numbers(given, column)
    if column.type == "boolean":
        return _mapped(given, lambda text: BOOLEANS.get(text.lower())).astype("boolean")
    if column.type == "datetime":
        return _moments(given)
    if column.type == "id":
        return _as_text(given)
    return _mapped(given, lambda text: _category(text, column))


def _category(text: str, column: Column) -> str:
    """A null elsewhere in a column makes some programs write the category "1" as "1.0"."""
    whole = text.removesuffix(".0")
    return whole if text not in column.categories and whole in column.categories else text


def _mapped(given: pa.ChunkedArray, read: Callable[[str], Any]) -> "pd.Series[Any]":
    """Each value's text as `read` reads it, each different value once."""
    if pa.types.is_nested(given.type):
        return _as_text(given).map(read, na_action="ignore").astype(object)
    encoded = given.combine_chunks().dictionary_encode()
    known = [None if text is None else read(text) for text in _as_text(encoded.dictionary)]
    # The last stands for a null.
    meanings = np.array([*known, None], dtype=object)
    codes = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    return pd.Series(meanings[codes], dtype=object)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _numbers(given: pa.ChunkedArray, column: Column) -> "pd.Series[Any]":
    if column.type == "number" and given.type == pa.float64() and given.num_chunks == 1:
        numbers = _in_place(given.chunk(0))
        if numbers is not None:
            return pd.Series(numbers, copy=False)
    numbers = np.full(len(given), np.nan)
    # A boolean, a date or a list is not a number, though some libraries would make it one.
    start = 0
    for chunk in given.chunks if _is_number(given.type) or _is_text(given.type) else ():
        # A minus zero would be another row to the hashes, though the same number.
        part = numbers[start : start + len(chunk)]
        np.add(_floats(chunk).to_numpy(zero_copy_only=False), 0.0, out=part)
        start += len(chunk)
    if column.type == "integer":
        numbers[(numbers != np.trunc(numbers)) & ~np.isinf(numbers)] = np.nan
    return pd.Series(numbers, copy=False)


def _in_place(given: pa.DoubleArray) -> NDArray[np.float64] | None:
    """Floats in Arrow's own memory, if it may be written to: fresh memory is dearer than all else here.

    Who looks at `given` afterwards still finds its nulls, and its numbers but for the sign of zero.
    """
    # Nothing but nulls may be one piece of zeros for the values and for which of them are null.
    if given.null_count == len(given) or not given.buffers()[1].is_mutable:
        return None
    numbers = np.frombuffer(given.buffers()[1], np.float64, len(given), 8 * given.offset)
    if given.null_count:
        numbers[np.flatnonzero(_unpacked(given.is_null()))] = np.nan
    # To look costs less than to write, and a minus zero has the least of all bit patterns.
    if numbers.view(np.int64).min() == MINUS_ZERO:
        np.add(numbers, 0.0, out=numbers)
    return numbers


def _unpacked(flags: pa.BooleanArray) -> NDArray[np.bool_]:
    """A byte a flag; Arrow takes several times as long."""
    bits = np.unpackbits(np.frombuffer(flags.buffers()[1], np.uint8), bitorder="little")
    return bits[flags.offset : flags.offset + len(flags)].view(np.bool_)


def _floats(given: pa.Array) -> pa.DoubleArray:
    """Numbers, or the text of numbers, as floats; null where the text is none."""
    try:
        return given.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        readable = pc.match_substring_regex(given, NUMBER)
        return pc.if_else(readable, given, pa.scalar(None, given.type)).cast(pa.float64())


def _moments(given: pa.ChunkedArray) -> "pd.Series[Any]":
    kind = given.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = given.cast(pa.timestamp("us"), safe=False).to_numpy()
    elif _is_text(kind):
        moments = np.array([_moment(text) for text in given.to_pylist()], dtype="datetime64[us]")
    else:
        # A number does not say since when it counts, nor in what.
        moments = np.full(len(given), "NaT", dtype="datetime64[us]")
    return pd.Series(moments)


def _moment(text: str | None) -> datetime | None:
    """ISO 8601, as the service reads it too; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text or "")
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None


def _as_text(given: pa.ChunkedArray | pa.Array) -> "pd.Series[Any]":
    """Text as it is; whole numbers without the `.0` that a null elsewhere in the column gives them."""
    if pa.types.is_integer(given.type):
        # Past 2**53 pandas would round integers beside a null.
        given = given.cast(pa.string())
    values: pd.Series[Any] = given.to_pandas().astype(object)
    if _is_text(given.type):
        return values
    write = _whole if pa.types.is_floating(given.type) else str
    text: pd.Series[Any] = values.map(write, na_action="ignore").astype(object)
    return text.where(values.notna(), None)


def _whole(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def check_names(names: list[str], wanted: list[str], problem: Problem, origin: str) -> None:
    """See that a table has each of the problem's columns that are wanted, once.

    Raises:
        UserError: names the one that is missing or there twice.
    """
    twice = sorted({name for name in wanted if names.count(name) > 1})
    if twice:
        raise UserError(f"{origin}: the column '{twice[0]}' stands in the header twice; rename one.")
    missing = [name for name in wanted if name not in names]
    if missing:
        spare = [name for name in names if name not in wanted]
        listed = ", ".join(f"'{name}'" for name in missing)
        what = "columns" if len(missing) > 1 else "target" if missing[0] == problem.target.name else "column"
        raise UserError(
            f"{origin}: the {what} {listed} of problem '{problem.name}' "
            f"{'are' if len(missing) > 1 else 'is'} missing.{nearest(missing[0], spare)} "
            f"The table has: {', '.join(names[:20])}."
        )
