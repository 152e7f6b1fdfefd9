"""Contributions: they add up to the prediction on the named scale, for every kind of model and task."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from millrace import explanation
from millrace.bundle import FittedModel
from millrace.contract import Task
from millrace.explanation import FOREST_ROWS, SAMPLED_ROWS, Contributions, explain, scale
from millrace.metrics import Floats
from millrace.models.forest import RandomForestModel, readable
from millrace.models.hist_boosting import HistBoostingModel
from millrace.models.linear import LinearModel, LinearSettings, fit_pipeline
from millrace.transforms import Matrix
from tests.millrace.cases import (
    KINDS,
    TARGETS,
    TASKS,
    Case,
    fit,
    make_case,
    make_fitted,
    make_problem,
    make_table,
)


def predictions(found: Contributions, task: Task) -> Floats:
    """What the contributions say that the model predicts: values, or probabilities [rows, classes]."""
    told = found.predicted
    if task == "regression":
        return told[:, 0]
    if "log-odds" in found.scale:
        told = expit(told) if task == "binary" else softmax(told, axis=1)
    return np.hstack([1 - told, told]) if task == "binary" else told


def agree(found: Contributions, fitted: FittedModel) -> None:
    """Base and contributions add up to the prediction."""
    expected = fitted.model.predict(found.matrix)
    np.testing.assert_allclose(predictions(found, fitted.problem.task), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [slice(0, 20), slice(3, 4)], ids=["many rows", "one row"])
def test_contributions_and_base_add_up_to_the_prediction(
    case: Case, fitted: FittedModel, rows: slice
) -> None:
    matrix = case.rows.matrix[rows]
    found = explain(fitted, matrix)
    outputs = 3 if case.problem.task == "multiclass" else 1
    assert found.values.shape == (len(matrix), 5, outputs)
    assert found.base.shape == (outputs,)
    agree(found, fitted)


NUMBERS = st.one_of(st.none(), st.floats(-50, 50), st.sampled_from([0.0, 1e6]))
ROWS = st.tuples(
    NUMBERS, st.integers(-9, 9), st.sampled_from([None, 0, 1, 2, 7]), st.sampled_from([None, 0, 1]), NUMBERS
)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(ROWS, min_size=1, max_size=3))
def test_whatever_the_rows_contributions_add_up(task: Task, kind: str, rows: list[tuple[float]]) -> None:
    fitted = make_fitted(task, kind)
    agree(explain(fitted, np.array(rows, dtype=np.float64)), fitted)


@pytest.mark.parametrize("kind", ["random_forest", "hist_boosting", "lightgbm", "network"])
def test_values_past_single_precision_are_explained(case: Case, kind: str) -> None:
    fitted, matrix = make_fitted(case.problem.task, kind), case.rows.matrix[:3].copy()
    matrix[1, 1] = 1e39
    agree(explain(fitted, matrix), fitted)


def test_one_row_is_explained_as_in_the_batch(case: Case, fitted: FittedModel) -> None:
    batch = explain(fitted, case.rows.matrix[:6])
    for row in range(6):
        single = explain(fitted, case.rows.matrix[row : row + 1])
        np.testing.assert_allclose(single.values[0], batch.values[row], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(single.base, batch.base, rtol=1e-12)


def test_the_features_that_made_the_target_matter_most(case: Case, fitted: FittedModel) -> None:
    ranked = [item.feature for item in explain(fitted, case.rows.matrix).importance]
    assert ranked[0] == "size"
    assert sorted(ranked) == sorted(case.state.names)


def test_a_linear_model_is_explained_as_by_shap_from_the_training_rows(case: Case) -> None:
    import shap

    fitted, matrix = make_fitted(case.problem.task, "linear"), case.rows.matrix
    assert isinstance(fitted.model, LinearModel)
    pipeline = fit_pipeline(LinearSettings(), case.rows)
    scaled = pipeline[0].transform(case.state.dense(matrix))
    theirs = shap.LinearExplainer(pipeline[1], shap.maskers.Independent(scaled, len(scaled)))
    found = explain(fitted, matrix[:9])
    np.testing.assert_allclose(found.base, np.atleast_1d(theirs.expected_value))
    values = np.asarray(theirs.shap_values(scaled[:9])).reshape(9, scaled.shape[1], -1)
    numbers = len(case.state.filled)
    # A number without gaps is one column of the dense matrix and of no other.
    np.testing.assert_allclose(found.values[:, 1], values[:, 1], atol=1e-12)
    assert case.state.dense_sources[:numbers] == case.state.filled


def test_a_forest_is_explained_as_by_shap(case: Case) -> None:
    import shap

    fitted, matrix = make_fitted(case.problem.task, "random_forest"), case.rows.matrix[:9]
    assert isinstance(fitted.model, RandomForestModel)
    dense = readable(matrix, case.state)
    explainer = shap.TreeExplainer(fitted.model.estimator)
    theirs = np.asarray(explainer.shap_values(dense)).reshape(*dense.shape, -1)
    found = explain(fitted, matrix)
    theirs = theirs[:, :, -len(found.outputs) :]
    for feature in range(5):
        columns = [i for i, source in enumerate(case.state.dense_sources) if source == feature]
        np.testing.assert_allclose(found.values[:, feature], theirs[:, columns].sum(axis=1), atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_histogram_boosting_without_categories_is_explained_as_by_shap(task: Task) -> None:
    import shap

    features = {name: {"type": "number", "nullable": True} for name in ("size", "floor")}
    table = make_table(task)
    case = make_case(task)
    rows = replace(case.rows, problem=make_problem(task, features=features, key=None))
    rows = replace(rows, state=explanation.FeatureState(inputs=case.state.inputs[:2]))
    rows = replace(rows, matrix=case.rows.matrix[:, :2])
    model = fit("hist_boosting", rows)
    assert isinstance(model, HistBoostingModel)
    found = explain(FittedModel(rows.problem, rows.state, model), rows.matrix[:9])
    theirs = shap.TreeExplainer(model.estimator)
    values = np.asarray(theirs.shap_values(rows.matrix[:9])).reshape(9, 2, -1)
    np.testing.assert_allclose(found.values, values, atol=1e-9)
    np.testing.assert_allclose(found.base, np.ravel(theirs.expected_value), atol=1e-9)
    assert len(table) == len(rows.matrix)


@pytest.mark.parametrize("task", TASKS)
def test_splits_by_category_belong_to_their_column(task: Task) -> None:
    kinds = np.resize(np.array(["flat", "house", "boat", None], dtype=object), 400)
    table = make_table(task, rows=400).assign(kind=kinds)
    houses = kinds == "house"
    targets: dict[Task, object] = {
        "regression": houses.astype(float),
        "binary": pd.array(houses, dtype="boolean"),
        "multiclass": np.where(houses, "low", np.where(kinds == "boat", "middle", "high")).astype(object),
    }
    case = make_case(task)
    matrix = case.state.transform(table)
    target = explanation_target(table.assign(y=targets[task]), task)
    rows = replace(case.rows, matrix=matrix, target=target)
    model = fit("hist_boosting", rows, size=20)
    found = explain(FittedModel(case.problem, case.state, model), matrix[:40])
    assert found.importance[0].feature == "kind"
    assert found.importance[0].value > 5 * found.importance[1].value


def explanation_target(table: pd.DataFrame, task: Task) -> Floats:
    """The table's target, encoded."""
    from millrace.features import encode_target

    return encode_target(table["y"], make_problem(task))


