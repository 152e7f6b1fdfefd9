"""Simulated traffic: what comes when, what a scenario does to it, and that a seed says it all."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Task
from millrace.errors import UserError
from millrace.features import encode_target
from millrace.prediction_log import FeedbackReader
from millrace.requests import RequestReader
from millrace.simulation import SCENARIOS, Plan, Traffic, World, make_world
from millrace.simulation.scenarios import another_law, fitting, pulse, ramp, step, wave
from millrace.simulation.traffic import Packet, rate
from millrace.sources import Source
from millrace.splitting import split
from tests.millrace.cases import FEATURES, TASKS, make_problem, make_table

SHARES = {"size": 0.6, "floor": 0.2, "kind": 0.1, "lift": 0.1, "built": 0.0}


def world(task: Task = "regression", **changes: Any) -> World:
    problem, table = make_problem(task, **changes), make_table(task)
    return World(problem, table, encode_target(table["y"], problem), SHARES)


def packets(scenario: str, task: Task = "regression", of: World | None = None, **told: Any) -> list[Packet]:
    plan = Plan(scenario=scenario, **{"weeks": 1, "rows": 200, "speed": 1e6, **told})
    return list(Traffic(of or world(task), plan).packets())


def sent(found: list[Packet]) -> pd.DataFrame:
    """All rows that are sent, with their moment's day and outcome."""
    parts = [
        pd.DataFrame(msgspec.json.decode(packet.body)["rows"]).assign(day=packet.day, y=packet.targets)
        for packet in found
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_service_takes_all_that_is_sent(task: Task, scenario: str) -> None:
    problem = make_problem(task)
    requests, feedback = RequestReader(problem), FeedbackReader(problem)
    found = packets(scenario, task)
    for packet in found:
        rows = len(requests.read(packet.body).matrix)
        assert rows == len(packet.targets) == len(packet.due) == len(packet.actual)
        told = [{"request": "r", "row": row, "actual": actual} for row, actual in enumerate(packet.actual)]
        outcomes = feedback.read(msgspec.json.encode({"outcomes": told}))
        assert encode_target([outcome.actual for outcome in outcomes], problem).tolist() == pytest.approx(
            packet.targets.tolist()
        )
    days = [packet.day for packet in found]
    assert days == sorted(days)
    assert days[-1] < 7
    # Poisson: within six standard deviations, and twenty times as many for a quarter of a day.
    spike = 19 * 0.25 * rate(np.array([2.5]), 200)[0] if scenario == "traffic_spike" else 0
    assert sum(len(packet.targets) for packet in found) == pytest.approx(1400 + spike, rel=0.25)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_seed_says_it_all_and_speed_only_what_goes_together(scenario: str) -> None:
    def told(**changes: Any) -> tuple[list[Any], list[Any], list[float]]:
        found = packets(scenario, weeks=0.3, **changes)
        rows = [row for packet in found for row in msgspec.json.decode(packet.body)["rows"]]
        outcomes = [actual for packet in found for actual in packet.actual]
        return rows, outcomes, [moment for packet in found for moment in packet.due.tolist()]

    first = told()
    assert told() == first
    assert told(speed=600) == first
    assert told(seed=1) != first
    assert len(packets(scenario, speed=600)) > len(packets(scenario))


def test_rows_come_by_day_and_on_weekdays() -> None:
    minutes = np.arange(7 * 1440) / 1440
    found = rate(minutes, 500)
    assert found.mean() == pytest.approx(500, rel=0.001)
    assert found.argmax() == 15 * 60
    hours = found.reshape(7, 24, 60).mean(axis=2)
    assert hours[0, 15] > 8 * hours[0, 3]
    assert np.allclose(found[: 5 * 1440].reshape(5, 1440), found[:1440])
    assert found[5 * 1440 :].sum() == pytest.approx(1.2 * found[:1440].sum())


def test_outcomes_are_late_and_a_share_never_comes() -> None:
    found = packets("no_drift", rows=2000, label_delay=3)
    delays = np.concatenate([packet.due - packet.day for packet in found])
    known = delays[np.isfinite(delays)]
    assert len(known) / len(delays) == pytest.approx(0.8, abs=0.02)
    assert known.mean() == pytest.approx(3, abs=0.1)
    assert known.min() >= 0


def test_changes_begin_when_they_should_and_touch_one_column_alone() -> None:
    quiet = sent(packets("no_drift", rows=1000))
    for scenario in ("sudden", "slow", "unit_change", "nulls", "frozen_sensor"):
        plan = Plan(scenario=scenario, weeks=1, drift_after=3)
        traffic = Traffic(world(), plan)
        now = sent(packets(scenario, rows=1000, drift_after=3))
        names = [name for name in FEATURES if name != traffic.column]
        pd.testing.assert_frame_equal(now[names], quiet[names])
        before = quiet["day"] < 3
        assert traffic.column is not None
        pd.testing.assert_frame_equal(now[before], quiet[before])
        assert not now[traffic.column].equals(quiet[traffic.column])
        if scenario not in ("sudden", "slow"):
            assert (now["y"] == quiet["y"]).all()


def test_what_happens_to_a_column() -> None:
    quiet = sent(packets("no_drift", rows=1000))
    later = quiet["day"] > 3
    size = quiet.loc[later, "size"]

    def column(scenario: str) -> "pd.Series[Any]":
        return sent(packets(scenario, rows=1000, drift_after=3)).loc[later, "size"]

    pd.testing.assert_series_equal(column("sudden"), size * 1.2)
    pd.testing.assert_series_equal(column("unit_change"), size / 10)
    grown = (column("slow") / size).dropna()
    assert grown.is_monotonic_increasing
    assert grown.iloc[0] < 1.01
    assert 1.19 < grown.iloc[-1] <= 1.2
    assert column("frozen_sensor").nunique(dropna=False) == 1
    assert column("nulls").isna().mean() == pytest.approx(1 - 0.9 * 2 / 3, abs=0.05)


def test_values_stay_in_their_range_and_are_counted() -> None:
    features = FEATURES | {"size": {"type": "number", "range": [-1, 1], "nullable": True}}
    problem = make_problem(features=features, target={"name": "y", "type": "number", "range": [-2, 2]})
    table = make_table()
    table = table[table["size"].abs().le(1) & table["y"].abs().le(2)].reset_index(drop=True)
    of = World(problem, table, encode_target(table["y"], problem), {"size": 1.0})
    # Of `size` too many would leave; `floor` has no range.
    assert fitting(1.2)(of) == "floor"
    found = packets("label_shift", of=of, drift_after=0)
    assert max(packet.targets.max() for packet in found) == 2
    raised = sum(packet.clipped for packet in found)
    assert raised == sum(int((packet.targets == 2).sum()) for packet in found) > 0
    assert sum(packet.clipped for packet in packets("no_drift", of=of)) == 0


def test_seasons_and_classes_are_drawn_more_often() -> None:
    now = sent(packets("seasonal", rows=2000))
    high, low = now["day"].between(1, 2.5), now["day"].between(4.5, 6)
    assert now.loc[high, "size"].mean() > 0.4
    assert now.loc[low, "size"].mean() < -0.4
    classes = sent(packets("label_shift", "multiclass", rows=2000, drift_after=3))
    before, after = classes["day"] < 3, classes["day"] > 3
    share = (classes.loc[before, "y"] == 2).mean()
    assert (classes.loc[after, "y"] == 2).mean() == pytest.approx(5 * share / (1 + 4 * share), abs=0.05)


@pytest.mark.parametrize("task", TASKS)
def test_the_other_law_can_be_learnt(task: Task) -> None:
    """A model of rows from before is much worse after; one that learns from rows after is good again."""
    from millrace.metrics import Outcome, losses
    from millrace.models import TrainingRows, fit_model
    from millrace.models.boosting import LightGBMSettings

    of = world(task)

    def drawn(scenario: str, seed: int) -> pd.DataFrame:
        found = sent(packets(scenario, task, rows=500, drift_after=0, seed=seed))
        target = of.problem.classes
        named = found["y"] if not target else found["y"].map(lambda code: target[int(code)])
        kind = {"regression": float, "binary": "boolean", "multiclass": object}[task]
        named = named.map({"true": True, "false": False}) if task == "binary" else named
        return found.assign(
            y=named.astype(kind), built=pd.to_datetime(found["built"]), lift=found["lift"].astype("boolean")
        )

    def loss(learnt: pd.DataFrame, asked: pd.DataFrame) -> float:
        rows, new = TrainingRows.of(learnt, of.problem), encode_target(asked["y"], of.problem)
        model = fit_model(LightGBMSettings(n_estimators=100), rows, seed=0, threads=1)
        predicted = model.predict(rows.state.transform(asked))
        return float(losses(Outcome(of.problem, new, predicted)).mean())

    before, after, held = drawn("no_drift", 0), drawn("sudden", 1), drawn("sudden", 2)
    assert loss(before, held) > 5 * loss(after, held)


@given(
    days=st.lists(st.floats(0, 27.9), min_size=1, max_size=20),
    begins=st.floats(0, 27),
)
def test_courses_are_shares(days: list[float], begins: float) -> None:
    moments = np.array(sorted(days))
    for course in (step, ramp, pulse):
        strength = course(moments, begins, 28.0)
        assert ((strength >= 0) & (strength <= 1)).all()
        assert not strength[moments < begins].any()
    assert (np.diff(ramp(moments, begins, 28.0)) >= 0).all()
    assert (np.abs(wave(moments, begins, 28.0)) <= 1).all()


@given(strength=st.floats(0, 1), seed=st.integers(0, 99))
def test_the_other_law_keeps_classes_and_is_gentle_at_first(strength: float, seed: int) -> None:
    of = world("multiclass")
    places = np.random.default_rng(seed).random(len(of.targets))
    found = another_law(of, of.targets, places, np.full(len(places), strength))
    assert set(found) <= {0.0, 1.0, 2.0}
    assert (found != of.targets).mean() == pytest.approx(
        ((places >= 0.5) & (places < 0.5 + strength / 4)).mean()
    )


def test_columns_are_chosen_by_importance_and_not_those_that_nobody_can_see() -> None:
    of = world(features=FEATURES | {"size": {"type": "number", "private": True, "nullable": True}})
    assert Traffic(of, Plan(scenario="sudden")).column == "floor"
    assert Traffic(of, Plan(scenario="nulls")).column == "kind"
    timed = world(
        features=FEATURES | {"size": {"type": "number"}},
        split={"by": "time", "column": "size"},
    )
    assert Traffic(timed, Plan(scenario="seasonal")).column == "floor"


def test_what_cannot_happen_is_a_sentence() -> None:
    solid = {name: {**about, "nullable": False} for name, about in FEATURES.items()}
    with pytest.raises(UserError, match="allows no nulls in any input"):
        Traffic(world(features=solid), Plan(scenario="nulls"))
    words = {name: FEATURES[name] for name in ("kind", "lift", "id")}
    with pytest.raises(UserError, match="has no number among its inputs"):
        Traffic(world(features=words), Plan(scenario="unit_change"))
    assert Traffic(world(features=words), Plan(scenario="frozen_sensor")).column == "kind"


def test_keys_that_are_numbers_go_as_text() -> None:
    problem = make_problem(features=FEATURES | {"id": {"type": "integer"}})
    table = make_table().assign(id=np.arange(240.0))
    found = packets("no_drift", of=World(problem, table, encode_target(table["y"], problem), SHARES))
    assert set(sent(found)["id"]) <= {str(number) for number in range(240)}


def test_rows_that_the_model_learnt_from_are_left_out(tmp_path: Path) -> None:
    problem, table = make_problem(), make_table()
    path = tmp_path / "homes.parquet"
    table.to_parquet(path)
    source = Source.model_validate(str(path))
    held, record = split(table, problem)[1:]
    of, told = make_world(problem, source, tmp_path, {"split": record.model_dump(), "importance": SHARES})
    pd.testing.assert_frame_equal(of.table[held.columns], held)
    assert told == f"the {len(held)} rows of {path} that the model has not learnt from"
    of, told = make_world(problem, source, tmp_path, {})
    assert len(of.table) == 240
    assert "also those that the model has learnt from" in told
    table.assign(size=1e6).to_parquet(path)
    with pytest.raises(UserError, match="no row keeps the contract of 'homes'"):
        make_world(problem, source, tmp_path, {})
