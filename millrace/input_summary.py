"""How the rows that a service answers are spread, in the bins of the rows that its model learnt from.

A number's bins are the tenths of the reference sample in the bundle, a category's are the categories, a
boolean's `false` and `true`. Compared with the reference, they show drift without a row being looked at.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.bundle import REFERENCE, Bundle
from millrace.contract import Column
from millrace.features import encode

TENTHS = np.arange(1, 10) / 10
MISSING = "missing"
OTHER = "other"
BOOLEANS = {False: "false", True: "true"}


@dataclass
class Spread:
    """Values of one column: how many in each bin, and of numbers their sum and sum of squares.

    Missing values are in the bin `missing`, of categories unknown ones in `other`.
    """

    counts: Counter[str] = field(default_factory=Counter)
    sum: float = 0.0
    squares: float = 0.0

    def add(self, other: "Spread") -> None:
        """Take in the spread of other values."""
        self.counts.update(other.counts)
        self.sum += other.sum
        self.squares += other.squares


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, or of moments as seconds since 1970, binned by rising `edges`.

    Bin `1` holds what is at most the first edge, the last what is above all.
    """

    edges: NDArray[np.float64]
    moments: bool = False

    @property
    def bins(self) -> tuple[str, ...]:
        """The names of the bins."""
        return (*(str(number) for number in range(1, len(self.edges) + 2)), MISSING)

    def spread(self, values: Any) -> Spread:
        """How values [rows] are spread."""
        numbers = encode(values, "datetime" if self.moments else "numeric")
        known = numbers[~np.isnan(numbers)]
        counts = np.bincount(np.searchsorted(self.edges, known), minlength=len(self.edges) + 1).tolist()
        # The sum of a few huge numbers may be infinite, as a gauge may.
        with np.errstate(over="ignore"):
            total, squares = float(known.sum()), float(known @ known)
        return Spread(
            Counter(dict(zip(self.bins, [*counts, len(numbers) - len(known)], strict=True))), total, squares
        )


@dataclass(frozen=True)
class Names:
    """A column of categories, of booleans, or of classes."""

    categories: tuple[str, ...]

    @property
    def bins(self) -> tuple[str, ...]:
        """The names of the bins."""
        return tuple(dict.fromkeys((*self.categories, OTHER, MISSING)))

    def spread(self, values: Any) -> Spread:
        """How values [rows] are spread."""
        counts: Counter[str] = Counter()
        for value, count in Counter(values).items():
            name = BOOLEANS[value] if isinstance(value, bool) else value
            counts[MISSING if name is None else name if name in self.categories else OTHER] += count
        return Spread(counts)


@dataclass(frozen=True)
class Reference:
    """The bins of a bundle's inputs, but for private ones, and of its predictions; and its sample in them."""

    inputs: dict[str, Numbers | Names]
    prediction: Numbers | Names
    shares: dict[str, dict[str, float]]
    prediction_shares: dict[str, float]

    def spread(self, columns: Mapping[str, Any]) -> dict[str, Spread]:
        """How the values of each input are spread."""
        return {name: bins.spread(columns[name]) for name, bins in self.inputs.items() if name in columns}


def read_reference(bundle: Bundle) -> Reference:
    """The bins of a bundle, from the sample of training rows in it."""
    problem, sample = bundle.problem, pd.read_parquet(bundle.folder / REFERENCE)
    inputs = {
        name: _bins(sample[name], column) for name, column in problem.inputs.items() if not column.private
    }
    predicted = sample["_prediction"]
    prediction = Names(problem.classes) if problem.classes else _bins(predicted, problem.target)
    shares = {name: _shares(bins, sample[name]) for name, bins in inputs.items()}
    return Reference(inputs, prediction, shares, _shares(prediction, predicted))


def _bins(values: "pd.Series[Any]", column: Column) -> Numbers | Names:
    if column.type == "category":
        return Names(column.categories)
    if column.type == "boolean":
        return Names(tuple(BOOLEANS.values()))
    moments = column.type == "datetime"
    numbers = encode(values, "datetime" if moments else "numeric")
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(known, TENTHS)) if len(known) else np.empty(0)
    return Numbers(edges, moments)


def _shares(bins: Numbers | Names, values: "pd.Series[Any]") -> dict[str, float]:
    plain = values if isinstance(bins, Numbers) else values.astype(object).where(values.notna(), None)
    counts = bins.spread(plain).counts
    return {name: counts[name] / max(1, len(values)) for name in bins.bins}