def test_sampled_contributions_are_near_the_exact_ones() -> None:
    def predict(matrix: Matrix) -> Floats:
        return (matrix[:, 0] * matrix[:, 1] + np.where(np.isnan(matrix[:, 2]), 3, matrix[:, 2]))[:, None]

    rng = np.random.default_rng(1)
    background, row = rng.normal(size=(16, 3)), np.array([[1.0, -2.0, np.nan]])
    found, base = explanation._sampled(predict, row, background)
    exact = np.zeros(3)
    for order in permutations(range(3)):
        walked = background.copy()
        for feature in order:
            before = predict(walked).mean()
            walked[:, feature] = row[0, feature]
            exact[feature] += (predict(walked).mean() - before) / 6
    # Of two features that act together, an order and its reverse are all orders there are.
    np.testing.assert_allclose(found[0, :, 0], exact, atol=1e-12)
    np.testing.assert_allclose(base, predict(background).mean(axis=0))


def test_where_it_is_slow_the_first_rows_are_explained() -> None:
    matrix = make_case("regression").rows.matrix
    rows = {kind: len(explain(make_fitted("regression", kind), matrix).values) for kind in KINDS}
    assert rows == {
        "linear": 240,
        "random_forest": FOREST_ROWS,
        "hist_boosting": 240,
        "lightgbm": 240,
        "network": SAMPLED_ROWS,
        "neighbour_network": SAMPLED_ROWS,
        "blend": SAMPLED_ROWS,
    }
    assert (
        len(explain(make_fitted("binary", "blend"), make_case("binary").rows.matrix).values) == SAMPLED_ROWS
    )


