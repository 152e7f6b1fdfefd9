"""Metrics and their bootstrap intervals.

A metric takes an outcome and weights [resamples, rows], how often each row counts, and returns one
value a resample: all resamples are computed at once, most of them by one product of matrices.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Problem, Task
from millrace.decisions import DEFAULT, decide
from millrace.strict import Strict

Floats = NDArray[np.float64]
PRIMARY: dict[Task, str] = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}
LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss", "brier", "cost"})
CLIP = 1e-15
BINS = 10
# How many weights are held at once: 32 MB.
BLOCK = 2**22


class Interval(Strict):
    """A metric with its two-sided bootstrap percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What was true and what was predicted.

    `target` [rows] holds values, or class positions as floats; `predicted` holds values [rows] or
    probabilities [rows, classes]. Of two classes the second is answered from `threshold` on.
    """

    problem: Problem
    target: Floats
    predicted: Floats
    threshold: float = DEFAULT

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class that is answered for each row."""
        return decide(self.predicted, self.threshold)


Metric = Callable[[Outcome, Floats], Floats]


def losses(outcome: Outcome) -> Floats:
    """What each row adds to the primary metric [rows]; `from_mean_loss` makes the metric of their mean."""
    if outcome.problem.task == "regression":
        return (outcome.target - outcome.predicted) ** 2
    true = outcome.predicted[np.arange(len(outcome.target)), outcome.target.astype(int)]
    loss: Floats = -np.log(np.clip(true, CLIP, 1))
    return loss


def from_mean_loss(means: Floats, task: Task) -> Floats:
    """The primary metric of rows with these mean losses."""
    return np.sqrt(means) if task == "regression" else means


def rmse(outcome: Outcome, weights: Floats) -> Floats:
    """Root of the mean squared error, in the target's unit."""
    return np.sqrt(_mean(losses(outcome), weights))


def mae(outcome: Outcome, weights: Floats) -> Floats:
    """Mean absolute error, in the target's unit."""
    return _mean(np.abs(outcome.target - outcome.predicted), weights)


def r2(outcome: Outcome, weights: Floats) -> Floats:
    """Share of the target's variance explained; 0 where the target does not vary."""
    centred = outcome.target - outcome.target.mean()
    squares = _mean(centred**2, weights)
    variance = squares - _mean(centred, weights) ** 2
    error = _mean((outcome.target - outcome.predicted) ** 2, weights)
    # What is left of equal numbers after a subtraction is rounding, not variance.
    varies = variance > 1e-12 * squares
    return np.where(varies, 1 - error / np.where(varies, variance, 1), 0.0)


def log_loss(outcome: Outcome, weights: Floats) -> Floats:
    """Mean negative log probability of the true class, in nats."""
    return _mean(losses(outcome), weights)


def brier(outcome: Outcome, weights: Floats) -> Floats:
    """Mean squared distance of the probabilities from the truth (Brier, 1950), 0 to 2."""
    truth = np.eye(outcome.predicted.shape[1])[outcome.target.astype(int)]
    return _mean(np.sum((outcome.predicted - truth) ** 2, axis=1), weights)


def roc_auc(outcome: Outcome, weights: Floats) -> Floats:
    """Area under the ROC curve: the chance that a positive outranks a negative (Mann-Whitney).

    Several classes: the mean over classes, each against the rest; classes absent here are left out.
    """
    classes = outcome.predicted.shape[1]
    areas = []
    for position in range(1 if classes == 2 else 0, classes):
        hits, misses = _by_score(outcome.predicted[:, position], outcome.target == position, weights)
        outranked = np.cumsum(misses, axis=1) - misses / 2
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        area = np.sum(hits * outranked, axis=1) / np.where(pairs > 0, pairs, 1)
        areas.append(np.where(pairs > 0, area, np.nan))
    return _mean_of_known(areas, otherwise=0.5)


def average_precision(outcome: Outcome, weights: Floats) -> Floats:
    """Mean precision over the positives, from the surest down; 0 without positives (binary)."""
    hits, misses = _by_score(outcome.predicted[:, 1], outcome.target == 1, weights)
    hits, misses = hits[:, ::-1], misses[:, ::-1]
    found = np.cumsum(hits, axis=1)
    precision = found / np.maximum(found + np.cumsum(misses, axis=1), 1)
    total: Floats = np.sum(hits * precision, axis=1) / np.maximum(found[:, -1], 1)
    return total


def accuracy(outcome: Outcome, weights: Floats) -> Floats:
    """Share of rows that are answered with the true class."""
    return _mean(outcome.labels == outcome.target, weights)


def precision(outcome: Outcome, weights: Floats) -> Floats:
    """Share of the positive answers that are right; 0 without any (binary)."""
    right, answered, _ = _counts(outcome, 1, weights)
    return right / np.maximum(answered, 1)


def recall(outcome: Outcome, weights: Floats) -> Floats:
    """Share of the positives that are answered so; 0 without any (binary)."""
    right, _, true = _counts(outcome, 1, weights)
    return right / np.maximum(true, 1)


