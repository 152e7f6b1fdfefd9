"""A blend of the candidates: its weights, and how well it does.

Stacked regressions with weights that are not negative and sum to 1 (Wolpert, Neural Networks 5, 1992;
Breiman, Machine Learning 24, 1996), learnt from predictions for rows that no member was fitted on.
"""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from millrace.contract import Problem
from millrace.metrics import CLIP, PRIMARY, Floats, Outcome, compute_metrics
from millrace.models import CandidateSettings, TrainingRows, background, fit_model
from millrace.models.blend import NAME, BlendModel, Member, mix
from millrace.scales import to_model, to_unit
from millrace.selection import CandidateResult, out_of_fold_table, read_out_of_fold

# Weights are thousandths, which rounding errors do not reach: the same on every machine. A member
# below MIN_PARTS would cost more time in each prediction than it is worth.
PARTS, MIN_PARTS = 1000, 20


def blend(
    results: Sequence[CandidateResult], out_of_folds: Sequence[pd.DataFrame], problem: Problem
) -> tuple[CandidateResult, pd.DataFrame]:
    """The blend of cross-validated candidates as one more of them, with out-of-fold predictions of its own.

    Each fold is predicted with weights learnt from the rows of the other folds; by time from earlier
    folds only, and the first fold with equal weights. The result holds the weights learnt from all rows.
    """
    started = time.perf_counter()
    outcomes = [read_out_of_fold(table, problem) for table in out_of_folds]
    target, predicted = outcomes[0].target, np.stack([outcome.predicted for outcome in outcomes])
    predicted = to_model(predicted, problem.target)
    numbers, rows = (out_of_folds[0][name].to_numpy() for name in ("fold", "row"))
    parts, scores = [], []
    for number in np.unique(numbers):
        now = numbers == number
        known = numbers < number if problem.split.by == "time" else ~np.isin(rows, rows[now])
        weights = learn_weights(target[known], predicted[:, known], problem)
        outcome = Outcome(problem, target[now], to_unit(mix(weights, predicted[:, now]), problem.target))
        scores.append(compute_metrics(outcome))
        parts.append(out_of_fold_table(int(number), rows[now], outcome))
    learnt = learn_weights(target, predicted, problem)
    named = {result.candidate: float(weight) for result, weight in zip(results, learnt, strict=True)}
    result = CandidateResult(
        candidate=NAME,
        metric_name=PRIMARY[problem.task],
        folds=tuple(scores),
        seconds=time.perf_counter() - started,
        weights={name: weight for name, weight in named.items() if weight},
    )
    return result, pd.concat(parts).sort_values("row", ignore_index=True)


def learn_weights(target: Floats, predicted: Floats, problem: Problem) -> Floats:
    """The weights [members] with the least squared error or log loss; equal ones without any row.

    Args:
        target: encoded, in its own unit [rows].
        predicted: what each member predicts for the rows, on the scale that models learn:
            [members, rows] or [members, rows, classes].
        problem: whose task says which loss.
    """
    from scipy.optimize import minimize

    members = len(predicted)
    equal = np.full(members, 1 / members)
    if not len(target):
        return equal
    if problem.task == "regression":
        # As weights sum to 1, the mean's error is the mean of the errors.
        errors = predicted - to_model(target, problem.target)
        products = errors @ errors.T
        products /= np.trace(products) or 1.0

        def loss(weights: Floats) -> tuple[float, Floats]:
            return float(weights @ products @ weights), 2 * products @ weights

    else:
        chances = np.clip(predicted[:, np.arange(len(target)), target.astype(int)], CLIP, 1)

        def loss(weights: Floats) -> tuple[float, Floats]:
            mixed = weights @ chances
            return -float(np.log(mixed).mean()), -(chances / mixed).mean(axis=1)

    found = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return _rounded(found.x)


def fit_blend(
    weights: Mapping[str, float],
    candidates: Mapping[str, CandidateSettings],
    rows: TrainingRows,
    *,
    seed: int,
    threads: int,
) -> BlendModel:
    """Fit the members of a blend on all rows."""
    members = [
        Member(name, weight, fit_model(candidates[name], rows, seed=seed, threads=threads))
        for name, weight in weights.items()
    ]
    return BlendModel(members, rows.task, background.choose(rows.matrix, seed))


def _rounded(weights: Floats) -> Floats:
    parts = np.round(weights / weights.sum() * PARTS)
    parts = np.where(parts < MIN_PARTS, 0, parts)
    parts = np.round(parts / parts.sum() * PARTS)
    parts[parts.argmax()] += PARTS - parts.sum()
    return np.asarray(parts / PARTS, dtype=np.float64)
