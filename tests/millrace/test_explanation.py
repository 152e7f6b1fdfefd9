"""Contributions: they add up to the prediction on the model's own scale, for every model and task."""

from dataclasses import replace

import numpy as np
import pytest

from millrace.bundle import FittedModel
from millrace.explanation import FOREST_ROWS, Contributions, explain, scale
from millrace.features import Matrix
from millrace.metrics import Floats
from millrace.models.boosting import LightGBMModel
from millrace.models.forest import RandomForestModel
from millrace.models.linear import LinearModel
from tests.millrace.cases import TASKS, Case, make_case, make_fitted, make_problem


def own_scale(fitted: FittedModel, matrix: Matrix) -> Floats:
    """What the model predicts on the scale of its contributions: [rows, outputs]."""
    model, task = fitted.model, fitted.problem.task
    if isinstance(model, LightGBMModel):
        raw = model.booster.predict(matrix, raw_score=True)
    elif isinstance(model, RandomForestModel):
        raw = model.predict(matrix)[:, 1:] if task == "binary" else model.predict(matrix)
    else:
        assert isinstance(model, LinearModel)
        dense = model.state.dense(matrix)
        raw = (
            model.pipeline.predict(dense) if task == "regression" else model.pipeline.decision_function(dense)
        )
    return np.asarray(raw, dtype=np.float64).reshape(len(matrix), -1)


@pytest.mark.parametrize("rows", [slice(0, 40), slice(3, 4)], ids=["many rows", "one row"])
def test_contributions_and_base_add_up_to_the_prediction(
    case: Case, fitted: FittedModel, rows: slice
) -> None:
    matrix = case.rows.matrix[rows]
    found = explain(fitted, matrix)
    outputs = 3 if case.problem.task == "multiclass" else 1
    assert found.values.shape == (len(matrix), 5, outputs)
    assert found.base.shape == (outputs,)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, own_scale(fitted, matrix), atol=1e-9)


def test_missing_and_huge_values_are_explained(case: Case, fitted: FittedModel) -> None:
    matrix = np.vstack([np.full((1, 5), np.nan), case.rows.matrix[:3]])
    # Trees compare in single precision, where this is infinite; sums of a linear model would drown in it.
    matrix[1, 1] = 1e6 if fitted.model.kind == "linear" else 1e39
    found = explain(fitted, matrix)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, own_scale(fitted, matrix), atol=1e-8)


def test_the_features_that_made_the_target_matter_most(case: Case, fitted: FittedModel) -> None:
    ranked = [item.feature for item in explain(fitted, case.rows.matrix).importance]
    assert ranked[0] == "size"
    assert sorted(ranked) == sorted(case.state.names)


def test_a_forest_explains_its_first_rows_only() -> None:
    case = make_case("regression")
    found = explain(make_fitted("regression", "random_forest"), case.rows.matrix)
    assert len(found.values) == FOREST_ROWS
    np.testing.assert_array_equal(found.matrix, case.rows.matrix[:FOREST_ROWS])


def test_importance_is_the_mean_size_over_rows_and_outputs_largest_first() -> None:
    values = np.array([[[1.0, -1.0], [0.0, 0.0]], [[-3.0, 3.0], [2.0, 0.0]]])
    found = Contributions(values, np.zeros(2), np.zeros((2, 2)), ["small", "big"][::-1]).importance
    assert [(item.feature, item.value) for item in found] == [("big", 2.0), ("small", 0.5)]


def test_one_output_is_handed_to_shap_with_its_base_and_data() -> None:
    found = explain(make_fitted("multiclass", "lightgbm"), make_case("multiclass").rows.matrix[:7])
    shown = found.for_output(2)
    np.testing.assert_array_equal(shown.values, found.values[:, :, 2])
    np.testing.assert_array_equal(shown.base_values, np.full(7, found.base[2]))
    assert shown.feature_names == found.names


def test_the_scale_is_named() -> None:
    found = {
        (task, kind): scale(make_fitted(task, kind))
        for task in TASKS
        for kind in ("linear", "random_forest", "lightgbm")
    }
    assert {found["regression", kind] for kind in ("linear", "random_forest", "lightgbm")} == {"y"}
    assert found["binary", "linear"] == found["binary", "lightgbm"] == "log-odds of 'true'"
    assert found["binary", "random_forest"] == "probability of 'true'"
    assert found["multiclass", "lightgbm"] == "log-odds"
    price = {"name": "price", "type": "number", "unit": "EUR", "range": [0, None], "transform": "log"}
    fitted = replace(make_fitted("regression", "linear"), problem=make_problem(target=price))
    assert scale(fitted) == "log(1 + price in EUR)"


def test_a_model_of_another_kind_is_refused() -> None:
    class Other:
        kind = "other"

    fitted = FittedModel(make_case("regression").problem, make_case("regression").state, Other())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="No explainer for models of kind other"):
        explain(fitted, np.zeros((1, 5)))
