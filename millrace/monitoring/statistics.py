"""How far two samples are apart, and how unlikely that is, for many pairs of samples at once.

Surprise is -ln(p) of the asymptotic p-value: one scale for all statistics, without end. What the p-value
is wrong by, for ties and small samples, the calibration corrects (`millrace.monitoring.calibration`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.metrics import Floats

Numbers = NDArray[Any]
# From here on the first term of Kolmogorov's series is the whole of it, to 1e-11.
SINGLE_TERM = 3.0


def kolmogorov_surprise(distance: Numbers, rows: Numbers, reference_rows: Numbers) -> Floats:
    """Of the largest distance between two samples' distribution functions (Smirnov, 1939).

    The p-value's limit is Kolmogorov's (Hodges, "The significance probability of the Smirnov two-sample
    test", Arkiv för Matematik 3, 1958). Every argument may be an array of the same shape.
    """
    from scipy.special import kolmogorov

    effective = rows * reference_rows / np.maximum(rows + reference_rows, 1)
    z = np.sqrt(effective) * distance
    series = -np.log(kolmogorov(np.minimum(z, SINGLE_TERM)))
    surprise: Floats = np.where(z < SINGLE_TERM, series, 2 * z**2 - np.log(2))
    return surprise


def likelihood_ratio(counts: Numbers, reference: Numbers) -> Floats:
    """The G statistic of two samples' counts by cell, [..., cells] each (Wilks, 1938).

    It is twice the rows times the samples' Jensen-Shannon divergence, weighted by their sizes (Lin, IEEE
    Transactions on Information Theory 37, 1991).
    """
    together = counts + reference
    rows = together.sum(axis=-1, keepdims=True)
    total = np.zeros(np.broadcast_shapes(counts.shape, reference.shape)[:-1])
    for sample in (counts, reference):
        expected = together * sample.sum(axis=-1, keepdims=True) / np.maximum(rows, 1)
        excess = np.where(sample > 0, sample / np.where(sample > 0, expected, 1), 1)
        total = total + 2 * (sample * np.log(excess)).sum(axis=-1)
    # Of equal shares rounding can leave a little less than nothing.
    ratio: Floats = np.maximum(total, 0)
    return ratio


def likelihood_ratio_surprise(statistic: Numbers, freedom: int) -> Floats:
    """Of a G statistic whose limit is chi-squared with so many degrees of freedom (Wilks, 1938)."""
    from scipy.special import gammaincc, gammaln

    half, shape = np.asarray(statistic) / 2, freedom / 2
    tail = gammaincc(shape, half)
    # Where the tail is no float any more, its leading term (Abramowitz and Stegun, 6.5.32).
    safe = np.maximum(half, 1e-300)
    leading = half - (shape - 1) * np.log(safe) + gammaln(shape)
    surprise: Floats = np.where(tail > 1e-290, -np.log(np.maximum(tail, 1e-290)), leading)
    return surprise


def total_variation(counts: Numbers, reference: Numbers) -> float:
    """Half the sum of the differences between two samples' shares: 0 of equal ones, 1 of strangers."""
    shares = (sample / max(float(sample.sum()), 1.0) for sample in (counts, reference))
    first, second = shares
    return float(np.abs(first - second).sum() / 2)
