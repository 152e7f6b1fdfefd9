"""Intervals and sets hold the truth as often as they say, for every level, scale and size of table."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import INTERVALS, FittedModel, read_json, to_json
from millrace.contract import Problem, Target, Task
from millrace.errors import UserError
from millrace.features import encode_target
from millrace.intervals import (
    DEPTH,
    HIGHEST,
    LOWEST,
    MAX_BINS,
    MIN_ROWS,
    SHOWN,
    UNKNOWN,
    Intervals,
    fit_intervals,
    holds,
    measure,
)
from millrace.metrics import Outcome
from millrace.models import TrainingRows, fit_model
from millrace.selection import cross_validate, make_folds, read_out_of_fold
from tests.millrace.cases import Case, make_case, make_problem, make_table, settings

LEVELS = st.floats(LOWEST, HIGHEST)
PRICE = {"name": "y", "type": "number", "range": [0, None]}


def values(rows: int, seed: int, problem: Problem | None = None) -> Outcome:
    """Predictions whose errors grow with them, skewed to one side."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0, 10, rows)
    error = (0.1 + predicted / 5) * (rng.gamma(2, 1, rows) - 2)
    return Outcome(problem or make_problem(), predicted + error, predicted)


def chances(rows: int, seed: int, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> Outcome:
    """Probabilities of three classes, the last far less well told than the others, and overconfident."""
    rng = np.random.default_rng(seed)
    target = rng.choice(3, rows, p=shares)
    score = rng.normal(size=(rows, 3)) * [1, 1, 3]
    score[np.arange(rows), target] += 2
    chance = np.exp(2 * score) / np.exp(2 * score).sum(axis=1, keepdims=True)
    return Outcome(make_problem("multiclass"), target.astype(float), chance)


def fitted_on(outcome: Outcome) -> Intervals:
    return fit_intervals(outcome, np.arange(len(outcome.target)))


def slack(level: float, fitted: int, judged: int) -> float:
    """Five standard errors of a coverage, from both samples."""
    return 5 * float(np.sqrt(level * (1 - level) * (1 / fitted + 1 / judged))) + 1 / fitted


@given(level=LEVELS, rows=st.sampled_from([250, 1500, 9000]), log=st.booleans())
def test_an_interval_holds_the_truth_as_often_as_its_level_says(level: float, rows: int, log: bool) -> None:
    problem = make_problem(target={**PRICE, "transform": "log"}) if log else make_problem()
    known, new = (
        replace(values(size, seed, problem), target=np.maximum(values(size, seed).target, 0))
        for size, seed in ((rows, 1), (20_000, 2))
    )
    held, _ = holds(fitted_on(known), new, level)
    assert held.mean() >= level - slack(level, rows, 20_000)
    if not log and level >= 0.8:
        # Clipped targets and intervals that keep the prediction hold it more often at low levels.
        assert held.mean() <= level + slack(level, rows, 20_000) + 0.01


@given(level=LEVELS)
def test_as_much_is_missed_below_as_above_and_in_every_part(level: float) -> None:
    new = values(60_000, 2)
    low, high = fitted_on(values(20_000, 1)).bounds(new.predicted, new.problem.target, level).T
    tail = (1 - level) / 2
    for part in (new.predicted < 3, new.predicted > 7):
        allowed = slack(tail, 6_000, 18_000)
        assert np.mean(new.target[part] < low[part]) <= tail + allowed
        assert np.mean(new.target[part] > high[part]) <= tail + allowed


def test_intervals_are_wider_where_errors_are_larger() -> None:
    outcome = values(20_000, 1)
    at = np.array([1.0, 5.0, 9.0])
    low, high = fitted_on(outcome).bounds(at, outcome.problem.target).T
    small, middle, large = high - low
    assert 1.4 * small < middle
    assert 1.4 * middle < large


@given(level=LEVELS)
def test_a_set_holds_the_truth_of_every_class_as_often_as_its_level_says(level: float) -> None:
    known, new = chances(6_000, 1), chances(30_000, 2)
    members = fitted_on(known).members(new.predicted, level)
    for position, share in enumerate((0.5, 0.3, 0.2)):
        own = new.target == position
        assert members[own, position].mean() == pytest.approx(
            level, abs=slack(level, int(6_000 * share), int(30_000 * share))
        )


@given(
    outcome=st.sampled_from([values(900, 3), values(30, 3), chances(900, 3), chances(30, 3)]), data=st.data()
)
def test_a_higher_level_takes_nothing_out(outcome: Outcome, data: st.DataObject) -> None:
    low, high = sorted([data.draw(LEVELS), data.draw(LEVELS)])
    intervals = fitted_on(outcome)
    if outcome.problem.classes:
        assert (intervals.members(outcome.predicted, low) <= intervals.members(outcome.predicted, high)).all()
        return
    narrow = intervals.bounds(outcome.predicted, outcome.problem.target, low)
    wide = intervals.bounds(outcome.predicted, outcome.problem.target, high)
    assert (wide[:, 0] <= narrow[:, 0]).all()
    assert (wide[:, 1] >= narrow[:, 1]).all()


@given(level=LEVELS, rows=st.integers(0, 60))
def test_the_place_in_the_scores_is_the_finite_sample_quantile(level: float, rows: int) -> None:
    rng = np.random.default_rng(rows)
    outcome = Outcome(make_problem(), rng.normal(size=rows), np.zeros(rows))
    low, high = fitted_on(outcome).bounds(np.zeros(1), outcome.problem.target, level)[0]
    tail = (1 - level) / 2
    place = int(np.ceil(round((rows + 1) * (1 - tail), 9)))
    ordered = np.sort(outcome.target)
    assert high == (max(ordered[place - 1], 0) if place <= rows else np.inf)
    assert low == (min(ordered[rows - place], 0) if place <= rows else -np.inf)


def test_bins_are_as_many_as_the_rows_can_fill_and_equal_predictions_share_one() -> None:
    sizes = {rows: len(fitted_on(values(rows, 1)).below) for rows in (1, 150, 398, 1000, 50_000)}
    assert sizes == {1: 1, 150: 1, 398: 2, 1000: 5, 50_000: MAX_BINS}
    constant = Outcome(make_problem(), np.random.default_rng(0).normal(size=5000), np.ones(5000))
    assert fitted_on(constant).edges == ()
    rng = np.random.default_rng(0)
    few = Outcome(make_problem(), rng.normal(size=5000), rng.choice([0, 0, 0, 1, 2], 5000).astype(float))
    parted = fitted_on(few)
    assert parted.edges == (1.0, 2.0)
    assert all(tail.rows >= MIN_ROWS for tail in parted.below)


def test_what_is_stored_does_not_grow_with_the_table() -> None:
    intervals = fitted_on(values(200_000, 1))
    assert all(len(tail.scores) <= DEPTH for tail in intervals.below + intervals.above)
    assert len(to_json(intervals.model_dump(mode="json"))) < 500_000
    new = values(50_000, 2)
    held, _ = holds(intervals, new, 0.9)
    assert held.mean() == pytest.approx(0.9, abs=slack(0.9, 200_000, 50_000) + 0.001)


def test_rows_predicted_several_times_count_once() -> None:
    once = values(300, 1)
    rows = np.arange(300)
    thrice = Outcome(once.problem, np.tile(once.target, 3), np.tile(once.predicted, 3))
    assert fit_intervals(thrice, np.tile(rows, 3)) == fit_intervals(once, rows)
    rng = np.random.default_rng(0)
    noisy = replace(thrice, predicted=thrice.predicted + rng.normal(scale=0.1, size=900))
    held, _ = holds(fit_intervals(noisy, np.tile(rows, 3)), values(20_000, 2), 0.9)
    assert held.mean() == pytest.approx(0.9, abs=slack(0.9, 300, 20_000))
    few = fit_intervals(Outcome(once.problem, np.zeros(30), np.zeros(30)), np.repeat(np.arange(3), 10))
    assert few.below[0].rows == 3
    assert np.isinf(few.bounds(np.zeros(1), once.problem.target, 0.9)).all()


def test_an_interval_stays_in_the_targets_range() -> None:
    problem = make_problem(target={"name": "y", "type": "number", "range": [0, 5]})
    outcome = values(1000, 1, problem)
    ends = fitted_on(outcome).bounds(np.array([-3.0, 0.1, 4.9, 80.0]), problem.target, 0.99)
    assert ends.min() == 0
    assert ends.max() == 5
    assert (UNKNOWN.bounds(np.array([2.0]), problem.target) == [[0, 5]]).all()


@pytest.mark.parametrize("ends", [[0, None], [0, 50], [1, 50]])
@given(predicted=st.lists(st.floats(1, 50), min_size=1, max_size=5), level=LEVELS)
def test_a_log_target_has_its_intervals_on_the_log_scale(
    ends: list[Any], predicted: list[float], level: float
) -> None:
    problem = make_problem(target={"name": "y", "type": "number", "range": ends, "transform": "log"})
    rng = np.random.default_rng(0)
    known = rng.uniform(1, 40, 2000)
    spread = rng.normal(scale=0.2, size=2000)
    outcome = Outcome(problem, np.clip(np.expm1(np.log1p(known) + spread), 1, 50), known)
    low, high = fitted_on(outcome).bounds(np.array(predicted), problem.target, level).T
    assert np.isfinite(high).all()
    assert (ends[0] <= low).all()
    assert (low <= predicted).all()
    assert (predicted <= high).all()
    assert (high <= (ends[1] or np.inf)).all()
    narrow, wide = (np.ptp(fitted_on(outcome).bounds(np.array([at]), problem.target)) for at in (2.0, 20.0))
    assert 4 * narrow < wide


def test_without_enough_rows_an_end_is_open() -> None:
    outcome = values(30, 1)
    intervals, target = fitted_on(outcome), outcome.problem.target
    assert np.isfinite(intervals.bounds(np.ones(1), target, 0.9)).all()
    assert np.isinf(intervals.bounds(np.ones(1), target, 0.95)).all()
    assert np.isinf(UNKNOWN.bounds(np.ones(3), target, 0.5)).all()
    log = Target.model_validate({**PRICE, "transform": "log"})
    assert UNKNOWN.bounds(np.ones(1), log).tolist() == [[0, np.inf]]


def test_a_class_too_small_for_the_level_is_in_every_set() -> None:
    outcome = chances(400, 1, shares=(0.5, 0.49, 0.01))
    few = int((outcome.target == 2).sum())
    assert 1 <= few <= 8
    never = np.array([[0.999, 0.001, 0.0]])
    assert fitted_on(outcome).members(never, 0.9)[0, 2]
    assert not fitted_on(outcome).members(never, 0.5)[0, 1]
    absent = replace(outcome, target=np.minimum(outcome.target, 1))
    assert fitted_on(absent).members(never, LOWEST)[0, 2]
    assert UNKNOWN.members(never).all()


@pytest.mark.parametrize("level", [0.49, 0.995, 0, 1, 90, -1, np.nan])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    for ask in (UNKNOWN.members, lambda at, level: UNKNOWN.bounds(at[0], make_problem().target, level)):
        with pytest.raises(UserError, match=r"a number from 0\.5 to 0\.99, not"):
            ask(np.full((1, 3), 1 / 3), level)


def test_the_answer_is_in_its_set() -> None:
    outcome = chances(500, 1)
    labels = np.random.default_rng(0).integers(0, 3, 500)
    sets = fitted_on(outcome).sets(outcome.predicted, labels, LOWEST)
    assert sets[np.arange(500), labels].all()
    bare = fitted_on(outcome).members(outcome.predicted, LOWEST)
    assert (sets >= bare).all()
    assert (sets.sum(axis=1) - bare.sum(axis=1)).max() == 1


def test_coverage_is_measured_with_the_interval_of_its_share() -> None:
    for known, new in ((values(3000, 1), values(2000, 2)), (chances(3000, 1), chances(2000, 2))):
        found = measure(fitted_on(known), new, 0.95)
        assert [coverage.level for coverage in found] == list(SHOWN)
        for coverage in found:
            held, sizes = holds(fitted_on(known), new, coverage.level)
            assert coverage.held.value == held.mean()
            assert coverage.held.low < coverage.held.value < coverage.held.high
            assert coverage.size == pytest.approx(sizes.mean())
        assert all(one.size < other.size for one, other in pairwise(found) if one.size and other.size)
    # Ten of ten: by Wilson's formula the low end is n / (n + z^2).
    ten = Outcome(make_problem(), np.zeros(10), np.zeros(10))
    whole = measure(UNKNOWN, ten, 0.95)[0]
    assert whole.held.value == whole.held.high == 1
    assert whole.held.low == pytest.approx(10 / (10 + 1.959964**2))
    assert whole.size is None


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_a_bundle_answers_as_before_it_was_saved(task: Task, tmp_path: Path) -> None:
    case = make_case(task)
    fitted = calibrated(case)
    fitted.save(tmp_path)
    loaded = FittedModel.load(tmp_path)
    assert loaded.intervals == fitted.intervals
    assert read_json(tmp_path / INTERVALS)["classes"] == [
        tail.model_dump(mode="json") for tail in fitted.intervals.classes
    ]
    predictions = fitted.predict(case.table)
    one, two = fitted.columns(predictions, 0.8), loaded.columns(predictions, 0.8)
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))
    assert set(one) - set(fitted.columns(predictions)) == (
        {"_set"} if case.problem.classes else {"_low", "_high"}
    )


def calibrated(case: Case) -> FittedModel:
    """A model with the intervals of its out-of-fold predictions, as training makes it."""
    folds = make_folds(case.table, case.problem, 4, seed=0)
    _, table = cross_validate("one", settings("lightgbm"), case.rows, folds, seed=0, threads=1)
    model = fit_model(settings("lightgbm"), case.rows, seed=0, threads=1)
    intervals = fit_intervals(read_out_of_fold(table, case.problem), table["row"].to_numpy())
    return FittedModel(case.problem, case.state, model, intervals=intervals)


def test_a_models_intervals_hold_on_rows_it_has_not_seen() -> None:
    """From the table to the answer, on four tables, with the models of training."""
    held = []
    for seed in range(4):
        problem = make_problem()
        table, new = make_table(rows=800, seed=seed), make_table(rows=1000, seed=100 + seed)
        rows = TrainingRows.of(table, problem)
        fitted = calibrated(Case(problem, table, rows.state, rows))
        outcome = Outcome(problem, encode_target(new["y"], problem), fitted.predict(new))
        held.append(holds(fitted.intervals, outcome, 0.9)[0].mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
