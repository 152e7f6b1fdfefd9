"""The holdout, once: metrics with intervals, slices, groups of sensitive columns, baseline."""

import pandas as pd

from millrace import slices
from millrace.decisions import DEFAULT
from millrace.fairness import GroupScore, fairness, gaps
from millrace.intervals import UNKNOWN, Coverage, Intervals, measure
from millrace.metrics import (
    PRIMARY,
    Floats,
    Interval,
    Outcome,
    bootstrap_metrics,
    calibration_error,
    compute_metrics,
)
from millrace.slices import Slice
from millrace.strict import Strict


class ClassScore(Strict):
    """How one class was answered: `rows` is how many there are, `calibration_error` against the rest."""

    name: str
    rows: int
    precision: float
    recall: float
    f1: float
    calibration_error: float


class Evaluation(Strict):
    """A model's results on holdout rows.

    `classes` and a binary problem's `threshold` where there are any; `coverage` is that of its intervals,
    or of its sets of classes; `fairness` by group of the sensitive columns, and how far apart these groups
    are in words.
    """

    metric_name: str
    rows: int
    metrics: dict[str, Interval]
    baseline: dict[str, float]
    slices: tuple[Slice, ...]
    classes: tuple[ClassScore, ...] = ()
    threshold: float | None = None
    coverage: tuple[Coverage, ...] = ()
    fairness: tuple[GroupScore, ...] = ()
    fairness_gaps: tuple[str, ...] = ()

    @property
    def worst(self) -> str:
        """The weakest slice in a sentence."""
        return slices.sentence(self.slices, self.metric_name, self.metrics[self.metric_name].value)


def evaluate(
    holdout: pd.DataFrame,
    outcome: Outcome,
    baseline: Floats,
    intervals: Intervals = UNKNOWN,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> Evaluation:
    """Score the predictions of the holdout's typed rows, and the baseline's.

    The baseline answers as well as it can without a feature: from the threshold on that the costs imply.
    """
    problem = outcome.problem
    plain = problem.costs.threshold if problem.costs else DEFAULT
    groups = slices.groups(holdout, problem)
    scored = slices.score(outcome, groups, resamples=resamples, confidence=confidence, seed=seed)
    of_sensitive = [i for i, group in enumerate(groups) if group.feature in problem.sensitive]
    treated = fairness(outcome, [groups[i] for i in of_sensitive], [scored[i] for i in of_sensitive])
    return Evaluation(
        metric_name=PRIMARY[problem.task],
        rows=len(holdout),
        metrics=bootstrap_metrics(outcome, resamples=resamples, confidence=confidence, seed=seed),
        baseline=compute_metrics(Outcome(problem, outcome.target, baseline, plain)),
        slices=tuple(scored),
        classes=tuple(_class_score(outcome, position) for position in range(len(problem.classes))),
        threshold=outcome.threshold if problem.task == "binary" else None,
        coverage=measure(intervals, outcome, confidence),
        fairness=tuple(treated),
        fairness_gaps=tuple(gaps(treated, problem, PRIMARY[problem.task])),
    )


def _class_score(outcome: Outcome, position: int) -> ClassScore:
    true, answered = outcome.target == position, outcome.labels == position
    right = int((true & answered).sum())
    return ClassScore(
        name=outcome.problem.classes[position],
        rows=int(true.sum()),
        precision=right / max(int(answered.sum()), 1),
        recall=right / max(int(true.sum()), 1),
        f1=2 * right / max(int(answered.sum() + true.sum()), 1),
        calibration_error=calibration_error(outcome.predicted[:, position], true),
    )
