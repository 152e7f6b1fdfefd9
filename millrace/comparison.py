"""Whether one candidate is better than another, by their scores on the same folds."""

import numpy as np
from numpy.typing import NDArray

CLEAR = 0.05


def corrected_t_test(differences: NDArray[np.float64], test_share: float) -> float:
    """One-sided p-value that the mean of paired differences [folds] is above 0.

    Folds share training rows, so the plain t-test is too sure. The variance of the mean is taken as
    (1/folds + test rows / training rows) times that of the differences: the corrected resampled t-test
    (Nadeau and Bengio, Machine Learning 52, 2003; for repeated cross-validation Bouckaert and Frank,
    PAKDD 2004). `test_share` is the share of the rows that a fold is scored on.

    A single difference, or none that is not 0, says nothing either way: 0.5.
    """
    from scipy.stats import t

    if len(differences) < 2 or not differences.any():
        return 0.5
    error = corrected_error(differences, test_share)
    if error == 0:
        return 0.0 if differences[0] > 0 else 1.0
    return float(t.sf(differences.mean() / error, len(differences) - 1))


def corrected_error(differences: NDArray[np.float64], test_share: float) -> float:
    """The standard error of the mean of paired differences [folds], two or more, corrected as above."""
    return float(differences.std(ddof=1) * np.sqrt(1 / len(differences) + test_share / (1 - test_share)))


def standing(p_value: float | None) -> str:
    """A candidate's place in words, by the p-value that the chosen one is better; None for that one."""
    if p_value is None:
        return "chosen"
    shown = f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
    return f"{'no clear difference' if p_value > CLEAR else 'worse'} ({shown})"
