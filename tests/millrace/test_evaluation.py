"""The holdout's results: metrics with intervals, the baseline's, and slices."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support

from millrace.bundle import FittedModel
from millrace.evaluation import Evaluation, evaluate
from millrace.metrics import METRICS, PRIMARY, Outcome, compute_metrics
from millrace.promotion import baseline_predictions
from millrace.slices import MIN_ROWS
from tests.millrace.cases import Case, make_case, make_fitted, make_problem


def evaluated(case: Case, fitted: FittedModel, **changes: Any) -> Evaluation:
    """The evaluation of a model on its case, with some columns changed."""
    table = case.table.assign(**changes)
    target = case.rows.target
    baseline = baseline_predictions(case.problem.task, target, len(target), len(case.problem.classes))
    predicted = fitted.predict(case.table)
    outcome = Outcome(case.problem, target, predicted, fitted.threshold)
    return evaluate(table, outcome, baseline, resamples=100, confidence=0.9, seed=0)


def test_metrics_and_baseline_are_those_of_the_task(case: Case, fitted: FittedModel) -> None:
    found = evaluated(case, fitted)
    expected = compute_metrics(Outcome(case.problem, case.rows.target, fitted.predict(case.table)))
    assert found.rows == len(case.table)
    assert found.metric_name == PRIMARY[case.problem.task]
    assert {name: interval.value for name, interval in found.metrics.items()} == expected
    assert set(found.baseline) == set(METRICS[case.problem.task])
    assert found.metrics[found.metric_name].value < found.baseline[found.metric_name]


def test_each_slice_scores_its_own_rows(case: Case) -> None:
    fitted = make_fitted(case.problem.task, "linear")
    slices = {(part.feature, part.value): part for part in evaluated(case, fitted).slices}
    predicted = fitted.predict(case.table)
    for value, members in {
        "flat": case.table["kind"] == "flat",
        "house": case.table["kind"] == "house",
        "missing": case.table["kind"].isna(),
    }.items():
        rows = members.to_numpy()
        expected = compute_metrics(Outcome(case.problem, case.rows.target[rows], predicted[rows]))
        assert slices["kind", value].rows == rows.sum()
        assert slices["kind", value].metric == pytest.approx(expected[PRIMARY[case.problem.task]])
    assert ("kind", "boat") not in slices


def test_slices_of_a_feature_share_out_all_rows(case: Case) -> None:
    counts: dict[str, int] = {}
    for part in evaluated(case, make_fitted(case.problem.task, "linear")).slices:
        counts[part.feature] = counts.get(part.feature, 0) + part.rows
    assert counts == dict.fromkeys(case.problem.inputs, len(case.table))


def test_numbers_and_moments_are_cut_at_their_quartiles() -> None:
    case = make_case("regression")
    days = pd.date_range("2001-01-01", periods=240).to_series(index=case.table.index)
    slices = evaluated(case, make_fitted("regression", "linear"), size=np.arange(240.0), built=days).slices
    assert [(part.value, part.rows) for part in slices if part.feature == "size"] == [
        ("0 to 59.75", 60), ("59.75 to 119.5", 60), ("119.5 to 179.25", 60), ("179.25 to 239", 60),
    ]  # fmt: skip
    assert next(part.value for part in slices if part.feature == "built") == "2001-01-01 to 2001-03-01"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.ones(240), []),
        (np.full(240, np.nan), [("missing", 240)]),
        (np.repeat([0.0, 1.0], [230, 10]), [("0 to 1", 240)]),
        (np.repeat([0.0, 1.0], 120), [("0 to 0.5", 120), ("0.5 to 1", 120)]),
        (np.repeat([0.0, np.nan], [240 - MIN_ROWS, MIN_ROWS]), [("missing", MIN_ROWS)]),
        (np.repeat([0.0, np.nan], [241 - MIN_ROWS, MIN_ROWS - 1]), []),
    ],
)
def test_columns_with_few_values_have_few_slices(values: Any, expected: list[tuple[str, int]]) -> None:
    found = evaluated(make_case("regression"), make_fitted("regression", "linear"), size=values).slices
    assert [(part.value, part.rows) for part in found if part.feature == "size"] == expected


def test_an_evaluation_survives_json(case: Case) -> None:
    found = evaluated(case, make_fitted(case.problem.task, "linear"))
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_a_class_is_scored_by_its_own_answers_and_the_baseline_answers_as_it_can() -> None:
    problem = make_problem("binary", costs={"false_positive": 1, "false_negative": 9})
    case, fitted = make_case("binary"), make_fitted("binary", "linear")
    target, predicted = case.rows.target, fitted.predict(case.table)
    outcome = Outcome(problem, target, predicted, threshold=0.2)
    baseline = baseline_predictions("binary", target, len(target), 2)
    found = evaluate(case.table, outcome, baseline, resamples=100, confidence=0.9, seed=0)
    labels = (predicted[:, 1] >= 0.2).astype(int)
    expected = precision_recall_fscore_support(target, labels)
    for position, score in enumerate(found.classes):
        assert (score.precision, score.recall, score.f1, score.rows) == tuple(
            part[position] for part in expected
        )
    assert [score.name for score in found.classes] == ["false", "true"]
    assert found.threshold == 0.2
    assert found.metrics["recall"].value == found.classes[1].recall
    # Without a feature it is cheapest to answer "true" to all.
    assert found.baseline["cost"] == pytest.approx((target == 0).mean())


def test_several_classes_have_no_threshold_and_values_no_classes() -> None:
    several = evaluated(make_case("multiclass"), make_fitted("multiclass", "linear"))
    assert (several.threshold, [score.name for score in several.classes]) == (None, ["low", "middle", "high"])
    values = evaluated(make_case("regression"), make_fitted("regression", "linear"))
    assert (values.threshold, values.classes) == (None, ())
