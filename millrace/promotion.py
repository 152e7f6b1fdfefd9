"""Whether a challenger becomes champion: by the metric, its worst slice, its latency and its size.

Metric and slice are compared by paired bootstraps on the same holdout rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field

from millrace import slices
from millrace.bundle import SPLIT, Bundle
from millrace.contract import NUMERIC, Problem, Task
from millrace.footprint import Footprint
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
from millrace.strict import Strict

MIN_SHARED_ROWS = 10
BASELINES: dict[Task, str] = {
    "regression": "the baseline that predicts the mean",
    "binary": "the baseline that predicts each class as often as it occurs",
    "multiclass": "the baseline that predicts each class as often as it occurs",
}


class Limits(Strict):
    """What a better metric does not make up for; null is no limit.

    `worst_slice`: how many times the champion's metric the challenger's may be on the challenger's worst
    slice. `latency_ms`: of one row, the median. `size_mb`: of the bundle's files that a prediction needs.
    """

    worst_slice: float | None = Field(None, ge=1, le=1000)
    latency_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    size_mb: float | None = Field(None, gt=0, allow_inf_nan=False)


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


class Criterion(Strict):
    """One line of the comparison; `reason` says in words why it did not hold."""

    name: str
    challenger: float
    rival: float | None
    limit: str
    held: bool
    reason: str = ""


class Verdict(Strict):
    """The outcome of one comparison, with the reason as a sentence and all that was weighed for it."""

    promote: bool
    reason: str
    metric: str
    challenger: float | None = None
    rival: float | None = None
    improvement: Interval | None = None
    rows: int = 0
    criteria: tuple[Criterion, ...] = ()


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
    problem: Problem,
    scores: Scores,
    holdout: pd.DataFrame,
    champion: Bundle,
    version: str,
    rule: Rule,
    worst_slice: float | None = None,
) -> Verdict:
    """Compare on the holdout rows that the champion was not trained on either.

    With `worst_slice` the challenger's worst slice may not be that many times the champion's there.

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
    shared, target, challenger = holdout[unseen], scores.target[unseen], scores.challenger[unseen]
    rival = champion.fitted.predict(shared)
    verdict = _judge(problem, target, challenger, rival, name, rule)
    sides = Outcome(problem, target, challenger), Outcome(problem, target, rival)
    return weigh(verdict, _worst_slice(shared, *sides, worst_slice, rule))


def within_limits(limits: Limits, challenger: Footprint, rival: Footprint | None = None) -> list[Criterion]:
    """Latency and size as criteria; the rival's are there to compare."""
    found = []
    for name, unit, ours, theirs, limit in (
        ("latency", "ms", challenger.latency_ms, rival and rival.latency_ms, limits.latency_ms),
        ("size", "MB", challenger.size_mb, rival and rival.size_mb, limits.size_mb),
    ):
        shown = "none" if limit is None else f"at most {limit:g} {unit}"
        held = limit is None or ours <= limit
        found.append(
            Criterion(
                name=f"{name} ({unit})",
                challenger=ours,
                rival=theirs,
                limit=shown,
                held=held,
                reason="" if held else f"its {name} is {ours:.3g} {unit}, {shown} is allowed",
            )
        )
    return found


def weigh(verdict: Verdict, criteria: Sequence[Criterion]) -> Verdict:
    """A verdict with further criteria, all of which must hold too."""
    failed = [criterion for criterion in criteria if not criterion.held]
    better = verdict.criteria[0].held
    reason = verdict.reason + "".join(f"; but {criterion.reason}" for criterion in failed if better)
    return verdict.model_copy(
        update={
            "promote": verdict.promote and not failed,
            "reason": reason,
            "criteria": (*verdict.criteria, *criteria),
        }
    )


def _worst_slice(
    shared: pd.DataFrame, ours: Outcome, theirs: Outcome, limit: float | None, rule: Rule
) -> list[Criterion]:
    """The challenger's worst slice beside the same rows of the champion's; none where all are too small.

    It has become worse if it is past the limit in at least `confidence` of the paired resamples of the
    slice's rows, so that noise refuses nobody.
    """
    problem = ours.problem
    groups = slices.groups(shared, problem)
    scored = slices.score(ours, groups, resamples=rule.resamples, confidence=rule.confidence, seed=rule.seed)
    worst = slices.worst(scored)
    if worst is None:
        return []
    rows = groups[scored.index(worst)].rows
    name = PRIMARY[problem.task]
    ours, theirs = (
        Outcome(problem, outcome.target[rows], outcome.predicted[rows]) for outcome in (ours, theirs)
    )
    before = compute_metrics(theirs)[name]
    line = Criterion(
        name=f"{name} of its worst slice, {worst.feature} {worst.value} ({worst.rows} rows)",
        challenger=worst.metric,
        rival=before,
        limit="none",
        held=True,
    )
    if limit is None:
        return [line]
    metric = METRICS[problem.task][name]
    past = [
        metric(ours, weights) > limit * metric(theirs, weights)
        for weights in resample(len(rows), rule.resamples, rule.seed)
    ]
    share = float(np.mean(np.concatenate(past)))
    allowed = f"at most {limit:g} times the champion's"
    if share < rule.confidence:
        return [line.model_copy(update={"limit": allowed})]
    reason = (
        f"its worst slice, {worst.feature} {worst.value}, got worse: {name} {worst.metric:.4f} against "
        f"{before:.4f}, past the allowed {limit:g} times that in {share:.1%} of resamples"
    )
    return [line.model_copy(update={"limit": allowed, "held": False, "reason": reason})]


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
        criteria=(
            Criterion(
                name=name,
                challenger=ours,
                rival=theirs,
                limit=f"better in at least {rule.confidence * 100:g}% of resamples",
                held=promote,
            ),
        ),
    )
