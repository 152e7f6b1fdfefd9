"""Silver: the rows that keep the contract. The others go to quarantine, each with its reasons."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from operator import call
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.casting import UNREADABLE, Faults, joined
from millrace.contract import LARGEST, NUMERIC, Column, Problem
from millrace.digests import BLOCK, Positions, alike, repeats, take
from millrace.errors import UserError
from millrace.strict import Strict
from millrace.threads import in_threads

REASON = "_reason"
TOO_LARGE = {"integer": "too large to be exact", "number": "too large to compute with"}


class RowCounts(Strict):
    """Where the rows went; `read` is the sum of the others."""

    read: int
    used: int
    quarantined: int
    duplicates: int


@dataclass(frozen=True)
class Cleaned:
    """The silver table, the quarantine with a `_reason` column, and the counts."""

    silver: pd.DataFrame
    quarantine: pd.DataFrame
    counts: RowCounts


def clean(bronze: pd.DataFrame, problem: Problem, bad_rows_limit: float) -> Cleaned:
    """Keep the rows that fulfil the contract, once each.

    Raises:
        UserError: more than `bad_rows_limit` of the rows break the contract.
    """
    faults, doubtful = row_faults(bronze, problem)
    table = _contract_columns(bronze, problem)
    used = np.ones(len(bronze), dtype=np.bool_)
    for rows, _ in faults:
        used[rows] = False
    repeated = repeats(table, doubtful[used[doubtful]])
    used[repeated] = False
    with ThreadPoolExecutor() as pool:
        taken = pool.submit(take, table, used)
        reasons = joined(faults)
        quarantine = take(bronze, reasons.index.to_numpy()).assign(**{REASON: reasons.to_numpy()})
        silver = taken.result()
    counts = RowCounts(
        read=len(bronze),
        used=len(silver),
        quarantined=len(quarantine),
        duplicates=len(repeated),
    )
    if counts.read != counts.used + counts.quarantined + counts.duplicates:
        raise RuntimeError(f"Rows were lost in cleaning: {counts}.")
    if counts.quarantined > bad_rows_limit * counts.read:
        common = quarantine[REASON].value_counts().head(3)
        listed = "; ".join(f"{reason} ({count} rows)" for reason, count in common.items())
        raise UserError(
            f"{counts.quarantined} of {counts.read} rows break the contract of '{problem.name}', more than "
            f"the limit of {bad_rows_limit:.1%}. Most often: {listed}. Mend the data or the contract, or "
            "raise the limit with --set bad_rows_limit=SHARE."
        )
    return Cleaned(silver, quarantine, counts)


def row_faults(bronze: pd.DataFrame, problem: Problem) -> tuple[list[Faults], Positions]:
    """What is wrong with rows, and the positions of all that may equal another in the contract's columns."""
    table = _contract_columns(bronze, problem)
    columns = problem.columns.items()
    # The longest is first, so that no thread is left alone with it.
    looks: list[Callable[[], Any]] = [
        partial(alike, table),
        partial(_unreadable, bronze[UNREADABLE]),
        *(partial(column_faults, bronze[name], column) for name, column in columns),
    ]
    doubtful, unreadable, *broken = in_threads(call, looks)
    faults = _cell_faults(unreadable, dict(zip(problem.columns, broken, strict=True)))
    if problem.key:
        faults.append(_key_faults(table, problem.key, doubtful))
    return faults, doubtful


def _contract_columns(bronze: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    # bronze[names] would copy them.
    return pd.DataFrame({name: bronze[name] for name in problem.columns}, copy=False)


def _unreadable(words: "pd.Series[str]") -> "pd.Series[str]":
    """What could not be read, by position, only of rows with such cells."""
    rows = np.flatnonzero(words.notna())
    return words.iloc[rows].astype(object).set_axis(rows)


def _cell_faults(unreadable: "pd.Series[str]", found: dict[str, list[tuple[Positions, str]]]) -> list[Faults]:
    """What could not be read, and what breaks the contract in each column."""
    faults: list[Faults] = [(unreadable.index.to_numpy(), unreadable.to_numpy())]
    for name, broken in found.items():
        # A cell that could not be read is null because of that; one reason is enough.
        known = unreadable.index[unreadable.str.contains(f"(?:^|; ){re.escape(name)}: '").to_numpy(bool)]
        faults += [
            (np.setdiff1d(rows, known, assume_unique=True), f"{name}: {what}") for rows, what in broken
        ]
    return faults


def _key_faults(table: pd.DataFrame, key: str, doubtful: Positions) -> Faults:
    """Rows whose key another row has too, though it is not the same row."""
    keys = pd.Series(np.delete(table[key].to_numpy(), repeats(table, doubtful))).dropna()
    clashing = np.flatnonzero(table[key].isin(keys[keys.duplicated()]))
    return clashing, f"{key}: several different rows have this key"


def column_faults(values: "pd.Series[Any]", column: Column) -> list[tuple[Positions, str]]:
    """Rows whose value breaks the contract, and how."""
    if column.type not in NUMERIC:
        missing = values.isna().to_numpy()
        faults = [] if column.nullable else [(missing, "missing")]
        if column.type == "category" and column.unseen == "refuse":
            unknown = ~values.isin(column.categories).to_numpy() & ~missing
            faults.append((unknown, "not a known category"))
        return [(np.flatnonzero(broken), what) for broken, what in faults]
    low, high = column.range or (None, None)
    largest = LARGEST[column.type]
    least = -largest if low is None else max(low, -largest)
    most = largest if high is None else min(high, largest)
    numbers = values.to_numpy(dtype=np.float64)
    # One look at all rows finds those to look at closely.
    rows = _outside(numbers, least, most)
    numbers = numbers[rows]
    infinite = np.isinf(numbers)
    faults = [] if column.nullable else [(np.isnan(numbers), "missing")]
    faults.append((infinite, "infinite"))
    faults.append(((np.abs(numbers) > largest) & ~infinite, TOO_LARGE[column.type]))
    if low is not None:
        faults.append(((numbers < low) & ~infinite, f"below {low:g}"))
    if high is not None:
        faults.append(((numbers > high) & ~infinite, f"above {high:g}"))
    return [(rows[broken], what) for broken, what in faults]


def _outside(numbers: NDArray[np.float64], least: float, most: float) -> Positions:
    """Where numbers are missing or not between these two.

    By blocks: the processor's cache then holds all that is made of one.
    """
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(numbers), BLOCK):
        block = numbers[start : start + BLOCK]
        found.append(start + np.flatnonzero(~((block >= least) & (block <= most))))
    return np.concatenate(found)