def test_importance_is_the_mean_size_over_rows_and_outputs_largest_first() -> None:
    values = np.array([[[1.0, -1.0], [0.0, 0.0]], [[-3.0, 3.0], [2.0, 0.0]]])
    found = Contributions(values, np.zeros(2), np.zeros((2, 2)), ["big", "small"], ["a", "b"], "log-odds")
    assert [(item.feature, item.value) for item in found.importance] == [("big", 2.0), ("small", 0.5)]


def test_one_row_is_told_by_name(case: Case, fitted: FittedModel) -> None:
    found = explain(fitted, case.rows.matrix[:2])
    told = found.for_row(1)
    names = {"regression": ["y"], "binary": ["true"], "multiclass": ["low", "middle", "high"]}
    assert [output.name for output in told.outputs] == names[case.problem.task]
    assert told.scale == scale(fitted)
    for position, output in enumerate(told.outputs):
        assert list(output.contributions) == case.state.names
        assert output.base + sum(output.contributions.values()) == pytest.approx(output.prediction)
        assert output.prediction == pytest.approx(found.predicted[1, position])


def test_one_output_is_handed_to_shap_with_its_base_and_data() -> None:
    found = explain(make_fitted("multiclass", "lightgbm"), make_case("multiclass").rows.matrix[:7])
    shown = found.for_output(2)
    np.testing.assert_array_equal(shown.values, found.values[:, :, 2])
    np.testing.assert_array_equal(shown.base_values, np.full(7, found.base[2]))
    assert shown.feature_names == found.names


def test_the_scale_is_named() -> None:
    found = {(task, kind): scale(make_fitted(task, kind)) for task in TASKS for kind in KINDS}
    assert {found["regression", kind] for kind in KINDS} == {"y"}
    for kind in ("linear", "hist_boosting", "lightgbm", "network"):
        assert found["binary", kind] == "log-odds of 'true'"
    assert found["binary", "random_forest"] == found["binary", "blend"] == "probability of 'true'"
    assert (found["multiclass", "lightgbm"], found["multiclass", "blend"]) == ("log-odds", "probability")
    price = TARGETS["regression"] | {"name": "price", "unit": "EUR", "range": [0, None], "transform": "log"}
    fitted = replace(make_fitted("regression", "linear"), problem=make_problem(target=price))
    assert scale(fitted) == "log(1 + price in EUR)"


def test_a_model_of_another_kind_is_refused() -> None:
    class Other:
        kind = "other"

    fitted = FittedModel(make_case("regression").problem, make_case("regression").state, Other())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="No explainer for models of kind other"):
        explain(fitted, np.zeros((1, 5)))
