"""The quick way to an answer is the model's own: for every kind, task, row and thread."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import FittedModel
from millrace.contract import Task
from millrace.explanation import explain
from millrace.metrics import Floats
from millrace.models import TrainingRows
from millrace.models.blend import BlendModel
from millrace.models.boosting import LightGBMModel
from millrace.scoring import Scorer, _Trees
from millrace.stacking import fit_blend
from millrace.transforms import Matrix
from tests.millrace.cases import KINDS, TARGETS, TASKS, fit, make_fitted, make_problem, make_table, settings
from tests.millrace.test_transforms import EVERY

TREES = ("random_forest", "hist_boosting", "lightgbm")


@cache
def scorer_of(task: Task, kind: str, transforms: bool = False) -> Scorer:
    """The scorer of a small model, once; with a transform of every kind if asked."""
    if not transforms:
        return Scorer(make_fitted(task, kind))
    rows = TrainingRows.of(make_table(task), make_problem(task, transforms=EVERY))
    return Scorer(FittedModel(rows.problem, rows.state, fit(kind, rows)))


def own(scorer: Scorer, inputs: Matrix) -> Floats:
    """What the model itself predicts."""
    return scorer.fitted.predict_matrix(scorer.fitted.state.expand(inputs))


def agree(scorer: Scorer, inputs: Matrix) -> None:
    """All rows at once, and each by itself."""
    expected = own(scorer, inputs)
    several = scorer.predict(inputs)
    single = np.concatenate([scorer.predict(row[None]) for row in inputs])
    if scorer.fitted.model.kind == "lightgbm":
        assert several.tobytes() == single.tobytes() == expected.tobytes()
    scale = float(np.abs(expected).max())
    for found in (several, single):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale)


NUMBERS = st.one_of(st.none(), st.floats(-50, 50), st.sampled_from([0.0, 1e6, -1e39]))
SECONDS = st.none() | st.integers(-5 * 10**9, 5 * 10**9)
CODES = st.sampled_from([None, 0, 1, 2, 7])
ROWS = st.tuples(NUMBERS, st.integers(-9, 99), CODES, st.sampled_from([None, 0, 1]), SECONDS)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(ROWS, min_size=1, max_size=4))
def test_the_quick_answer_is_the_models_own(task: Task, kind: str, rows: list[tuple[float]]) -> None:
    agree(scorer_of(task, kind), np.array(rows, dtype=np.float64))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", TREES)
@given(rows=st.lists(ROWS.filter(lambda row: row[2] != 7), min_size=1, max_size=4))
def test_so_it_is_with_transforms(task: Task, kind: str, rows: list[tuple[float]]) -> None:
    agree(scorer_of(task, kind, True), np.array(rows, dtype=np.float64))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", TREES)
def test_trees_are_never_asked_the_slow_way(task: Task, kind: str) -> None:
    assert isinstance(scorer_of(task, kind)._answer, _Trees)


def test_a_row_on_a_split_goes_where_the_model_sends_it() -> None:
    """Right on every threshold, and a step of either precision to both sides."""
    for kind in TREES:
        scorer = scorer_of("regression", kind)
        assert isinstance(scorer._answer, _Trees)
        nodes = scorer._answer._booster.trees_to_dataframe()
        nodes = nodes[(nodes["decision_type"] == "<=") & (nodes["split_feature"].isin(["f0", "f1"]))]
        thresholds = nodes["threshold"].astype(float).to_numpy()
        steps = [
            thresholds,
            np.nextafter(thresholds, np.inf),
            np.nextafter(thresholds, -np.inf),
            np.nextafter(thresholds.astype(np.float32), np.float32(np.inf)).astype(np.float64),
            np.nextafter(thresholds.astype(np.float32), np.float32(-np.inf)).astype(np.float64),
        ]
        values = np.concatenate(steps)
        blank = np.full(len(values), 0.0)
        agree(scorer, np.column_stack([values, values, blank, blank, blank]))


def test_categories_past_a_word_and_unseen_ones_go_the_models_way() -> None:
    names = [f"kind {code}" for code in range(90)]
    column = {"type": "category", "categories": names, "nullable": True}
    features = {
        "kind": column,
        "size": {"type": "number", "nullable": True},
        "other": {**column, "categories": names[:3]},
    }
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(0, 90, 2), 20))
    table = pd.DataFrame(
        {
            "kind": np.where(rng.random(900) < 0.1, None, np.array(names, dtype=object)[codes]),
            "size": rng.normal(size=900),
            "other": np.array(names, dtype=object)[rng.integers(0, 3, 900)],
            "y": np.sin(codes) + rng.normal(scale=0.1, size=900),
        }
    )
    rows = TrainingRows.of(table, make_problem(features=features, key=None))
    assert rows.state.categorical == [0, 2]
    probes = np.array([(code, 0.3, other) for code in (*range(90), np.nan) for other in (0, 1, 2, np.nan)])
    for kind in TREES:
        agree(Scorer(FittedModel(rows.problem, rows.state, fit(kind, rows, size=20))), probes)


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_of_what_training_tries_is_quick_and_the_same(task: Task) -> None:
    case = make_fitted(task, "linear")
    rows = TrainingRows.of(make_table(task), case.problem)
    candidates = {kind: settings(kind) for kind in ("linear", *TREES)}
    weights = dict(zip(candidates, (0.1, 0.2, 0.3, 0.4), strict=True))
    model = fit_blend(weights, candidates, rows, seed=0, threads=1)
    agree(Scorer(FittedModel(rows.problem, rows.state, model)), rows.inputs[:50])


def test_a_logarithm_is_answered_in_the_targets_unit() -> None:
    target = TARGETS["regression"] | {"range": [0, None], "transform": "log"}
    table = make_table().assign(y=lambda table: np.exp(table["y"]))
    rows = TrainingRows.of(table, make_problem(target=target))
    scorer = Scorer(FittedModel(rows.problem, rows.state, fit("lightgbm", rows)))
    agree(scorer, rows.inputs[:50])
    assert scorer.predict(rows.inputs).max() > rows.learnt.max()


def test_threads_do_not_meet() -> None:
    """Each thread asks one row after the other, while others ask the same scorer for other rows."""
    scorer = scorer_of("regression", "lightgbm", True)
    inputs = np.tile(TrainingRows.of(make_table(), scorer.fitted.problem).inputs, (5, 1))
    expected = own(scorer, inputs)

    def ask(rows: np.ndarray) -> list[tuple[int, float]]:
        return [(row, float(scorer.predict(inputs[[row]])[0])) for row in rows]

    order = np.random.default_rng(0).permutation(len(inputs))
    with ThreadPoolExecutor(8) as pool:
        for part in pool.map(ask, np.array_split(order, 16)):
            for row, value in part:
                assert value == expected[row]


def test_trees_that_answer_otherwise_are_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    class Bent(LightGBMModel):
        def predict(self, matrix: Matrix) -> Floats:
            return super().predict(matrix) * (1 + 1e-9)

    fitted = make_fitted("regression", "lightgbm")
    assert isinstance(fitted.model, LightGBMModel)
    bent = replace(fitted, model=Bent(fitted.model.booster, "regression"))
    with caplog.at_level(logging.WARNING):
        scorer = Scorer(bent)
    assert "answers otherwise than its trees do" in caplog.text
    inputs = TrainingRows.of(make_table(), fitted.problem).inputs
    assert scorer.predict(inputs[:1]).tobytes() == own(scorer, inputs[:1]).tobytes()
    assert scorer.predict(inputs).tobytes() == own(scorer, inputs).tobytes()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_explanations_are_those_of_the_model_and_add_up(task: Task, kind: str) -> None:
    scorer = scorer_of(task, kind)
    inputs = TrainingRows.of(make_table(task), scorer.fitted.problem).inputs[:3]
    found, expected = scorer.explain(inputs), explain(scorer.fitted, scorer.fitted.state.expand(inputs))
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.base, expected.base)
    if task == "regression":
        np.testing.assert_allclose(found.predicted[:, 0], scorer.predict(inputs), rtol=1e-9)


def test_boosters_are_made_once() -> None:
    fitted = make_fitted("regression", "blend")
    assert isinstance(fitted.model, BlendModel)
    Scorer(fitted)
    for member in fitted.model.members:
        if member.model.kind in TREES:
            assert member.model.trees is member.model.trees  # type: ignore[attr-defined]
