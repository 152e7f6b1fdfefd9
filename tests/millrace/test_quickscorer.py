"""Compiled trees answer with LightGBM's very bits, whatever the trees and the rows are like."""

from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.bundle import FittedModel
from millrace.contract import Task
from millrace.models.base import TreeModel
from millrace.quickscorer import BLOCK, MOST_LEAVES, QuickScorer
from millrace.scoring import Scorer
from tests.millrace.cases import TASKS, make_case, make_fitted
from tests.millrace.test_scoring import ROWS, TREES

CATEGORIES = 70
CLASSES = {"regression": 1, "binary": 1, "multiclass": 3}


@cache
def booster(objective: str, leaves: int, **more: Any) -> "lightgbm.Booster":
    """Trees of numbers with and without gaps, and of a category of many values."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3_000, 4))
    table[:, 2] = rng.integers(0, CATEGORIES, 3_000)
    table[rng.random(3_000) < 0.2, 1] = np.nan
    table[rng.random(3_000) < 0.1, 2] = np.nan
    score = table[:, 0] + np.nan_to_num(table[:, 1]) ** 2 + np.sin(np.nan_to_num(table[:, 2])) - table[:, 3]
    edges = {"binary": [0], "multiclass": [0, 2]}.get(objective)
    target = score if edges is None else np.digitize(score, edges)
    parameters = {"objective": objective, "num_leaves": leaves, "min_child_samples": 2, "verbosity": -1}
    parameters |= {"num_class": 3} if objective == "multiclass" else {}
    data = lightgbm.Dataset(table, target, categorical_feature=[2])
    return lightgbm.train(parameters | {"num_threads": 1} | more, data, 12)


def told(trees: "lightgbm.Booster", rows: np.ndarray) -> np.ndarray:
    answers = np.asarray(trees.predict(rows, num_threads=1))
    return answers.reshape(len(rows), -1)


VALUES = st.one_of(
    st.floats(-4, 4), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e300, 5e-324])
)
CODES = st.one_of(st.integers(-3, CATEGORIES + 100), st.sampled_from([np.nan, 2.7, -0.5]))


@pytest.mark.parametrize("leaves", [2, 64, 65, MOST_LEAVES])
@pytest.mark.parametrize("objective", TASKS)
@settings(max_examples=15)
@given(rows=st.lists(st.tuples(VALUES, VALUES, CODES, VALUES), min_size=1, max_size=5))
def test_any_row_has_the_same_bits(objective: str, leaves: int, rows: list[tuple[float]]) -> None:
    trees = booster(objective, leaves)
    scorer = QuickScorer.of(trees)
    assert scorer is not None
    asked = np.array(rows, dtype=np.float64)
    assert scorer(asked).tobytes() == told(trees, asked).tobytes()


@pytest.mark.parametrize("rows", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize("objective", TASKS)
def test_any_number_of_rows_is_answered(objective: str, rows: int) -> None:
    trees = booster(objective, 31)
    scorer = QuickScorer.of(trees)
    assert scorer is not None
    asked = np.random.default_rng(1).normal(size=(rows, 4))
    expected = told(trees, asked) if rows else np.empty((0, CLASSES[objective]))
    assert scorer(asked).tobytes() == expected.tobytes()
    assert scorer(np.asfortranarray(asked)).tobytes() == expected.tobytes()


def test_a_row_on_a_split_goes_where_lightgbm_sends_it() -> None:
    trees = booster("regression", 31)
    nodes = trees.trees_to_dataframe()
    limits = nodes.loc[nodes["decision_type"] == "<=", "threshold"].astype(float).to_numpy()
    values = np.concatenate([limits, np.nextafter(limits, np.inf), np.nextafter(limits, -np.inf)])
    asked = np.column_stack([values, values, np.zeros(len(values)), values])
    scorer = QuickScorer.of(trees)
    assert scorer is not None
    assert scorer(asked).tobytes() == told(trees, asked).tobytes()


@pytest.mark.parametrize(
    "more",
    [
        {"zero_as_missing": True},
        {"linear_tree": True},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"reg_sqrt": True},
        {"num_leaves": MOST_LEAVES + 1},
    ],
    ids=lambda more: next(iter(more)),
)
def test_trees_of_another_kind_are_left_to_lightgbm(more: dict[str, Any]) -> None:
    assert QuickScorer.of(booster("huber", 31)) is None
    trees = booster("regression", 31, **more)
    if "num_leaves" in more:
        assert max(tree["num_leaves"] for tree in trees.dump_model()["tree_info"]) > MOST_LEAVES
    assert QuickScorer.of(trees) is None


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", TREES)
@given(rows=st.lists(ROWS, min_size=2, max_size=4))
def test_a_scorer_whose_trees_are_compiled_answers_as_before(
    task: Task, kind: str, rows: list[tuple[float]]
) -> None:
    plain, compiled = scorers(task, kind)
    inputs = np.array(rows, dtype=np.float64)
    assert compiled.predict(inputs).tobytes() == plain.predict(inputs).tobytes()


@cache
def scorers(task: Task, kind: str) -> tuple[Scorer, Scorer]:
    plain, compiled = Scorer(make_fitted(task, kind)), Scorer(make_fitted(task, kind))
    assert compiled.compile(make_case(task).rows.inputs)
    return plain, compiled


def test_a_model_without_trees_has_nothing_to_compile() -> None:
    assert not Scorer(make_fitted("regression", "linear")).compile(make_case("regression").rows.inputs)


def test_trees_whose_answers_differ_stay_lightgbm_s(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = make_fitted("regression", "lightgbm")
    assert isinstance(fitted.model, TreeModel)
    inputs = make_case("regression").rows.inputs
    expected = Scorer(fitted).predict(inputs)
    right = QuickScorer.__call__
    monkeypatch.setattr(QuickScorer, "__call__", lambda self, rows: np.nextafter(right(self, rows), np.inf))
    scorer = Scorer(FittedModel(fitted.problem, fitted.state, fitted.model))
    assert not scorer.compile(inputs)
    assert scorer.predict(inputs).tobytes() == expected.tobytes()
