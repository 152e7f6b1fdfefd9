"""A window's rows, counted in the reference's own cells: exact for any number of rows, in little memory.

Of numbers, the window's distribution function is known at each of the reference's values, and just below it.
The largest distance between the two functions needs no more: between two of these values the reference's does
not change.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from millrace.monitoring.baseline import Watched
from millrace.transforms import Matrix

Counts = NDArray[np.int64]


class Cells:
    """Counts of one column: `known` values, and the others that are `missing`.

    Of numbers `up_to` and `below` [edges]: how many are at most, and less than, each value of the reference.
    Of names `named` [categories], and how many are `unseen`, none of them.
    """

    def __init__(self, column: Watched) -> None:
        """Nothing is counted yet."""
        reference = column.values[~np.isnan(column.values)]
        self.edges = np.empty(0) if column.categories else np.unique(reference)
        self.up_to = np.zeros(len(self.edges), np.int64)
        self.below = np.zeros(len(self.edges), np.int64)
        self.named = np.zeros(len(column.categories), np.int64)
        self.unseen = self.missing = self.known = 0

    def add(self, values: Matrix) -> None:
        """Count encoded values [rows]."""
        known = values[~np.isnan(values)]
        self.missing += len(values) - len(known)
        self.known += len(known)
        if len(self.named):
            found = np.bincount(known.astype(np.int64), minlength=len(self.named) + 1)
            self.named += found[: len(self.named)]
            self.unseen += int(found[len(self.named)])
        elif len(self.edges):
            # At most the i-th edge are those that at most i edges are less than.
            self.up_to += self._ranked(known, "left")
            self.below += self._ranked(known, "right")

    def _ranked(self, known: Matrix, side: Literal["left", "right"]) -> Counts:
        places = np.searchsorted(self.edges, known, side=side)
        counts: Counts = np.cumsum(np.bincount(places, minlength=len(self.edges) + 1)[:-1])
        return counts


class Tally:
    """Counts of all watched columns."""

    def __init__(self, columns: Sequence[Watched]) -> None:
        """Nothing is counted yet."""
        self.cells = [Cells(column) for column in columns]
        self.rows = 0

    def add(self, matrix: Matrix) -> None:
        """Count encoded rows [rows, columns]."""
        self.rows += len(matrix)
        for cells, values in zip(self.cells, matrix.T, strict=True):
            cells.add(values)
