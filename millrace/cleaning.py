"""Silver: the rows that keep the contract. The others go to quarantine, each with its reasons."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.casting import UNREADABLE
from millrace.contract import LARGEST, NUMERIC, Column, Problem, Strict
from millrace.errors import UserError

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
    reasons = row_faults(bronze, problem)
    good = (reasons == "").to_numpy()
    kept = bronze.loc[good, list(problem.columns)]
    repeated = kept.duplicated().to_numpy()
    silver = kept[~repeated].reset_index(drop=True)
    quarantine = bronze[~good].assign(**{REASON: reasons[~good]}).reset_index(drop=True)
    counts = RowCounts(
        read=len(bronze),
        used=len(silver),
        quarantined=len(quarantine),
        duplicates=int(repeated.sum()),
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


def row_faults(bronze: pd.DataFrame, problem: Problem) -> "pd.Series[str]":
    """What is wrong with each row, as text; empty where nothing is."""
    faults = bronze[UNREADABLE].fillna("").astype(object)
    for name, column in problem.columns.items():
        # A cell that could not be read is null because of that; one reason is enough.
        told = faults.str.contains(f"(?:^|; ){re.escape(name)}: '").to_numpy()
        for broken, what in _column_faults(bronze[name], column):
            _add(faults, broken & ~told, f"{name}: {what}")
    if problem.key:
        keys = bronze[[*problem.columns]].drop_duplicates()[problem.key].dropna()
        clashing = bronze[problem.key].isin(keys[keys.duplicated(keep=False)]).to_numpy()
        _add(faults, clashing, f"{problem.key}: several different rows have this key")
    return faults


def _add(faults: "pd.Series[str]", rows: NDArray[np.bool_], what: str) -> None:
    faults[rows] = faults[rows] + np.where(faults[rows] == "", "", "; ") + what


def _column_faults(values: "pd.Series[Any]", column: Column) -> list[tuple[NDArray[np.bool_], str]]:
    missing = values.isna().to_numpy()
    faults = [] if column.nullable else [(missing, "missing")]
    if column.type in NUMERIC:
        numbers = values.to_numpy(dtype=np.float64)
        infinite = np.isinf(numbers)
        faults.append((infinite, "infinite"))
        too_large = (np.abs(numbers) > LARGEST[column.type]) & ~infinite
        faults.append((too_large, TOO_LARGE[column.type]))
        low, high = column.range or (None, None)
        if low is not None:
            faults.append(((numbers < low) & ~infinite, f"below {low:g}"))
        if high is not None:
            faults.append(((numbers > high) & ~infinite, f"above {high:g}"))
    if column.type == "category" and column.unseen == "refuse":
        unknown = ~values.isin(column.categories).to_numpy() & ~missing
        faults.append((unknown, "not a known category"))
    return faults
