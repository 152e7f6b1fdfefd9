"""How the rows that a service answers are spread, in the bins of the rows that its model was judged by.

A number's bins are the tenths of the reference sample in the bundle, a category's are the categories, a
boolean's `false` and `true`. Compared with the reference, they show drift without a row being looked at.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.bundle import REFERENCE, Bundle
from millrace.features import encode, encode_inputs, encoded
from millrace.transforms import Feature, Matrix

TENTHS = np.arange(1, 10) / 10
MISSING = "missing"
BOOLEANS = ("false", "true")


@dataclass
class Spread:
    """Values of one column: how many in each bin, and of numbers their sum and sum of squares.

    Missing values are in the bin `missing`, and so are categories that count as missing.
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

    @property
    def bins(self) -> tuple[str, ...]:
        """The names of the bins."""
        return (*(str(number) for number in range(1, len(self.edges) + 2)), MISSING)

    def spread(self, values: Matrix) -> Spread:
        """How encoded values [rows] are spread."""
        known = values[~np.isnan(values)]
        # Many times as fast as to search the bin of each value.
        up_to = [np.count_nonzero(known <= edge) for edge in self.edges]
        counts = np.diff([0, *up_to, len(known)]).tolist()
        # The sum of a few huge numbers may be infinite, as a gauge may.
        with np.errstate(over="ignore"):
            # Not by BLAS, which would wake threads of its own.
            total, squares = float(known.sum()), float((known * known).sum())
        return Spread(
            Counter(dict(zip(self.bins, [*counts, len(values) - len(known)], strict=True))), total, squares
        )


@dataclass(frozen=True)
class Names:
    """A column of categories, of booleans, or of classes."""

    categories: tuple[str, ...]

    @property
    def bins(self) -> tuple[str, ...]:
        """The names of the bins."""
        return tuple(dict.fromkeys((*self.categories, MISSING)))

    def spread(self, values: Matrix) -> Spread:
        """How encoded values [rows] are spread."""
        known = values[~np.isnan(values)].astype(np.int64)
        found = np.bincount(known, minlength=len(self.categories)).tolist()
        counts = Counter(dict(zip(self.categories, found, strict=True)))
        counts[MISSING] += len(values) - len(known)
        return Spread(counts)


@dataclass(frozen=True)
class Reference:
    """The bins of a bundle's inputs, but for private ones, and of its predictions; and its sample in them.

    `names` are those of the encoded columns, private ones, too.
    """

    names: tuple[str, ...]
    inputs: dict[str, Numbers | Names]
    prediction: Numbers | Names
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    prediction_shares: dict[str, float] = field(default_factory=dict)

    def spread(self, rows: Matrix) -> dict[str, Spread]:
        """How each input is spread in encoded rows [rows, inputs]."""
        columns = zip(self.names, rows.T, strict=True)
        return {name: self.inputs[name].spread(values) for name, values in columns if name in self.inputs}

    def spread_predictions(self, predictions: Any) -> Spread:
        """How predictions [rows] are spread: values, or names of classes."""
        if isinstance(self.prediction, Names):
            return self.prediction.spread(encode(predictions, "category", self.prediction.categories))
        return self.prediction.spread(encode(predictions, "numeric"))


def read_reference(bundle: Bundle) -> Reference:
    """The bins of a bundle, from the sample of rows in it."""
    problem, sample = bundle.problem, pd.read_parquet(bundle.folder / REFERENCE)
    features, predicted = encoded(problem), sample["_prediction"]
    rows = encode_inputs(sample, features)
    inputs = {
        feature.name: _bins(feature, values)
        for feature, values in zip(features, rows.T, strict=True)
        if not problem.inputs[feature.name].private
    }
    prediction = Names(problem.classes) if problem.classes else Numbers(_tenths(encode(predicted, "numeric")))
    reference = Reference(tuple(feature.name for feature in features), inputs, prediction)
    shares = {name: _shares(spread) for name, spread in reference.spread(rows).items()}
    return replace(
        reference, shares=shares, prediction_shares=_shares(reference.spread_predictions(predicted))
    )


def _bins(feature: Feature, values: Matrix) -> Numbers | Names:
    if feature.kind == "category":
        return Names(feature.categories)
    return Names(BOOLEANS) if feature.kind == "boolean" else Numbers(_tenths(values))


def _tenths(values: Matrix) -> Matrix:
    known = values[~np.isnan(values)]
    return np.unique(np.quantile(known, TENTHS)) if len(known) else np.empty(0)


def _shares(spread: Spread) -> dict[str, float]:
    return {name: count / max(1, spread.counts.total()) for name, count in spread.counts.items()}
