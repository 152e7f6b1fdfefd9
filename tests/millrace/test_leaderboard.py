"""Which candidate is chosen, the others beside it, and the baseline."""

from typing import Any

import numpy as np
import pytest

from millrace.comparison import corrected_t_test, standing
from millrace.leaderboard import BASELINE, Leaderboard, compare
from millrace.metrics import PRIMARY
from millrace.models.blend import NAME
from millrace.selection import CandidateResult, make_repeated_folds
from tests.millrace.cases import Case, make_case


def result(name: str, scores: list[float]) -> CandidateResult:
    folds = tuple({"rmse": score} for score in scores)
    return CandidateResult(candidate=name, metric_name="rmse", folds=folds, seconds=1)


def compared(*results: CandidateResult) -> Leaderboard:
    """A board of candidates with these scores of five folds."""
    case = make_case("regression")
    folds = make_repeated_folds(case.table, case.problem, 5, 1, seed=0)
    return compare(results, case.problem, case.rows.target, folds, ["net"])


def test_each_is_tested_against_the_best_on_the_same_folds() -> None:
    best, near, far = [0.1, 0.2, 0.1, 0.3, 0.2], [0.2, 0.1, 0.1, 0.3, 0.25], [0.6, 0.8, 0.7, 0.8, 0.7]
    board = compared(result("far", far), result("best", best), result("near", near))
    assert [entry.candidate for entry in board.results] == ["best", "near", "far"]
    assert board.rows == (*board.results, board.baseline)
    assert board.left_out == ("net",)
    assert board.reason == "best has the best mean rmse"
    first, second, third = board.results
    assert (first.p_value, first.standing) == (None, "chosen")
    assert second.p_value == pytest.approx(corrected_t_test(np.array(near) - best, 0.2))
    assert second.standing.startswith("no clear difference (p = 0.")
    assert third.p_value is not None
    assert third.p_value < 0.05
    assert third.standing == "worse (p < 0.001)"


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([0.9, 1.9, 2.9, 3.9, 4.9], NAME),  # A little better everywhere.
        ([0.2, 2.3, 2.6, 4.2, 4.9], "a"),  # Better in the mean, by chance as far as can be told.
        ([1.1, 2.1, 3.1, 4.1, 5.1], "a"),  # Worse.
        ([1.0, 2.0, 3.0, 4.0, 5.0], "a"),  # The same.
    ],
)
def test_a_blend_is_chosen_only_if_it_is_better_by_more_than_chance(scores: list[float], chosen: str) -> None:
    blend = result(NAME, scores).model_copy(update={"weights": {"a": 0.5, "b": 0.5}})
    board = compared(result("b", [6.0] * 5), result("a", [1.0, 2.0, 3.0, 4.0, 5.0]), blend)
    assert [entry.candidate for entry in board.results] == (
        [NAME, "a", "b"] if chosen == NAME else ["a", NAME, "b"]
    )
    assert (board.results[0].p_value, board.results[0].standing) == (None, "chosen")
    surely = ", more than" if chosen == NAME else "no more than"
    assert (surely in board.reason) == (np.mean(scores) < 3)


def test_an_equal_candidate_is_not_called_worse() -> None:
    assert compared(result("one", [0.1] * 5), result("two", [0.1] * 5)).results[1].p_value == 0.5


@pytest.mark.parametrize(("p", "words"), [(0.05, "worse"), (0.051, "no clear difference")])
def test_five_per_cent_are_the_limit(p: float, words: str) -> None:
    assert standing(p).startswith(words)


def test_the_baseline_is_scored_on_the_folds_by_what_it_was_fitted_on(case: Case) -> None:
    folds = make_repeated_folds(case.table, case.problem, 3, 2, seed=0)
    target, name = case.rows.target, PRIMARY[case.problem.task]
    perfect: Any = [{name: 0.0}] * 6
    one = CandidateResult(candidate="one", metric_name=name, folds=tuple(perfect), seconds=1)
    board = compare([one], case.problem, target, folds)
    assert board.baseline.candidate == BASELINE
    for (fitted, scored), score in zip(folds, board.baseline.scores, strict=True):
        if case.problem.task == "regression":
            expected = np.sqrt(np.mean((target[scored] - target[fitted].mean()) ** 2))
        else:
            shares = np.bincount(target[fitted].astype(int)) / len(fitted)
            expected = -np.log(shares[target[scored].astype(int)]).mean()
        assert score == pytest.approx(expected)
    assert board.baseline.standing == "worse (p < 0.001)"
