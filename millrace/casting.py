"""Bronze: the raw table with exactly the contract's columns, in the contract's types.

Numbers and integers are float64 (integers are exact up to 2**53), categories and ids text, booleans
nullable, datetimes UTC without a zone. A cell that cannot be read as its type becomes null, and the
column `_unreadable` says so for its row, so that nothing is lost in silence.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.contract import Column, Problem
from millrace.errors import UserError, nearest

UNREADABLE = "_unreadable"
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
        given = raw.column(name).to_pandas()
        typed[name] = _cast_column(given, column)
        lost = (given.notna() & pd.isna(typed[name])).to_numpy()
        if lost.any():
            shown = given[lost].astype(str).str.slice(0, 40)
            unreadable[lost] += f"{name}: '" + shown + f"' is not {_article(column.type)}; "
    typed[UNREADABLE] = unreadable.str.removesuffix("; ").replace("", None)
    return pd.DataFrame(typed)


def _cast_column(given: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    if column.type in ("number", "integer"):
        # A boolean is not a number, though pandas would make it one.
        text = given.astype(str) if given.dtype == bool or _holds_booleans(given) else given
        numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
        if column.type == "integer":
            numbers = numbers.where((numbers % 1 == 0) | np.isinf(numbers))
        return numbers
    if column.type == "boolean":
        lowered = given.map(lambda value: None if pd.isna(value) else str(value).strip().lower())
        return lowered.map(BOOLEANS).astype("boolean")
    if column.type == "datetime":
        moments = pd.to_datetime(given, errors="coerce", utc=True, format="ISO8601" if _is_text(given) else None)
        return moments.dt.tz_localize(None).astype("datetime64[us]")
    return _as_text(given)


def _as_text(given: "pd.Series[Any]") -> "pd.Series[Any]":
    """Text as it is; whole numbers without the `.0` that a null elsewhere in the column gives them."""
    if pd.api.types.is_float_dtype(given):
        given = given.map(lambda value: str(int(value)) if float(value).is_integer() else str(value), "ignore")
    return given.map(lambda value: None if pd.isna(value) else str(value).strip()).astype(object)


def _holds_booleans(given: "pd.Series[Any]") -> bool:
    return given.dtype == object and given.map(lambda value: isinstance(value, bool)).any()


def _is_text(given: "pd.Series[Any]") -> bool:
    return given.dtype == object


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
