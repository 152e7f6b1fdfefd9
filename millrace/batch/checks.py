"""A batch of raw rows against the contract: what training's cleaning and the service ask of a row.

The target is not asked for. As the service has it, what only names rows (ids, the key) may be anything, and
what is no input of the model may be missing. No row is dropped for being there twice: each gets its answer.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from millrace.casting import Faults, cast_column, check_names, joined, plain, read_column
from millrace.cleaning import column_faults
from millrace.contract import Column, Problem
from millrace.requests import names_rows


@dataclass(frozen=True)
class Checked:
    """Typed columns of all rows; what is wrong with rows, as text by position; and how often what is.

    Of a cell that cannot be read, `reasons` do not repeat what it holds.
    """

    values: dict[str, "pd.Series[Any]"]
    faults: "pd.Series[str]"
    reasons: Counter[str]

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Which rows keep the contract: [rows]."""
        rows = len(next(iter(self.values.values())))
        sound = np.ones(rows, dtype=np.bool_)
        sound[self.faults.index] = False
        return sound


class Checker:
    """Reads and checks the rows of a problem's tables."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._columns = {
            name: column if column.input else column.model_copy(update={"nullable": True})
            for name, column in problem.features.items()
            if not names_rows(problem, name)
        }

    def check(self, table: pa.Table, origin: str) -> Checked:
        """Type the columns and say what is wrong with which rows.

        Raises:
            UserError: a feature has no column, or two; or one holds bytes that are no text.
        """
        check_names(table.column_names, list(self.problem.features), self.problem, origin)
        values: dict[str, pd.Series[Any]] = {}
        unreadable: list[Faults] = []
        broken: list[Faults] = []
        reasons: Counter[str] = Counter()
        for name, column in self._columns.items():
            values[name], (unread, words) = read_column(table.column(name), name, column, origin)
            unreadable.append((unread, words))
            if len(unread):
                reasons[f"{name}: cannot be read as {column.type}"] += len(unread)
            for rows, what in column_faults(values[name], column):
                # A cell that could not be read is null because of that; one reason is enough.
                others = np.setdiff1d(rows, unread, assume_unique=True)
                if len(others):
                    broken.append((others, f"{name}: {what}"))
                    reasons[f"{name}: {what}"] += len(others)
        return Checked(values, joined([*unreadable, *broken]), reasons)

    def requested(self, table: pa.Table, checked: Checked, rows: NDArray[np.int64]) -> pa.Table:
        """Some sound rows as a service would be sent them."""
        columns = {}
        for name in self.problem.features:
            if name in checked.values:
                columns[name] = pa.array(checked.values[name].iloc[rows], from_pandas=True)
            else:
                about = Column(type="id")
                given = plain(table.column(name).take(pa.array(rows)), about)
                columns[name] = pa.array(cast_column(given, about), pa.string(), from_pandas=True)
        return pa.table(columns)
