"""The holdout, once: metrics with intervals, slices, baseline."""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import NUMERIC, Problem, Strict
from millrace.decisions import DEFAULT
from millrace.metrics import (
    METRICS,
    PRIMARY,
    Floats,
    Interval,
    Outcome,
    bootstrap_metrics,
    calibration_error,
    compute_metrics,
)

MIN_SLICE_ROWS = 5
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Slice(Strict):
    """The primary metric where one feature has one value, or lies in one quarter of its range."""

    feature: str
    value: str
    rows: int
    metric: float


class ClassScore(Strict):
    """How one class was answered: `rows` is how many there are, `calibration_error` against the rest."""

    name: str
    rows: int
    precision: float
    recall: float
    f1: float
    calibration_error: float


class Evaluation(Strict):
    """A model's results on holdout rows; `classes` and a binary problem's `threshold` where there are any."""

    metric_name: str
    rows: int
    metrics: dict[str, Interval]
    baseline: dict[str, float]
    slices: tuple[Slice, ...]
    classes: tuple[ClassScore, ...] = ()
    threshold: float | None = None


def evaluate(
    holdout: pd.DataFrame,
    outcome: Outcome,
    baseline: Floats,
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
    return Evaluation(
        metric_name=PRIMARY[problem.task],
        rows=len(holdout),
        metrics=bootstrap_metrics(outcome, resamples=resamples, confidence=confidence, seed=seed),
        baseline=compute_metrics(Outcome(problem, outcome.target, baseline, plain)),
        slices=tuple(_slices(holdout, outcome)),
        classes=tuple(_class_score(outcome, position) for position in range(len(problem.classes))),
        threshold=outcome.threshold if problem.task == "binary" else None,
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


def _slices(holdout: pd.DataFrame, outcome: Outcome) -> list[Slice]:
    problem = outcome.problem
    metric = METRICS[problem.task][PRIMARY[problem.task]]
    slices = []
    for feature in problem.inputs:
        for value, members in _groups(holdout, feature, problem):
            if members.sum() >= MIN_SLICE_ROWS:
                score = float(metric(outcome, members[None].astype(float))[0])
                slices.append(Slice(feature=feature, value=value, rows=int(members.sum()), metric=score))
    return slices


def _groups(holdout: pd.DataFrame, feature: str, problem: Problem) -> list[tuple[str, NDArray[np.bool_]]]:
    values = holdout[feature]
    column = problem.features[feature]
    if column.type not in NUMERIC and column.type != "datetime":
        shown = values.astype(str).where(values.notna(), "missing")
        return [(str(value), (shown == value).to_numpy()) for value in sorted(shown.unique())]
    groups = [("missing", values.isna().to_numpy())]
    known = values.dropna()
    edges = list(dict.fromkeys(known.quantile(list(QUARTILES)))) if len(known) else []
    for low, high in pairwise(edges):
        first = low == edges[0]
        members = values.between(low, high, inclusive="both" if first else "right").to_numpy()
        form = ",.5g" if column.type in NUMERIC else "%Y-%m-%d"
        groups.append((f"{low:{form}} to {high:{form}}", members))
    return groups
