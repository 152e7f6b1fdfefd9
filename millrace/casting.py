"""Bronze: the raw table with exactly the contract's columns, in the contract's types.

Numbers and integers are float64 (integers are exact up to 2**53), categories and ids text, booleans
nullable, datetimes UTC without a zone. A cell that cannot be read as its type becomes null, and the
column `_unreadable` says so for its row, so that nothing is lost in silence. A value reads the same
from a CSV file, where it is text, as from a Parquet file, where it has a type.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract import NUMERIC, Column, Problem
from millrace.errors import UserError, nearest

UNREADABLE = "_unreadable"
# Text that stands for an empty cell, unless the contract lists it as a category.
NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A"]
TEXT_ALIKE = (pa.types.is_null, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string_view)
BOOLEANS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True} | {
    "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False
}  # fmt: skip


def cast(raw: pa.Table, problem: Problem, origin: str) -> pd.DataFrame:
    """Select and type the contract's columns.

    Raises:
        UserError: a column is missing or there twice, or there are no rows.
    """
    _check_names(raw.column_names, problem, origin)
    if raw.num_rows == 0:
        raise UserError(f"{origin}: has a header but no rows.")
    typed: dict[str, Any] = {}
    unreadable = pd.Series([""] * raw.num_rows, dtype=object)
    for name, column in problem.columns.items():
        try:
            given = plain(raw.column(name), column)
        except pa.ArrowInvalid:
            raise UserError(f"{origin}: the column '{name}' holds bytes that are not UTF-8 text.") from None
        typed[name] = cast_column(given, column)
        there = pc.is_null(given, nan_is_null=True).to_numpy(zero_copy_only=False) == 0
        lost = there & typed[name].isna().to_numpy()
        if lost.any():
            cells = given.filter(pa.array(lost)).to_pandas()
            shown = cells.astype(str).str.slice(0, 40).to_numpy(dtype=object)
            unreadable[lost] += f"{name}: '" + shown + f"' is not {_article(column.type)}; "
    typed[UNREADABLE] = unreadable.str.removesuffix("; ").replace("", None)
    return pd.DataFrame(typed)


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
        # A minus zero would be another row to the hashes, though the same number.
        numbers = _numbers(given) + 0.0
        return numbers.where((numbers % 1 == 0) | np.isinf(numbers)) if column.type == "integer" else numbers
    if column.type == "boolean":
        lowered = _as_text(given).map(str.lower, na_action="ignore")
        return lowered.map(BOOLEANS).astype("boolean")
    if column.type == "datetime":
        return _moments(given)
    text = _as_text(given)
    if column.type == "id":
        return text
    # A null elsewhere in a column makes some programs write the category "1" as "1.0".
    whole = text.str.removesuffix(".0")
    known = text.isin(column.categories) | ~whole.isin(column.categories)
    return text.where(known, whole)


def _numbers(given: pa.ChunkedArray) -> "pd.Series[Any]":
    kind = given.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pd.Series(given.cast(pa.float64(), safe=False).to_numpy())
    if not _is_text(kind):
        # A boolean, a date or a list is not a number, though some libraries would make it one.
        return pd.Series(np.nan, index=range(len(given)))
    try:
        return pd.Series(given.cast(pa.float64()).to_numpy())
    except pa.ArrowInvalid:
        return pd.Series([_number(text) for text in given.to_pylist()], dtype=np.float64)


def _number(text: str | None) -> float:
    """The nearest float, as Arrow reads it too; NaN if it is no number."""
    try:
        return float(text) if text and text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


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


def _as_text(given: pa.ChunkedArray) -> "pd.Series[Any]":
    """Text as it is; whole numbers without the `.0` that a null elsewhere in the column gives them."""
    if pa.types.is_integer(given.type):
        # Past 2**53 pandas would round integers beside a null.
        given = given.cast(pa.string())
    values = given.to_pandas().astype(object)
    write = _whole if pa.types.is_floating(given.type) else str
    text: pd.Series[Any] = values.map(write, na_action="ignore").astype(object)
    return text.where(values.notna(), None)


def _whole(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _check_names(names: list[str], problem: Problem, origin: str) -> None:
    wanted = list(problem.columns)
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
