"""Groups of sensitive columns, compared."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from millrace.contract import Task
from millrace.evaluation import Evaluation, evaluate
from millrace.fairness import GroupScore
from millrace.metrics import Outcome
from millrace.promotion import baseline_predictions
from tests.millrace.cases import make_problem

FEATURES = {
    "x": {"type": "number"},
    "who": {"type": "category", "categories": ["a", "b", "c"], "sensitive": True, "input": False},
    "age": {"type": "integer", "sensitive": True},
}
ROWS = 200


def judged(task: Task, target: Any, predicted: Any, threshold: float = 0.5, **columns: Any) -> Evaluation:
    """The evaluation of predictions for rows of two groups, a and b, a hundred each."""
    problem = make_problem(task, features=FEATURES, key=None)
    table = pd.DataFrame({"x": 0.0, "who": ["a"] * 100 + ["b"] * 100, "age": np.arange(200.0)}).assign(
        **columns
    )
    target = np.asarray(target, dtype=float)
    baseline = baseline_predictions(task, target, len(target), len(problem.classes))
    outcome = Outcome(problem, target, np.asarray(predicted, dtype=float), threshold)
    return evaluate(table, outcome, baseline, resamples=100, confidence=0.9, seed=0)


def of(found: Evaluation, feature: str = "who") -> dict[str, GroupScore]:
    return {score.group: score for score in found.fairness if score.feature == feature}


def test_values_have_a_bias_and_quartiles_are_groups() -> None:
    target = np.zeros(ROWS)
    found = judged("regression", target, np.repeat([1.0, -3.0], 100))
    groups = of(found)
    assert {name: score.bias for name, score in groups.items()} == {"a": 1.0, "b": -3.0}
    assert {name: (score.rows, score.metric, score.low, score.high) for name, score in groups.items()} == {
        "a": (100, 1.0, 1.0, 1.0), "b": (100, 3.0, 3.0, 3.0),
    }  # fmt: skip
    assert list(of(found, "age")) == ["0 to 49.75", "49.75 to 99.5", "99.5 to 149.25", "149.25 to 199"]
    assert found.fairness_gaps[0] == (
        "who: rmse 3 for 'b' against 1 for 'a' (3.00 times); "
        "mean prediction less mean truth 1 for 'a' against -3 for 'b' (4 apart)."
    )
    assert len(found.fairness_gaps) == 2


def test_two_classes_have_rates_of_the_positive_one() -> None:
    # Forty of each hundred are positive. All of a is answered right; of b ten are missed, thirty alarmed.
    truth = np.tile(np.arange(100) < 40, 2)
    answered = truth.copy()
    answered[100:110] = False
    answered[170:200] = True
    chance = np.where(answered, 0.9, 0.2)
    found = judged("binary", truth, np.column_stack([1 - chance, chance]))
    a, b = of(found)["a"], of(found)["b"]
    assert (a.answer, a.right, a.selection_rate, a.true_positive_rate, a.false_positive_rate) == (
        "true", 40, 0.4, 1.0, 0.0,
    )  # fmt: skip
    assert (b.selection_rate, b.true_positive_rate, b.false_positive_rate) == (0.6, 0.75, 0.5)
    assert a.bias == pytest.approx(0.4 * 0.9 + 0.6 * 0.2 - 0.4)
    assert "false-positive rate of 'true' 0.5 for 'b' against 0 for 'a' (0.5 apart)" in found.fairness_gaps[0]


def test_the_threshold_decides_on_the_rates() -> None:
    chance = np.full(ROWS, 0.3)
    outcome = np.column_stack([1 - chance, chance])
    truth = np.arange(ROWS) % 2
    assert of(judged("binary", truth, outcome))["a"].selection_rate == 0
    assert of(judged("binary", truth, outcome, threshold=0.3))["a"].selection_rate == 1


def test_several_classes_have_rates_of_each() -> None:
    truth = np.arange(ROWS) % 3
    found = judged("multiclass", truth, np.eye(3)[truth] * 0.94 + 0.02)
    assert [score.answer for score in found.fairness if score.feature == "who"] == [
        "low",
        "middle",
        "high",
    ] * 2
    assert all(score.true_positive_rate == 1 for score in found.fairness)


def test_rates_without_rows_are_unknown_and_small_groups_no_ground_for_a_gap() -> None:
    truth = np.repeat([0.0, 1.0], 100)
    right = np.column_stack([1 - truth, truth]) * 0.8 + 0.1
    found = judged("binary", truth, right)
    a, b = of(found)["a"], of(found)["b"]
    assert (a.true_positive_rate, b.false_positive_rate) == (None, None)
    assert "share answered 'true' 1 for 'b' against 0 for 'a'" in found.fairness_gaps[0]
    few = ["a"] * 190 + ["b"] * 10
    found = judged("binary", truth, right, who=few)
    assert set(of(found)) == {"a", "b"}
    assert found.fairness_gaps[0] == "who: fewer than two groups of at least 20 rows, nothing to compare."


def test_nothing_sensitive_no_table() -> None:
    problem = make_problem(features={"x": {"type": "number"}}, key=None)
    table = pd.DataFrame({"x": np.arange(50.0)})
    outcome = Outcome(problem, np.arange(50.0), np.arange(50.0) + 1)
    found = evaluate(table, outcome, np.zeros(50), resamples=100, confidence=0.9, seed=0)
    assert (found.fairness, found.fairness_gaps) == ((), ())
