"""The holdout, once: metrics with intervals, slices, baseline."""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import NUMERIC, Problem, Strict
from millrace.metrics import PRIMARY, Floats, Interval, bootstrap_metrics, compute_metrics

MIN_SLICE_ROWS = 5
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Slice(Strict):
    """The primary metric where one feature has one value, or lies in one quarter of its range."""

    feature: str
    value: str
    rows: int
    metric: float


class Evaluation(Strict):
    """A model's results on holdout rows."""

    metric_name: str
    rows: int
    metrics: dict[str, Interval]
    baseline: dict[str, float]
    slices: tuple[Slice, ...]


def evaluate(
    holdout: pd.DataFrame,
    target: Floats,
    predicted: Floats,
    baseline: Floats,
    problem: Problem,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> Evaluation:
    """Score predictions, and the baseline's, of the holdout's typed rows and encoded target."""
    return Evaluation(
        metric_name=PRIMARY[problem.task],
        rows=len(holdout),
        metrics=bootstrap_metrics(
            problem.task, target, predicted, resamples=resamples, confidence=confidence, seed=seed
        ),
        baseline=compute_metrics(problem.task, target, baseline),
        slices=tuple(_slices(holdout, target, predicted, problem)),
    )


def _slices(holdout: pd.DataFrame, target: Floats, predicted: Floats, problem: Problem) -> list[Slice]:
    name = PRIMARY[problem.task]
    slices = []
    for feature in problem.inputs:
        for value, members in _groups(holdout, feature, problem):
            if members.sum() >= MIN_SLICE_ROWS:
                metric = compute_metrics(problem.task, target[members], predicted[members])[name]
                slices.append(Slice(feature=feature, value=value, rows=int(members.sum()), metric=metric))
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
