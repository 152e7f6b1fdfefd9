"""Metrics and their bootstrap intervals.

Predictions are values [rows] for regression and probabilities [rows, classes] for classification;
targets are values, or class positions as floats.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Strict, Task

Floats = NDArray[np.float64]
PRIMARY: dict[Task, str] = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}
LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss", "brier"})
CLIP = 1e-15


class Interval(Strict):
    """A metric with its two-sided bootstrap percentile interval."""

    value: float
    low: float
    high: float


def rmse(target: Floats, predicted: Floats) -> float:
    """Root of the mean squared error, in the target's unit."""
    return float(np.sqrt(np.mean((target - predicted) ** 2)))


def mae(target: Floats, predicted: Floats) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.mean(np.abs(target - predicted)))


def r2(target: Floats, predicted: Floats) -> float:
    """Share of the target's variance explained; 0 where the target does not vary."""
    variance = np.mean((target - target.mean()) ** 2)
    return float(1 - np.mean((target - predicted) ** 2) / variance) if variance > 0 else 0.0


def log_loss(target: Floats, probabilities: Floats) -> float:
    """Mean negative log probability of the true class, in nats."""
    true = probabilities[np.arange(len(target)), target.astype(int)]
    return float(-np.mean(np.log(np.clip(true, CLIP, 1))))


def brier(target: Floats, probabilities: Floats) -> float:
    """Mean squared distance of the probabilities from the truth (Brier, 1950), 0 to 2."""
    truth = np.eye(probabilities.shape[1])[target.astype(int)]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))


def accuracy(target: Floats, probabilities: Floats) -> float:
    """Share of rows whose most probable class is the true one."""
    return float(np.mean(probabilities.argmax(axis=1) == target))


def roc_auc(target: Floats, probabilities: Floats) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative (Mann-Whitney).

    Several classes: the mean over classes, each against the rest; classes absent here are left out.
    """
    from scipy.stats import rankdata

    areas = []
    for position in range(1 if probabilities.shape[1] == 2 else 0, probabilities.shape[1]):
        positive = target == position
        count = int(positive.sum())
        if 0 < count < len(target):
            ranks = rankdata(probabilities[:, position])
            surplus = ranks[positive].sum() - count * (count + 1) / 2
            areas.append(surplus / (count * (len(target) - count)))
    return float(np.mean(areas)) if areas else 0.5


METRICS: dict[Task, dict[str, Callable[[Floats, Floats], float]]] = {
    "regression": {"rmse": rmse, "mae": mae, "r2": r2},
    "binary": {"log_loss": log_loss, "accuracy": accuracy, "roc_auc": roc_auc, "brier": brier},
    "multiclass": {"log_loss": log_loss, "accuracy": accuracy, "roc_auc": roc_auc, "brier": brier},
}


def compute_metrics(task: Task, target: Floats, predicted: Floats) -> dict[str, float]:
    """Every metric of the task."""
    return {name: metric(target, predicted) for name, metric in METRICS[task].items()}


def bootstrap_metrics(
    task: Task, target: Floats, predicted: Floats, *, resamples: int, confidence: float, seed: int
) -> dict[str, Interval]:
    """Every metric with its percentile interval (Efron and Tibshirani, 1993, chapter 13)."""
    points = compute_metrics(task, target, predicted)
    draws = [
        compute_metrics(task, target[rows], predicted[rows])
        for rows in resample(len(target), resamples, seed)
    ]
    tail = (1 - confidence) / 2
    intervals = {}
    for name, value in points.items():
        low, high = np.quantile([draw[name] for draw in draws], [tail, 1 - tail])
        intervals[name] = Interval(value=value, low=float(low), high=float(high))
    return intervals


def resample(rows: int, resamples: int, seed: int) -> Iterator[NDArray[Any]]:
    """Row positions drawn with replacement, `resamples` times; the same for the same seed."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.integers(0, rows, rows)
