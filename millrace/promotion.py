"""Whether a challenger becomes champion: a paired bootstrap on the same holdout rows."""

import numpy as np

from millrace.contract import Strict, Task
from millrace.metrics import LOWER_IS_BETTER, METRICS, PRIMARY, Floats, Interval, resample

MIN_SHARED_ROWS = 10
BASELINES: dict[Task, str] = {
    "regression": "the baseline that predicts the mean",
    "binary": "the baseline that predicts each class as often as it occurs",
    "multiclass": "the baseline that predicts each class as often as it occurs",
}


class Verdict(Strict):
    """The outcome of one comparison, with the reason as a sentence."""

    promote: bool
    reason: str
    metric: str
    challenger: float | None = None
    rival: float | None = None
    improvement: Interval | None = None
    rows: int = 0


def baseline_predictions(task: Task, training_target: Floats, rows: int, classes: int) -> Floats:
    """What a model that has seen only the target predicts: the mean, or the class shares."""
    if task == "regression":
        return np.full(rows, training_target.mean())
    shares = np.bincount(training_target.astype(int), minlength=classes) / len(training_target)
    return np.tile(shares, (rows, 1))


def judge(
    task: Task,
    target: Floats,
    challenger: Floats,
    rival: Floats,
    rival_name: str,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> Verdict:
    """Compare two sets of predictions of the same rows by the task's primary metric.

    The challenger wins if it is better in at least `confidence` of the resamples: a one-sided paired
    bootstrap (Efron and Tibshirani, 1993, chapter 16).
    """
    name = PRIMARY[task]
    if len(target) < MIN_SHARED_ROWS and rival_name not in BASELINES.values():
        reason = (
            f"only {len(target)} holdout rows are unknown to both it and {rival_name}, "
            f"too few to judge ({MIN_SHARED_ROWS} needed)"
        )
        return Verdict(promote=False, reason=reason, metric=name, rows=len(target))
    metric = METRICS[task][name]
    sign = 1.0 if name in LOWER_IS_BETTER else -1.0

    gains = np.array(
        [
            sign * (metric(target[rows], rival[rows]) - metric(target[rows], challenger[rows]))
            for rows in resample(len(target), resamples, seed)
        ]
    )
    wins = float(np.mean(gains > 0))
    low, high = np.quantile(gains, [(1 - confidence) / 2, (1 + confidence) / 2])
    ours, theirs = metric(target, challenger), metric(target, rival)
    promote = wins >= confidence
    reason = (
        f"{name} {ours:.4f} against {theirs:.4f} of {rival_name} on the same {len(target)} holdout rows: "
        f"better in {wins:.1%} of {resamples} resamples, {'at least' if promote else 'less than'} the "
        f"{confidence:.0%} asked for"
    )
    return Verdict(
        promote=promote,
        reason=reason,
        metric=name,
        challenger=ours,
        rival=theirs,
        improvement=Interval(value=sign * (theirs - ours), low=float(low), high=float(high)),
        rows=len(target),
    )
