"""Whether a challenger becomes champion: a paired bootstrap on the same holdout rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from millrace.bundle import SPLIT, Bundle
from millrace.contract import NUMERIC, Problem, Strict, Task
from millrace.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    PRIMARY,
    Floats,
    Interval,
    Outcome,
    compute_metrics,
    resample,
)
from millrace.splitting import SplitRecord

MIN_SHARED_ROWS = 10
BASELINES: dict[Task, str] = {
    "regression": "the baseline that predicts the mean",
    "binary": "the baseline that predicts each class as often as it occurs",
    "multiclass": "the baseline that predicts each class as often as it occurs",
}


@dataclass(frozen=True)
class Scores:
    """The holdout's encoded target [rows], and the challenger's and the baseline's predictions of it."""

    target: Floats
    challenger: Floats
    baseline: Floats


@dataclass(frozen=True)
class Rule:
    """How sure a comparison must be: resamples, the share of them to win, and their seed."""

    resamples: int
    confidence: float
    seed: int


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


def against_baseline(problem: Problem, scores: Scores, rule: Rule) -> Verdict:
    """The first model's test: is it better than knowing only the target's distribution?"""
    return _judge(problem, scores.target, scores.challenger, scores.baseline, BASELINES[problem.task], rule)


def against_champion(
    problem: Problem, scores: Scores, holdout: pd.DataFrame, champion: Bundle, version: str, rule: Rule
) -> Verdict:
    """Compare on the holdout rows that the champion was not trained on either.

    A challenger whose holdout differs from the champion's shares only some rows; the champion's own
    split record says which. A champion of a split by time knows nothing later than its own training,
    so of a table that has grown the whole holdout counts; the challenger may have learnt later rows.
    """
    name, metric = f"the champion, version {version}", PRIMARY[problem.task]
    theirs = champion.problem
    if (theirs.task, theirs.classes, theirs.target.name) != (
        problem.task,
        problem.classes,
        problem.target.name,
    ):
        reason = (
            f"{name}, predicts another target ({theirs.target.name}, {theirs.task}); a person must decide"
        )
        return Verdict(promote=False, reason=reason, metric=metric)
    missing = sorted(set(theirs.columns) - set(holdout.columns))
    if missing:
        reason = f"{name}, needs the column '{missing[0]}', which this table lacks; a person must decide"
        return Verdict(promote=False, reason=reason, metric=metric)
    for column, was in theirs.columns.items():
        now = problem.columns[column].type
        if now != was.type and not {now, was.type} <= NUMERIC:
            # Its split record hashes the values as it reads them, so it would not know its own rows.
            reason = f"{name}, reads the column '{column}' as {was.type}, not as {now}; a person must decide"
            return Verdict(promote=False, reason=reason, metric=metric)
    unseen = SplitRecord.model_validate(champion.read(SPLIT)).held_out(holdout, theirs)
    if unseen.sum() < MIN_SHARED_ROWS:
        reason = (
            f"only {unseen.sum()} holdout rows are unknown to {name}, too; "
            f"{MIN_SHARED_ROWS} are needed to judge"
        )
        return Verdict(promote=False, reason=reason, metric=metric, rows=int(unseen.sum()))
    rival = champion.fitted.predict(holdout[unseen])
    return _judge(problem, scores.target[unseen], scores.challenger[unseen], rival, name, rule)


def _judge(
    problem: Problem, target: Floats, challenger: Floats, rival: Floats, rival_name: str, rule: Rule
) -> Verdict:
    """Compare two sets of predictions of the same rows by the task's primary metric.

    The challenger wins if it is better in at least `confidence` of the resamples: a one-sided paired
    bootstrap (Efron and Tibshirani, 1993, chapter 16).
    """
    name = PRIMARY[problem.task]
    metric = METRICS[problem.task][name]
    sign = 1.0 if name in LOWER_IS_BETTER else -1.0
    our_outcome, their_outcome = Outcome(problem, target, challenger), Outcome(problem, target, rival)

    def gain(weights: Floats) -> Floats:
        return sign * (metric(their_outcome, weights) - metric(our_outcome, weights))

    gains = np.concatenate([gain(weights) for weights in resample(len(target), rule.resamples, rule.seed)])
    wins = float(np.mean(gains > 0))
    low, high = np.quantile(gains, [(1 - rule.confidence) / 2, (1 + rule.confidence) / 2])
    ours, theirs = compute_metrics(our_outcome)[name], compute_metrics(their_outcome)[name]
    promote = wins >= rule.confidence
    reason = (
        f"{name} {ours:.4f} against {theirs:.4f} of {rival_name} on the same {len(target)} holdout rows: "
        f"better in {wins:.1%} of {rule.resamples} resamples, {'at least' if promote else 'less than'} the "
        f"{rule.confidence * 100:g}% asked for"
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
