"""Rows drawn from a table of any length while it passes by."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Draw:
    """Of all rows that it is shown, the `size` different ones whose hashes are smallest.

    A uniform sample of the different rows, without repeats, as equal rows have equal hashes; the same for
    the same rows, in whatever order they come.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tables: list[pd.DataFrame] = []
        self._hashes: list[NDArray[np.uint64]] = []
        self._waiting = 0
        self._limit = np.uint64(2**64 - 1)

    def add(self, table: pd.DataFrame, hashes: NDArray[np.uint64]) -> None:
        """Look at rows with their hashes [rows]."""
        near = hashes <= self._limit
        # Of nothing seen so far, for the names and types alone.
        if not near.any() and self._tables:
            return
        self._tables.append(table[near])
        self._hashes.append(hashes[near])
        self._waiting += int(near.sum())
        if self._waiting > 2 * self._size:
            self._settle()

    def rows(self) -> pd.DataFrame:
        """What has been drawn so far, in the order of the hashes."""
        self._settle()
        return self._tables[0]

    def _settle(self) -> None:
        table, hashes = pd.concat(self._tables, ignore_index=True), np.concatenate(self._hashes)
        known, first = np.unique(hashes, return_index=True)
        known, first = known[: self._size], first[: self._size]
        self._tables, self._hashes = [table.iloc[first].reset_index(drop=True)], [known]
        self._waiting = len(known)
        if len(known) == self._size:
            self._limit = known[-1]