def f1(outcome: Outcome, weights: Floats) -> Floats:
    """Harmonic mean of precision and recall; 0 without positives and positive answers (binary)."""
    right, answered, true = _counts(outcome, 1, weights)
    return 2 * right / np.maximum(answered + true, 1)


def macro_f1(outcome: Outcome, weights: Floats) -> Floats:
    """The mean of F1 over the classes that are there or answered."""
    scores = []
    for position in range(outcome.predicted.shape[1]):
        right, answered, true = _counts(outcome, position, weights)
        known = answered + true > 0
        scores.append(np.where(known, 2 * right / np.maximum(answered + true, 1), np.nan))
    return _mean_of_known(scores, otherwise=0.0)


def cost(outcome: Outcome, weights: Floats) -> Floats:
    """Mean cost of a row's label, in the unit of the contract's `costs` (binary)."""
    costs = outcome.problem.costs
    assert costs is not None
    positive, answered = outcome.target == 1, outcome.labels == 1
    by_row = costs.false_positive * (answered & ~positive) + costs.false_negative * (positive & ~answered)
    return _mean(by_row, weights)


METRICS: dict[Task, dict[str, Metric]] = {
    "regression": {"rmse": rmse, "mae": mae, "r2": r2},
    "binary": {
        "log_loss": log_loss,
        "brier": brier,
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    },
    "multiclass": {
        "log_loss": log_loss,
        "brier": brier,
        "roc_auc": roc_auc,
        "accuracy": accuracy,
        "macro_f1": macro_f1,
    },
}


def metrics_of(problem: Problem) -> dict[str, Metric]:
    """The metrics of the problem's task, and its cost if the contract sets one."""
    return METRICS[problem.task] | ({"cost": cost} if problem.costs else {})


def compute_metrics(outcome: Outcome) -> dict[str, float]:
    """Every metric of the problem."""
    once = np.ones((1, len(outcome.target)))
    return {name: float(metric(outcome, once)[0]) for name, metric in metrics_of(outcome.problem).items()}


def bootstrap_metrics(
    outcome: Outcome, *, resamples: int, confidence: float, seed: int
) -> dict[str, Interval]:
    """Every metric with its percentile interval (Efron and Tibshirani, 1993, chapter 13)."""
    metrics = metrics_of(outcome.problem)
    draws: dict[str, list[Floats]] = {name: [] for name in metrics}
    for weights in resample(len(outcome.target), resamples, seed):
        for name, metric in metrics.items():
            draws[name].append(metric(outcome, weights))
    tail = (1 - confidence) / 2
    intervals = {}
    for name, value in compute_metrics(outcome).items():
        low, high = np.quantile(np.concatenate(draws[name]), [tail, 1 - tail])
        intervals[name] = Interval(value=value, low=float(low), high=float(high))
    return intervals


def resample(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn in `resamples` draws with replacement, in blocks [resamples, rows].

    The same for the same seed.
    """
    rng = np.random.default_rng(seed)
    size = max(1, BLOCK // rows)
    for start in range(0, resamples, size):
        yield np.array(
            [
                np.bincount(rng.integers(0, rows, rows), minlength=rows)
                for _ in range(min(size, resamples - start))
            ],
            dtype=np.float64,
        )


def reliability(chance: Floats, truth: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Predicted probability, share that came true and rows, for each of ten equal bins that is used."""
    places = np.minimum((chance * BINS).astype(int), BINS - 1)
    rows = np.bincount(places, minlength=BINS).astype(float)
    used = rows > 0
    said = np.bincount(places, weights=chance, minlength=BINS)[used] / rows[used]
    true = np.bincount(places, weights=truth, minlength=BINS)[used] / rows[used]
    return said, true, rows[used]


def calibration_error(chance: Floats, truth: NDArray[np.bool_]) -> float:
    """Expected calibration error: the bins' mean distance of what was said from what was so.

    Naeini, Cooper and Hauskrecht, AAAI 2015. No interval: resampling only adds to it.
    """
    said, true, rows = reliability(chance, truth)
    return float(np.average(np.abs(said - true), weights=rows))


def _mean(values: NDArray[np.float64] | NDArray[np.bool_], weights: Floats) -> Floats:
    means: Floats = weights @ values / weights.sum(axis=1)
    return means


def _mean_of_known(values: list[Floats], otherwise: float) -> Floats:
    table = np.array(values)
    known = ~np.isnan(table)
    total = np.where(known, table, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), otherwise)


def _counts(outcome: Outcome, position: int, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """How often a class is rightly answered, answered, and there."""
    answered, true = outcome.labels == position, outcome.target == position
    return weights @ (answered & true), weights @ answered, weights @ true


def _by_score(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Positives and negatives at each distinct score, rising: [resamples, scores]."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered = weights[:, order]
    hits = np.add.reduceat(ordered * positive[order], starts, axis=1)
    return hits, np.add.reduceat(ordered, starts, axis=1) - hits
