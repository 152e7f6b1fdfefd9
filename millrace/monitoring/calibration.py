"""Where alarms begin: how far apart two samples are if nothing has changed.

From the reference two samples are drawn with replacement, one as large as the window, one as large as the
reference itself, and compared; many times. Both are drawn because both are finite: a window's distance from
the one reference there is has the chance of either in it. Rows are drawn whole, so what columns have to do
with one another stays (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 16).

Of each pair the largest score of all columns is kept, and an alarm is a score beyond nearly all of these
maxima (Westfall and Young, "Resampling-Based Multiple Testing", 1993, the single-step maxT procedure): the
rate of false alarms is that of a window, however many columns there are. A score is the surprise of a
column's difference, divided by what it is on average without drift (as Bartlett, 1937, corrects likelihood
ratios), plus the logarithm of its weight: p-values are divided by weights (Genovese, Roeder and Wasserman,
Biometrika 93, 2006).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from millrace.metrics import Floats
from millrace.monitoring.baseline import Watched
from millrace.monitoring.statistics import (
    kolmogorov_surprise,
    likelihood_ratio,
    likelihood_ratio_surprise,
)

# How many counts of rows are held at once: 64 MB.
BLOCK = 2**24
# With this probability the rate of false alarms is at most what was asked for, as far as draws are chance.
SAFETY = 0.95
Counts = NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What samples score against one another without drift.

    `maxima` [draws] are the largest scores, rising; `scales` [columns] divide surprises of values.
    """

    rows: int
    false_alarms: float
    scales: Floats
    maxima: Floats

    @cached_property
    def threshold(self) -> float:
        """The score that is beyond chance."""
        largest = self.maxima[-allowed(len(self.maxima), self.false_alarms)]
        # Columns that never change have no chance to tell; a rate is asked of them, too.
        return max(float(largest), float(-np.log(self.false_alarms)))

    def p_value(self, score: float) -> float:
        """The share of samples without drift with so large a score (Davison and Hinkley, 1997, 4.2.5)."""
        larger = len(self.maxima) - int(np.searchsorted(self.maxima, score, side="left"))
        return (1 + larger) / (1 + len(self.maxima))


def calibrate(
    columns: Sequence[Watched], rows: int, *, false_alarms: float, draws: int, seed: int
) -> Calibration:
    """Calibrate for windows of `rows` rows."""
    size = len(columns[0].values)
    parts = [_Null(column) for column in columns]
    values: list[list[Floats]] = [[] for _ in columns]
    shares: list[list[Floats]] = [[] for _ in columns]
    for window, reference in pairs(size, rows, draws, seed):
        for place, part in enumerate(parts):
            values[place].append(part.values(window, reference))
            shares[place].append(part.missing(window, reference))
    scales = np.array([_scale(np.concatenate(found)) for found in values])
    scores = [
        np.maximum(np.concatenate(found) / scale, np.concatenate(missing)) + np.log(column.weight)
        for column, found, missing, scale in zip(columns, values, shares, scales, strict=True)
    ]
    return Calibration(rows, false_alarms, scales, np.sort(np.max(scores, axis=0)))


def allowed(draws: int, rate: float) -> int:
    """The place, from the largest of so many draws, of a threshold that new ones exceed at most at this rate.

    With the probability SAFETY, whatever the distribution: an order statistic is a bound of a quantile
    (Wilks, 1941). At least 1.
    """
    from scipy.stats import binom

    return max(1, int(binom.ppf(1 - SAFETY, draws, rate)))


def pairs(size: int, rows: int, draws: int, seed: int) -> Iterator[tuple[Counts, Counts]]:
    """How often each of `size` reference rows is in a window of `rows`, and in another reference.

    In blocks: [draws, size] each.
    """
    rng = np.random.default_rng(seed)
    most = max(1, BLOCK // size)
    for start in range(0, draws, most):
        some = min(most, draws - start)
        yield _drawn(rng, size, rows, some), _drawn(rng, size, size, some)


def _drawn(rng: np.random.Generator, size: int, rows: int, draws: int) -> Counts:
    if rows > 8 * size:
        return rng.multinomial(rows, np.full(size, 1 / size), size=draws).astype(np.float32)
    # Of few rows a row at a time is quicker.
    found = np.empty((draws, size), np.float32)
    for draw in found:
        draw[:] = np.bincount(rng.integers(0, size, rows, dtype=np.int32), minlength=size)
    return found


class _Null:
    """One column of the reference, to be drawn from."""

    def __init__(self, column: Watched) -> None:
        gone = np.isnan(column.values)
        self.gaps = gone.astype(np.float32) if gone.any() else None
        known = np.flatnonzero(~gone)
        self.order = known[np.argsort(column.values[known], kind="stable")]
        ordered = column.values[self.order]
        self.starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf))
        self.named = bool(column.categories)

    def values(self, window: Counts, reference: Counts) -> Floats:
        """The surprise of what is known in each pair: [draws]."""
        if len(self.starts) < 2:
            return np.zeros(len(window))
        if self.named:
            cells, others = (
                np.add.reduceat(w[:, self.order], self.starts, axis=1) for w in (window, reference)
            )
            ratio = likelihood_ratio(cells.astype(np.float64), others.astype(np.float64))
            return likelihood_ratio_surprise(ratio, len(self.starts) - 1)
        known, others = window[:, self.order], reference[:, self.order]
        rows = known.sum(axis=1, dtype=np.float64), others.sum(axis=1, dtype=np.float64)
        for counts, number in zip((known, others), rows, strict=True):
            counts /= np.maximum(number, 1)[:, None].astype(np.float32)
        known -= others
        if len(self.starts) < len(self.order):
            known = np.add.reduceat(known, self.starts, axis=1)
        np.cumsum(known, axis=1, out=known)
        distance = np.maximum(known.max(axis=1), -known.min(axis=1)).astype(np.float64)
        return kolmogorov_surprise(distance, *rows)

    def missing(self, window: Counts, reference: Counts) -> Floats:
        """The surprise of how much is missing in each pair: [draws]."""
        if self.gaps is None:
            return np.zeros(len(window))
        gone = [(sample @ self.gaps).astype(np.float64) for sample in (window, reference)]
        rows = [sample.sum(axis=1, dtype=np.float64) for sample in (window, reference)]
        cells = [np.stack([part, whole - part], axis=1) for part, whole in zip(gone, rows, strict=True)]
        return likelihood_ratio_surprise(likelihood_ratio(*cells), 1)


def _scale(surprise: Floats) -> float:
    """The mean, which is 1 where p-values are true; a column that is always the same has none."""
    mean = float(surprise.mean())
    return mean if mean > 0.05 else 1.0
