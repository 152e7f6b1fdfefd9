"""The verdict: false alarms as rare as they are asked to be, and what changes is found and named."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from millrace.contract import Task
from millrace.metrics import Outcome, losses
from millrace.monitoring import Baseline, performance
from millrace.monitoring.calibration import calibrate
from millrace.monitoring.judging import judge, judge_calibrated
from millrace.monitoring.performance import chance, decay, estimate, perform
from tests.millrace.cases import TASKS, make_fitted
from tests.millrace.watched import EVEN, QUICK, answered, make_baseline, tallied

ROWS = 300


def drifted(baseline: Baseline, table: pd.DataFrame) -> set[str]:
    verdict = judge(baseline, tallied(baseline, table), QUICK)
    found = {column.name for column in verdict.columns if column.reasons}
    assert verdict.status == ("drift" if found else "no drift")
    assert all((column.score or 0) > 1 for column in verdict.columns if column.reasons)
    assert all((column.score or 0) <= 1 for column in verdict.columns if not column.reasons)
    assert all(name in verdict.why for name in found)
    return found


@pytest.mark.parametrize("rows", [120, 1500])
def test_windows_without_drift_are_called_drifted_no_oftener_than_asked(rows: int) -> None:
    fitted, rate, alarms, windows = make_fitted("regression", "lightgbm"), 0.05, 0, 0
    for seed in range(30):
        # Another reference each time: the one there is has its chance in it, too.
        baseline = make_baseline(rows=200, seed=1000 + seed)
        calibration = calibrate(baseline.columns, rows, false_alarms=rate, draws=400, seed=seed)
        for number in range(4):
            window = answered(fitted, rows, seed=2000 + 10 * seed + number)
            alarms += judge_calibrated(baseline, tallied(baseline, window), calibration).status == "drift"
            windows += 1
    assert alarms <= stats.binom.ppf(0.99, windows, rate)


CHANGES: dict[str, Any] = {
    "size": lambda table: table.assign(size=table["size"] * 1.6 + 0.3),
    "floor": lambda table: table.assign(floor=table["floor"].where(table.index % 3 > 0)),
    "kind": lambda table: table.assign(kind=table["kind"].where(table.index % 3 > 0, "boat")),
    "lift": lambda table: table.assign(lift=table["lift"].where(table.index % 2 > 0, True)),
    "built": lambda table: table.assign(built=table["built"] + pd.Timedelta(2500, "D")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_column_that_changed_is_named_and_no_other(name: str) -> None:
    baseline = make_baseline()
    table = answered(make_fitted("regression", "lightgbm"), ROWS, seed=5)
    assert drifted(baseline, table) == set()
    assert drifted(baseline, CHANGES[name](table)) == {name}


@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_watched_too(task: Task) -> None:
    baseline = make_baseline(task)
    table = answered(make_fitted(task, "lightgbm"), ROWS, seed=5)
    one = table.iloc[[int(np.argmax(table.index == 0))] * ROWS].reset_index(drop=True)
    answers = [name for name in table if name.startswith("_pr")]
    assert drifted(baseline, table) == set()
    assert drifted(baseline, table.assign(**one[answers])) == {"prediction"}


def test_what_breaks_is_told_by_its_reason() -> None:
    baseline = make_baseline()
    table = answered(make_fitted("regression", "lightgbm"), ROWS, seed=5)
    gone = judge(baseline, tallied(baseline, CHANGES["floor"](table)), QUICK)
    assert "33.33% missing, before 0.00%" in gone.why
    strange = table.assign(kind=table["kind"].where(table.index % 10 > 0, "castle"))
    assert "kind: 10.00% not in the contract" in judge(baseline, tallied(baseline, strange), QUICK).why
    nothing = table.assign(**dict.fromkeys(("kind",)), size=np.nan)
    assert drifted(baseline, nothing) == {"kind", "size"}


def test_an_important_column_is_nearer_to_an_alarm() -> None:
    fitted = make_fitted("regression", "lightgbm")
    sample, window = answered(fitted, 400, seed=1), answered(fitted, ROWS, seed=5)
    window["size"] += 0.15
    scores = []
    for share in (0.0, 0.9):
        importance = dict.fromkeys(EVEN, (1 - share) / 4) | {"size": share}
        baseline = Baseline.from_sample(fitted.problem, sample, importance)
        verdict = judge(baseline, tallied(baseline, window), QUICK)
        scores.append(next(column.score for column in verdict.columns if column.name == "size"))
    assert scores[1] > scores[0] > 0


def test_too_few_rows_are_no_verdict() -> None:
    fitted, baseline = make_fitted("regression", "lightgbm"), make_baseline()
    strange = answered(fitted, 99, seed=5).assign(size=99.0)
    few = judge(baseline, tallied(baseline, strange), QUICK)
    assert (few.status, few.score, few.p_value) == ("not enough data", None, None)
    assert few.why == "The window has 99 rows; a verdict takes 100."
    assert {column.score for column in few.columns} == {None}
    empty = judge(baseline, tallied(baseline, strange[:0]), QUICK)
    assert (empty.status, empty.columns) == ("not enough data", ())
    small = make_baseline(rows=30)
    assert judge(small, tallied(small, answered(fitted, 500, seed=5)), QUICK).why == (
        "The bundle's reference has 30 rows; a verdict takes 100."
    )


def outcome(rows: int, seed: int, task: Task = "regression") -> Outcome:
    fitted = make_fitted(task, "lightgbm")
    return Baseline.from_sample(fitted.problem, answered(fitted, rows, seed), EVEN).outcome


@pytest.mark.parametrize("task", TASKS)
def test_decay_is_worse_than_chance_and_nothing_else(task: Task) -> None:
    baseline = make_baseline(task)
    rng = np.random.default_rng(0)
    risen = chance(baseline, ROWS, QUICK)
    steady = [decay(risen, baseline, outcome(ROWS, seed, task), 0.05)[0] for seed in range(20, 60)]
    assert sum(steady) <= stats.binom.ppf(0.99, len(steady), 0.05)
    good = outcome(ROWS, 7, task)
    # Outcomes that have nothing to do with the rows any more.
    bad = Outcome(good.problem, rng.permutation(good.target), good.predicted, good.threshold)
    found = perform(baseline, {}, bad, good.predicted, QUICK)
    assert found.status == "decay"
    assert found.why.endswith("a difference beyond chance.")
    assert found.p_value == pytest.approx(1 / 401)
    name = found.metric_name
    assert found.metrics[name].low <= found.metrics[name].value <= found.metrics[name].high
    # The estimate knows predictions only, and they are what they were.
    assert found.estimate is not None
    before = perform(baseline, {}, good, good.predicted, QUICK)
    assert found.estimate == before.estimate
    assert before.status == "no decay"


def test_the_estimate_follows_what_is_predicted() -> None:
    """Rows with other predictions have another estimate: near the truth."""
    rng = np.random.default_rng(0)

    def noisy(low: float, rows: int) -> Outcome:
        predicted = rng.uniform(low, 10, rows)
        return Outcome(make_baseline().problem, predicted + rng.normal(size=rows) * predicted, predicted)

    reference, window = noisy(0, 2000), noisy(8, 2000)
    true = float(np.sqrt(losses(window).mean()))
    found = estimate(reference, window.predicted, QUICK)
    assert found.low < true < found.high
    assert found.low > float(np.sqrt(losses(reference).mean()))


def test_intervals_of_many_rows_are_as_narrow_as_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, many = make_baseline(), outcome(4_000, 7)
    exact = perform(baseline, {}, many, many.predicted, QUICK).metrics
    monkeypatch.setattr(performance, "RESAMPLED", 1_000)
    scaled = perform(baseline, {}, many, many.predicted, QUICK).metrics
    for name, interval in exact.items():
        assert scaled[name].value == interval.value
        width = scaled[name].high - scaled[name].low
        assert width == pytest.approx(interval.high - interval.low, rel=0.4)


def test_few_outcomes_are_no_verdict_but_are_shown() -> None:
    baseline = make_baseline()
    few = outcome(40, 7)
    found = perform(baseline, {}, few, few.predicted, QUICK)
    assert (found.status, found.p_value, found.estimate) == ("not enough data", None, None)
    assert found.why == "The window has 40 outcomes of judged rows; a verdict takes 100."
    assert set(found.metrics) == {"rmse", "mae", "r2"}
    none = Outcome(few.problem, few.target[:0], few.predicted[:0])
    nothing = perform(baseline, {}, none, few.predicted, QUICK)
    assert (nothing.status, nothing.metrics) == ("not enough data", {})
