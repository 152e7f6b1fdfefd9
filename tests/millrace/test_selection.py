"""Cross-validation and the order of candidates."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from millrace.contract import Problem, Task
from millrace.errors import UserError
from millrace.metrics import PRIMARY, Outcome, compute_metrics
from millrace.models import TrainingRows, fit_model
from millrace.selection import (
    CandidateResult,
    cross_validate,
    make_folds,
    make_repeated_folds,
    read_out_of_fold,
    threshold_for,
)
from tests.millrace.cases import FEATURES, SINGLE, TASKS, Case, make_case, make_problem, make_table, settings


def test_every_row_is_validated_once_and_never_fitted_on_in_its_fold(case: Case) -> None:
    folds = make_folds(case.table, case.problem, 4, seed=0)
    assert sorted(np.concatenate([validation for _, validation in folds])) == list(range(len(case.table)))
    for fit_rows, validation in folds:
        assert sorted([*fit_rows, *validation]) == list(range(len(case.table)))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classes_have_their_share_in_every_fold(task: Task) -> None:
    case = make_case(task)
    rows = case.rows
    shares = np.bincount(rows.target.astype(int)) / len(rows.target)
    for _, validation in make_folds(case.table, case.problem, 4, seed=0):
        found = np.bincount(rows.target[validation].astype(int)) / len(validation)
        np.testing.assert_allclose(found, shares, atol=0.02)


def test_folds_follow_the_seed(case: Case) -> None:
    one, same, other = (
        make_folds(case.table, case.problem, 3, seed=seed)[0][1].tolist() for seed in (1, 1, 2)
    )
    assert one == same != other


def test_repeats_are_the_folds_of_seeds_in_a_row(case: Case) -> None:
    found = make_repeated_folds(case.table, case.problem, 3, 2, seed=4)
    expected = [fold for seed in (4, 5) for fold in make_folds(case.table, case.problem, 3, seed)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_out_of_fold_predictions_of_repeats_are_all_there_the_first_repeat_first(case: Case) -> None:
    once, twice = (
        cross_validate(
            "one",
            settings("linear"),
            case.rows,
            make_repeated_folds(case.table, case.problem, 3, repeats, seed=0),
            seed=0,
            threads=1,
        )
        for repeats in (1, 2)
    )
    assert len(twice[0].folds) == 6
    assert twice[0].folds[:3] == once[0].folds
    table = twice[1]
    assert table["row"].value_counts().eq(2).all()
    assert sorted(table["fold"].unique()) == list(range(6))
    pd.testing.assert_frame_equal(table.drop_duplicates("row").reset_index(drop=True), once[1])
    assert len(read_out_of_fold(table, case.problem).target) == 2 * len(case.table)


def of_classes(**counts: int) -> pd.DataFrame:
    """A table with so many rows of each class."""
    target = [name for name, count in counts.items() for _ in range(count)]
    return make_table(rows=len(target)).assign(y=target)


def test_too_few_rows_for_the_folds_are_refused_with_the_number_that_works() -> None:
    with pytest.raises(UserError, match=r"3 training rows cannot fill 5 folds.*--set folds=3"):
        make_folds(make_table(rows=3), make_problem(), 5, seed=0)
    rare, problem = of_classes(low=9, middle=9, high=2), make_problem("multiclass")
    with pytest.raises(
        UserError, match=r"2 training rows in the smallest class cannot fill 5 folds.*--set folds=2"
    ):
        make_folds(rare, problem, 5, seed=0)
    assert len(make_folds(rare, problem, 2, seed=0)) == 2


@pytest.mark.parametrize("rare", [0, 1])
def test_a_class_with_next_to_no_rows_is_refused_whatever_the_folds(rare: int) -> None:
    with pytest.raises(UserError, match=f"The smallest class has {rare} training rows"):
        make_folds(of_classes(low=9, middle=9, high=rare), make_problem("multiclass"), 2, seed=0)


def split_by(by: str, column: str, task: Task = "regression") -> Problem:
    """A problem whose folds go by a column, which is never null."""
    features = FEATURES | {column: FEATURES[column] | {"nullable": False}}
    return make_problem(task, features=features, key=None, split={"by": by, "column": column})


@given(st.sampled_from(TASKS), st.lists(st.integers(0, 30), min_size=12, max_size=80), st.integers(2, 5))
def test_no_group_is_on_both_sides_of_a_fold(task: Task, groups: list[int], folds: int) -> None:
    table = make_table(task, rows=len(groups)).assign(id=[f"group {group}" for group in groups])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = make_folds(table, split_by("group", "id", task), folds, seed=0)
    except UserError:
        return
    assert sorted(np.concatenate([scored for _, scored in made])) == list(range(len(table)))
    assert len(made) == folds
    for fit_rows, scored in made:
        assert len(scored) > 0
        assert len(fit_rows) + len(scored) == len(table)
        assert not set(table["id"].iloc[fit_rows]) & set(table["id"].iloc[scored])


@given(st.lists(st.integers(-5, 60), min_size=3, max_size=80), st.integers(2, 5))
def test_no_fold_is_fitted_on_the_future(times: list[int], folds: int) -> None:
    table = make_table(rows=len(times)).assign(floor=np.array(times, dtype=float))
    problem = split_by("time", "floor")
    if len(set(times)) <= folds or len(times) < folds:
        with pytest.raises(UserError, match="cannot fill"):
            make_folds(table, problem, folds, seed=0)
        return
    made = make_folds(table, problem, folds, seed=0)
    assert len(made) == folds
    for fit_rows, scored in made:
        assert table["floor"].iloc[fit_rows].max() < table["floor"].iloc[scored].min()
        # Expanding: everything before is learnt from.
        assert set(np.flatnonzero(table["floor"] < table["floor"].iloc[scored].min())) == set(fit_rows)
    assert len(set(np.concatenate([scored for _, scored in made]))) == sum(len(s) for _, s in made)


def test_time_folds_without_ties_are_those_of_scikit_learn() -> None:
    order = np.random.default_rng(0).permutation(53)
    table = make_table(rows=53).assign(built=np.datetime64("2020-01-01", "us") + order * 10**10)
    made = make_folds(table, split_by("time", "built"), 5, seed=0)
    for ours, theirs in zip(made, TimeSeriesSplit(5).split(order), strict=True):
        for mine, expected in zip(ours, theirs, strict=True):
            assert sorted(order[mine]) == list(expected)


def test_groups_and_moments_that_are_too_few_are_refused_with_the_number_that_works() -> None:
    table = make_table(rows=60).assign(id=["a", "b", "c"] * 20, floor=[0.0, 1.0, 2.0] * 20)
    with pytest.raises(UserError, match=r"3 groups of 'id' .* cannot fill 5 folds.*--set folds=3"):
        make_folds(table, split_by("group", "id"), 5, seed=0)
    with pytest.raises(UserError, match=r"3 different moments of 'floor' .* 5 folds.*--set folds=2"):
        make_folds(table, split_by("time", "floor"), 5, seed=0)
    with pytest.raises(UserError, match=r"cannot fill 5 folds; bring more rows\.$"):
        make_folds(table.assign(id="a"), split_by("group", "id"), 5, seed=0)


def test_a_class_that_comes_too_late_to_be_learnt_is_refused() -> None:
    table = make_table("multiclass", rows=60).assign(
        floor=np.arange(60.0), y=["low", "middle"] * 25 + ["high"] * 10
    )
    with pytest.raises(UserError, match="Fold 1 of 3, made by time, has no row of the class 'high'"):
        make_folds(table, split_by("time", "floor", "multiclass"), 3, seed=0)


def validated(
    case: Case, kind: str = "random_forest", **changes: Any
) -> tuple[CandidateResult, pd.DataFrame]:
    """A candidate cross-validated on three folds of a case."""
    folds = make_folds(case.table, case.problem, 3, seed=0)
    return cross_validate("one", settings(kind), case.rows, folds, **({"seed": 0, "threads": 1} | changes))


def test_folds_score_rows_that_the_model_has_not_seen(case: Case) -> None:
    result, _ = validated(case)
    seen = fit_model(settings("random_forest"), case.rows, seed=0, threads=1)
    flattering = compute_metrics(Outcome(case.problem, case.rows.target, seen.predict(case.rows.matrix)))
    assert result.metric_name == PRIMARY[case.problem.task]
    assert len(result.folds) == 3
    assert result.metric > flattering[result.metric_name]


@pytest.mark.parametrize("kind", SINGLE)
def test_scores_do_not_depend_on_the_threads(case: Case, kind: str) -> None:
    (one, first), (two, second) = (validated(case, kind, threads=threads) for threads in (1, 2))
    assert one.folds == two.folds
    pd.testing.assert_frame_equal(first, second)


def test_out_of_fold_predictions_are_those_that_were_scored(case: Case) -> None:
    result, table = validated(case, "linear")
    assert table["row"].tolist() == list(range(240))
    np.testing.assert_array_equal(table["target"], case.rows.target)
    for number, expected in enumerate(result.folds):
        part = read_out_of_fold(table[table["fold"] == number], case.problem)
        assert compute_metrics(part) == expected


def test_a_fold_learns_its_fill_values_from_its_own_rows() -> None:
    # The later half is all missing or huge; a median over all rows would tell the past of it.
    problem = split_by("time", "floor")
    table = make_table(rows=60).assign(floor=np.arange(60.0))
    changed = table.assign(size=table["size"].where(np.arange(60) < 20, 90.0), y=table["y"])
    found = []
    for each in (table, changed):
        rows = TrainingRows.of(each, problem)
        folds = [(np.arange(20), np.flatnonzero(np.arange(60) == 20))]
        model = fit_model(settings("linear"), rows.take(folds[0][0]), seed=0, threads=1)
        found.append(model.predict(rows.matrix[:20]))
    np.testing.assert_array_equal(*found)


def test_the_threshold_comes_from_the_costs_and_the_out_of_fold_rows() -> None:
    case = make_case("binary")
    _, table = validated(case, "lightgbm")
    assert threshold_for(table, case.problem) == 0.5
    found = []
    for missed in (0.1, 1, 10):
        problem = make_problem("binary", costs={"false_positive": 1, "false_negative": missed})
        found.append(threshold_for(table, problem))
        costs = {
            at: compute_metrics(read_out_of_fold(table, problem, at))["cost"] for at in np.linspace(0, 1, 101)
        }
        assert (
            compute_metrics(read_out_of_fold(table, problem, found[-1]))["cost"]
            <= min(costs.values()) + 1e-12
        )
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]
