"""The blend: sound weights, an honest entry, and chosen only where it is surely better."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Problem, Task
from millrace.metrics import PRIMARY, Floats, Outcome, compute_metrics
from millrace.models import CandidateSettings
from millrace.models.blend import NAME
from millrace.scales import to_model
from millrace.selection import (
    CandidateResult,
    cross_validate,
    make_folds,
    out_of_fold_table,
    read_out_of_fold,
)
from millrace.stacking import blend, fit_blend, learn_weights
from tests.millrace.cases import TARGETS, TASKS, Case, make_case, make_problem, settings

FOLDS = 5
Validated = tuple[list[CandidateResult], list[pd.DataFrame]]


def candidate(name: str, predicted: Floats, target: Floats, problem: Problem) -> tuple[Any, pd.DataFrame]:
    """A candidate with given out-of-fold predictions: every fifth row is in the same fold."""
    fold_of = np.arange(len(target)) % FOLDS
    parts, scores = [], []
    for number in range(FOLDS):
        rows = np.flatnonzero(fold_of == number)
        outcome = Outcome(problem, target[rows], predicted[rows])
        parts.append(out_of_fold_table(number, rows, outcome))
        scores.append(compute_metrics(outcome))
    result = CandidateResult(
        candidate=name, metric_name=PRIMARY[problem.task], folds=tuple(scores), seconds=1
    )
    return result, pd.concat(parts).sort_values("row", ignore_index=True)


def validated(members: dict[str, Floats], target: Floats, problem: Problem) -> Validated:
    """Several candidates with given out-of-fold predictions."""
    pairs = [candidate(name, predicted, target, problem) for name, predicted in members.items()]
    return [result for result, _ in pairs], [table for _, table in pairs]


def noisy(task: Task, errors: dict[str, float], rows: int = 2000, seed: int = 0) -> tuple[Validated, Problem]:
    """Members whose errors are independent, of given sizes."""
    rng, problem = np.random.default_rng(seed), make_problem(task)
    if task == "regression":
        target = rng.normal(size=rows)
        members = {name: target + rng.normal(scale=size, size=rows) for name, size in errors.items()}
        return validated(members, target, problem), problem
    logits = rng.normal(scale=2, size=(rows, len(problem.classes)))
    chances = softmax(logits)
    target = np.array([rng.choice(len(row), p=row) for row in chances], dtype=np.float64)
    members = {
        name: softmax(logits + rng.normal(scale=size, size=logits.shape)) for name, size in errors.items()
    }
    return validated(members, target, problem), problem


def softmax(logits: Floats) -> Floats:
    """Probabilities [rows, classes]."""
    powers = np.exp(logits)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("task", TASKS)
def test_members_with_independent_errors_are_better_together(task: Task) -> None:
    (results, tables), problem = noisy(task, {"a": 1.0, "b": 1.0, "wild": 6.0})
    blended, table = blend(results, tables, problem)
    assert blended.candidate == NAME
    assert blended.metric < 0.95 * min(result.metric for result in results)
    assert sum(blended.weights.values()) == pytest.approx(1, abs=1e-12)
    assert blended.weights["a"] == pytest.approx(blended.weights["b"], abs=0.1)
    assert blended.weights.get("wild", 0) < 0.1
    for number, scores in enumerate(blended.folds):
        assert compute_metrics(read_out_of_fold(table[table["fold"] == number], problem)) == scores


@given(st.sampled_from(TASKS), st.lists(st.floats(0.1, 5), min_size=2, max_size=4), st.integers(0, 99))
def test_weights_are_no_worse_than_any_member_on_the_rows_they_learn(
    task: Task, sizes: list[float], seed: int
) -> None:
    errors = {f"m{position}": size for position, size in enumerate(sizes)}
    (_, tables), problem = noisy(task, errors, rows=60, seed=seed)
    predicted = np.stack([read_out_of_fold(table, problem).predicted for table in tables])
    target = tables[0]["target"].to_numpy()
    weights = learn_weights(target, predicted, problem)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert not ((weights > 0) & (weights < 0.02)).any()

    def score(values: Floats) -> float:
        return compute_metrics(Outcome(problem, target, values))[PRIMARY[task]]

    best = min(score(member) for member in predicted)
    # Weights are thousandths and small ones are dropped, for which the slack stands.
    assert score(np.tensordot(weights, predicted, axes=1)) <= 1.02 * best + 1e-9


def test_least_squares_weights_are_those_of_the_formula() -> None:
    (_, tables), problem = noisy("regression", {"a": 1.0, "b": 2.0})
    predicted = np.stack([read_out_of_fold(table, problem).predicted for table in tables])
    target = tables[0]["target"].to_numpy()
    first, second = predicted - target
    # Bates and Granger, 1969: the least variance of a combination of two.
    share = (second @ second - first @ second) / (first @ first + second @ second - 2 * first @ second)
    np.testing.assert_allclose(learn_weights(target, predicted, problem), [share, 1 - share], atol=6e-4)


@pytest.mark.parametrize("by", ["rows", "time"])
def test_no_fold_teaches_the_weights_it_is_scored_with(by: str) -> None:
    split = {"by": "time", "column": "floor"} if by == "time" else {}
    (results, tables), _ = noisy("regression", {"a": 1.0, "b": 1.5})
    problem = make_problem(split=split)
    for number in range(FOLDS):
        changed = [table.copy() for table in tables]
        for table in changed:
            own = table["fold"] >= number if by == "time" else table["fold"] == number
            # Were the fold known, b would be perfect.
            table.loc[own, "target"] = tables[1].loc[own, "prediction_0"]
        (_, was), (_, now) = blend(results, tables, problem), blend(results, changed, problem)
        own = was["fold"] == number
        np.testing.assert_array_equal(was.loc[own, "prediction_0"], now.loc[own, "prediction_0"])


def test_by_time_the_first_fold_has_equal_weights() -> None:
    (results, tables), _ = noisy("regression", {"a": 1.0, "b": 9.0})
    problem = make_problem(split={"by": "time", "column": "floor"})
    _, table = blend(results, tables, problem)
    first = table["fold"] == 0
    expected = (tables[0].loc[first, "prediction_0"] + tables[1].loc[first, "prediction_0"]) / 2
    np.testing.assert_allclose(table.loc[first, "prediction_0"], expected)


def test_a_logarithm_is_blended_as_a_logarithm() -> None:
    target = TARGETS["regression"] | {"range": [0, None], "transform": "log"}
    problem, rng = make_problem(target=target), np.random.default_rng(0)
    true = rng.normal(5, 1, 1000)
    members = {name: np.expm1(true + rng.normal(scale=0.5, size=1000)) for name in "ab"}
    results, tables = validated(members, np.expm1(true), problem)
    blended, table = blend(results, tables, problem)
    learnt = np.stack([np.log1p(values) for values in members.values()])
    weights = learn_weights(np.expm1(true), learnt, problem)
    assert blended.weights == dict(zip("ab", weights, strict=True))
    between = to_model(table["prediction_0"].to_numpy(), problem.target)
    assert ((between >= learnt.min(axis=0) - 1e-9) & (between <= learnt.max(axis=0) + 1e-9)).all()
    assert np.std(between - true) < 0.8 * 0.5


def test_a_perfect_member_and_equal_members_have_weights() -> None:
    (results, tables), problem = noisy("regression", {"a": 0.0, "b": 1.0})
    assert blend(results, tables, problem)[0].weights == {"a": 1.0}
    (results, tables), problem = noisy("binary", {"a": 1.0})
    same, _ = blend([*results, *results], [*tables, *tables], problem)
    assert same.metric == pytest.approx(results[0].metric)


def test_the_fitted_blend_is_the_weighted_mean_of_its_members(case: Case) -> None:
    candidates: dict[str, CandidateSettings] = {
        "one": settings("linear"),
        "two": settings("lightgbm"),
        "out": settings("linear"),
    }
    fitted = fit_blend({"two": 0.75, "one": 0.25}, candidates, case.rows, seed=0, threads=1)
    assert [member.name for member in fitted.members] == ["one", "two"]
    one, two = (member.model.predict(case.rows.matrix) for member in fitted.members)
    np.testing.assert_allclose(fitted.predict(case.rows.matrix), 0.25 * one + 0.75 * two)


def test_real_candidates_are_blended() -> None:
    case = make_case("multiclass")
    folds = make_folds(case.table, case.problem, 3, seed=0)
    pairs = [
        cross_validate(kind, settings(kind, 20), case.rows, folds, seed=0, threads=1)
        for kind in ("linear", "hist_boosting")
    ]
    results, tables = [list(part) for part in zip(*pairs, strict=True)]
    blended, table = blend(results, tables, case.problem)
    assert blended.metric < 1.02 * min(result.metric for result in results)
    assert table["row"].tolist() == list(range(240))
    np.testing.assert_allclose(table.filter(like="prediction_").sum(axis=1), 1)
