"""Plots: every task has its own, and no table can keep them from being drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from millrace.bundle import FittedModel
from millrace.contract import Task
from millrace.explanation import explain
from millrace.intervals import UNKNOWN, fit_intervals
from millrace.metrics import Outcome
from millrace.models import TrainingRows, fit_model
from millrace.plots import comparison_plot, evaluation_plots, explanation_plots, interval_plot
from millrace.selection import CandidateResult
from tests.millrace.cases import Case, make_case, make_fitted, make_problem, settings

PNG = b"\x89PNG\r\n\x1a\n"


def test_evaluation_plots_are_those_of_the_task(case: Case) -> None:
    predicted = make_fitted(case.problem.task, "lightgbm").predict(case.table)
    plots = evaluation_plots(Outcome(case.problem, case.rows.target, predicted))
    expected = {
        "regression": {"residuals"},
        "binary": {"calibration", "confusion", "roc", "precision_recall"},
        "multiclass": {"calibration", "confusion"},
    }
    assert set(plots) == expected[case.problem.task]
    assert all(png.startswith(PNG) for png in plots.values())


def test_explanation_plots_cover_the_top_features_and_one_row() -> None:
    found = explain(make_fitted("multiclass", "lightgbm"), make_case("multiclass").rows.matrix[:30])
    plots = explanation_plots(found, make_case("multiclass").problem)
    tops = {f"dependence_{found.names.index(item.feature)}" for item in found.importance[:3]}
    assert set(plots) == {"importance", "beeswarm", "waterfall"} | tops
    assert all(png.startswith(PNG) for png in plots.values())


def test_the_same_results_are_drawn_as_the_same_bytes() -> None:
    case, fitted = make_case("binary"), make_fitted("binary", "lightgbm")
    predicted = fitted.predict(case.table)
    one, two = (evaluation_plots(Outcome(case.problem, case.rows.target, predicted)) for _ in range(2))
    assert one == two
    assert evaluation_plots(Outcome(case.problem, case.rows.target, predicted[::-1])) != one
    found = explain(fitted, case.rows.matrix)
    # Among them a column of few values, whose dots shap shakes.
    first, second = (explanation_plots(found, case.problem) for _ in range(2))
    assert first == second


def test_drawing_leaves_numpys_own_generator_as_it_was() -> None:
    found = explain(make_fitted("binary", "lightgbm"), make_case("binary").rows.matrix[:30])
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    explanation_plots(found, make_case("binary").problem)
    assert np.random.random() == expected


def test_intervals_are_drawn_with_and_without_ends(case: Case) -> None:
    predicted = make_fitted(case.problem.task, "lightgbm").predict(case.table)
    outcome = Outcome(case.problem, case.rows.target, predicted)
    drawn = interval_plot(outcome, fit_intervals(outcome, np.arange(len(case.table))))
    assert drawn.startswith(PNG)
    assert interval_plot(outcome, UNKNOWN) not in (b"", drawn)
    one = Outcome(case.problem, outcome.target[:1], outcome.predicted[:1])
    assert interval_plot(one, UNKNOWN).startswith(PNG)


def test_costs_are_drawn_where_the_contract_sets_them() -> None:
    case, fitted = make_case("binary"), make_fitted("binary", "lightgbm")
    problem = make_problem("binary", costs={"false_positive": 1, "false_negative": 5})
    outcome = Outcome(problem, case.rows.target, fitted.predict(case.table), threshold=0.2)
    assert evaluation_plots(outcome, outcome)["cost"].startswith(PNG)
    never = Outcome(problem, np.zeros(3), np.tile([0.9, 0.1], (3, 1)), threshold=0.2)
    assert set(evaluation_plots(never, never)) == {
        "calibration",
        "confusion",
        "roc",
        "precision_recall",
        "cost",
    }


@pytest.mark.parametrize(
    ("target", "predicted"),
    [
        (np.zeros(1), np.array([[1.0, 0.0, 0.0]])),
        (np.zeros(4), np.full((4, 3), 1 / 3)),
        (np.array([0.0, 1.0]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])),
    ],
    ids=["one row", "one class", "always wrong"],
)
def test_classes_that_are_absent_can_be_drawn(target: Any, predicted: Any) -> None:
    assert set(evaluation_plots(Outcome(make_problem("multiclass"), target, predicted))) == {
        "calibration",
        "confusion",
    }


@pytest.mark.parametrize("values", [np.ones(1), np.array([-1e300, 0.0, 1e300])])
def test_targets_of_any_spread_can_be_drawn(values: Any) -> None:
    assert evaluation_plots(Outcome(make_problem(), values, values / 2))["residuals"].startswith(PNG)


def drawn(name: str, text: str) -> None:
    """Draw everything for a problem in which a feature, the target, its unit and a class are called so."""
    target: dict[Task, dict[str, Any]] = {
        "regression": {"name": f"y {name}", "type": "number", "unit": text},
        "multiclass": {"name": f"y {name}", "type": "category", "categories": [text, "b", "c"]},
    }
    for task, column in target.items():
        problem = make_problem(task, features={name: {"type": "number"}}, target=column, key=None)
        size = np.linspace(0, 1, 60)
        outcome = size if task == "regression" else np.resize(np.array(problem.classes, dtype=object), 60)
        table = pd.DataFrame({name: size, f"y {name}": outcome})
        rows = TrainingRows.of(table, problem)
        fitted = FittedModel(problem, rows.state, fit_model(settings("lightgbm"), rows, seed=0, threads=1))
        plots = evaluation_plots(Outcome(problem, rows.target, fitted.predict(table)))
        plots |= explanation_plots(explain(fitted, rows.matrix), problem)
        assert all(png.startswith(PNG) for png in plots.values())


def test_no_name_is_taken_for_a_formula() -> None:
    drawn("$^$ {x} %s größe_m²d", "$_$")


def test_what_stands_between_dollar_signs_is_drawn_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    shown: list[str] = []
    save: Callable[..., None] = Figure.savefig

    def spy(figure: Any, *args: Any, **kwargs: Any) -> None:
        shown.extend(axes.get_xlabel() for axes in figure.axes)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    problem = make_problem(target={"name": "y", "type": "number", "unit": "$ per $"})
    evaluation_plots(Outcome(problem, np.arange(3.0), np.arange(3.0)))
    assert shown[0] == r"actual y (\$ per \$)"


def test_candidates_are_compared_in_one_plot() -> None:
    folds = ({"rmse": 1.0}, {"rmse": 2.0})
    results = [CandidateResult(candidate=n, metric_name="rmse", folds=folds, seconds=1) for n in ("a", "b")]
    assert comparison_plot(results, "rmse").startswith(PNG)
    assert comparison_plot(results[:1], "rmse").startswith(PNG)
