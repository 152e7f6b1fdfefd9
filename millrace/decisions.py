"""From probabilities to labels: the threshold that costs least."""

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Costs

DEFAULT = 0.5


def decide(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """The label of each row [rows], as a class' position.

    Of two classes the second, the positive one, if its probability is at least `threshold`; of more
    the likeliest.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def cost_curve(
    target: NDArray[np.float64], chance: NDArray[np.float64], costs: Costs
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every threshold that matters, rising, and the mean cost of a row at each.

    Args:
        target: 1 for positive rows, else 0 [rows].
        chance: the predicted probability of the positive class [rows].
        costs: of both mistakes.
    """
    levels, places = np.unique(chance, return_inverse=True)
    positive = np.bincount(places, weights=target, minlength=len(levels))
    negative = np.bincount(places, minlength=len(levels)) - positive
    # Between neighbouring probabilities the labels do not change; past the last, nothing is positive.
    between = (levels[1:] + levels[:-1]) / 2
    thresholds = np.concatenate([[0.0], between, [np.nextafter(1.0, 2.0)]])
    thresholds[np.searchsorted(levels, costs.threshold)] = costs.threshold
    missed = np.concatenate([[0.0], np.cumsum(positive)])
    alarms = np.concatenate([np.cumsum(negative[::-1])[::-1], [0.0]])
    return thresholds, (costs.false_negative * missed + costs.false_positive * alarms) / len(target)


def choose_threshold(target: NDArray[np.float64], chance: NDArray[np.float64], costs: Costs) -> float:
    """The threshold with the least mean cost; of equal ones that nearest to `costs.threshold`.

    Give it predictions of rows that the model was not fitted on.
    """
    thresholds, cost = cost_curve(target, chance, costs)
    cheapest = thresholds[cost <= cost.min() * (1 + 1e-12)]
    return float(cheapest[np.abs(cheapest - costs.threshold).argmin()])
