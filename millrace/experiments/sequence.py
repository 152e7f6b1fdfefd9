"""Intervals that hold at every look at once, however often one looks and whenever one stops.

An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences", Annals of Statistics 52, 2024, theorem 2.2): after t units,
with an estimate whose variance is V, the interval's half width is

    sqrt(V) * sqrt(2 (x + 1) / x * log(sqrt(x + 1) / alpha)),    x = t rho^2.

It is Robbins' normal mixture (1970), turned round: the mixture sequential probability ratio test of Johari,
Koomen, Pekelis and Walsh (Operations Research 70, 2022) rejects what the interval leaves out. `rho` decides
where it is narrowest. Here that is the planned size: x is `TUNED` times the share of it that is there
(appendix B.2 of the same paper).

For two independent arms the estimate is a difference of means, V the sum of their variances, and t counts the
units of both, as these come in fixed shares.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

Numbers: TypeAlias = NDArray[np.float64] | float


def tuned(alpha: float) -> float:
    """x = t rho^2 at the t where the interval is narrowest in its standard errors."""
    return float(-lambertw(-(alpha**2) / math.e, -1).real - 1)


def deviations(progress: Numbers, alpha: float) -> Numbers:
    """The half width in standard errors, at a `progress` from above 0 to the planned size, 1, and beyond."""
    x = tuned(alpha) * progress
    return np.sqrt(2 * (1 + 1 / x) * (np.log1p(x) / 2 - math.log(alpha)))


def p_value(difference: float, variance: float, progress: float, alpha: float) -> float:
    """The always-valid p-value of no difference: the smallest level whose interval leaves out 0.

    With the mixture as it is tuned for `alpha`; below `alpha` just where that interval leaves out 0.
    """
    x = tuned(alpha) * progress
    evidence = difference**2 / max(variance, 1e-300) * x / (1 + x) / 2 - math.log1p(x) / 2
    return math.exp(-max(evidence, 0.0)) if evidence < 700 else 0.0


def units_needed(effect: float, spread: float, alpha: float, power: float) -> int:
    """Units of both arms after which an effect is found with a chance of `power`.

    `effect` is the difference of means, `spread` the variance of its estimate times the units of both. What
    earlier looks add to the chance is not counted: the true power is higher.
    """
    from scipy.stats import norm

    errors = float(deviations(1.0, alpha)) + float(norm.ppf(power))
    return math.ceil(spread * (errors / effect) ** 2)
