"""Cross-validation and the order of candidates."""

import numpy as np
import pytest

from millrace.contract import Task
from millrace.errors import UserError
from millrace.metrics import PRIMARY
from millrace.models import TrainingRows, fit_model
from millrace.selection import CandidateResult, cross_validate, leaderboard, make_folds
from tests.millrace.cases import Case, make_case, settings


def test_every_row_is_validated_once_and_never_fitted_on_in_its_fold(case: Case) -> None:
    folds = make_folds(case.rows, 4, seed=0)
    assert sorted(np.concatenate([validation for _, validation in folds])) == list(range(len(case.table)))
    for fit_rows, validation in folds:
        assert sorted([*fit_rows, *validation]) == list(range(len(case.table)))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classes_have_their_share_in_every_fold(task: Task) -> None:
    rows = make_case(task).rows
    shares = np.bincount(rows.target.astype(int)) / len(rows.target)
    for _, validation in make_folds(rows, 4, seed=0):
        found = np.bincount(rows.target[validation].astype(int)) / len(validation)
        np.testing.assert_allclose(found, shares, atol=0.02)


def test_folds_follow_the_seed(case: Case) -> None:
    one, same, other = (make_folds(case.rows, 3, seed=seed)[0][1].tolist() for seed in (1, 1, 2))
    assert one == same != other


def with_target(target: list[float], task: Task) -> TrainingRows:
    """A few rows of a case with another target."""
    rows = make_case(task).rows
    return TrainingRows(rows.matrix[: len(target)], np.array(target), task, rows.classes, rows.state)


def test_too_few_rows_for_the_folds_are_refused_with_the_number_that_works() -> None:
    with pytest.raises(UserError, match=r"3 training rows cannot fill 5 folds.*--set folds=3"):
        make_folds(with_target([1.0, 2.0, 3.0], "regression"), 5, seed=0)
    rare = with_target([0.0] * 9 + [1.0] * 9 + [2.0] * 2, "multiclass")
    with pytest.raises(
        UserError, match=r"2 training rows in the smallest class cannot fill 5 folds.*--set folds=2"
    ):
        make_folds(rare, 5, seed=0)
    assert len(make_folds(rare, 2, seed=0)) == 2


@pytest.mark.parametrize("rare", [0, 1])
def test_a_class_with_next_to_no_rows_is_refused_whatever_the_folds(rare: int) -> None:
    rows = with_target([0.0] * 9 + [1.0] * 9 + [2.0] * rare, "multiclass")
    with pytest.raises(UserError, match=f"The smallest class has {rare} training rows"):
        make_folds(rows, 2, seed=0)


def test_folds_score_rows_that_the_model_has_not_seen(case: Case) -> None:
    result = cross_validate("one", settings("random_forest"), case.rows, folds=3, seed=0, threads=1)
    seen = fit_model(settings("random_forest"), case.rows, seed=0, threads=1)
    from millrace.metrics import compute_metrics

    flattering = compute_metrics(case.problem.task, case.rows.target, seen.predict(case.rows.matrix))
    assert result.metric_name == PRIMARY[case.problem.task]
    assert len(result.folds) == 3
    assert result.metric > flattering[result.metric_name]


def test_scores_do_not_depend_on_the_threads(case: Case, kind: str) -> None:
    one, two = (
        cross_validate("one", settings(kind), case.rows, folds=3, seed=0, threads=threads).folds
        for threads in (1, 2)
    )
    assert one == two


def test_the_best_candidate_leads() -> None:
    results = [
        CandidateResult(
            candidate=name, metric_name="rmse", folds=({"rmse": score}, {"rmse": score + 1}), seconds=1
        )
        for name, score in {"worst": 3.0, "best": 1.0, "middle": 2.0}.items()
    ]
    board = leaderboard(results, "regression")
    assert [result.candidate for result in board] == ["best", "middle", "worst"]
    assert (board[0].metric, board[0].scores) == (1.5, [1.0, 2.0])
    assert board[0].std == pytest.approx(np.sqrt(0.5))
