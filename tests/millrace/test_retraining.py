"""When a retraining is made, of which rows, and which of them it is judged on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import Bundle
from millrace.casting import UNREADABLE
from millrace.cleaning import clean
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.retraining import (
    Attempt,
    Kind,
    Labelled,
    RetrainingSettings,
    Trigger,
    admit,
    enough_of_the_source,
    fresh_rows,
    labelled_rows,
    resumed,
)
from millrace.retraining.settings import Rows
from millrace.splitting import only_recent, split
from tests.millrace.cases import FEATURES, make_problem, make_table
from tests.millrace.watched import Service, make_bundle

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SETTINGS = RetrainingSettings(min_rows=50)
HOUR = timedelta(hours=1)


def trigger(kind: Kind = "drift", cause: str | None = "a@1", asked: datetime = NOW) -> Trigger:
    return Trigger(kind=kind, reason="prices have risen", cause=cause, asked=asked)


def attempt(hours: float, status: str = "completed", **about: Any) -> Attempt:
    """One that began so many hours ago, and took one."""
    began = NOW - hours * HOUR
    ended = None if status == "running" else began + HOUR
    return Attempt(f"run-{hours:g}", trigger(**about, asked=began), began, ended, status)


def test_the_first_trigger_makes_a_run() -> None:
    assert admit(trigger(), [], SETTINGS) is None


def test_a_cause_is_dealt_with_once_whoever_asks() -> None:
    done = [attempt(100, cause="a@1"), attempt(200, cause="b@1")]
    for kind in ("drift", "person"):
        why = admit(trigger(kind), done, SETTINGS)  # type: ignore[arg-type]
        assert why == "The cause a@1 has been dealt with, by run-100."
    assert admit(trigger(cause="a@2"), done, SETTINGS) is None
    assert admit(trigger(cause=None), done, SETTINGS) is None
    # What has failed was not dealt with.
    assert admit(trigger(), [attempt(100, "failed", cause="a@1")], SETTINGS) is None


def test_after_a_retraining_the_next_one_waits_but_for_a_person() -> None:
    past = [attempt(6.5, cause="b@1")]
    why = admit(trigger(), past, SETTINGS)
    assert why is not None
    assert why.startswith(
        "Cooling down until 2026-03-02 00:30 UTC: the last retraining ended less than 6h ago."
    )
    assert admit(trigger("person"), past, SETTINGS) is None
    assert admit(trigger(asked=NOW + HOUR), past, SETTINGS) is None
    # One that came to nothing has changed nothing.
    assert admit(trigger(), [attempt(6.5, "failed", cause="b@1")], SETTINGS) is None


def test_a_budget_counts_every_attempt_of_its_time() -> None:
    past = [attempt(10 + 24 * day, "failed", cause=f"{day}@1") for day in range(4)]
    why = admit(trigger(), past, SETTINGS)
    assert why is not None
    assert why.startswith("The budget is spent: 4 retrainings within 7d, 4 are allowed (budget.runs).")
    assert admit(trigger("person"), past, SETTINGS) is None
    assert admit(trigger(), past[1:], SETTINGS) is None
    assert admit(trigger(asked=NOW + timedelta(days=4)), past, SETTINGS) is None
    # Those of one cause are one, and a cause that was begun may go on.
    assert admit(trigger(), [attempt(hours, "failed", cause="b@1") for hours in range(9)], SETTINGS) is None
    assert admit(trigger(cause="2@1"), past, SETTINGS) is None


@given(st.lists(st.tuples(st.floats(0, 400), st.sampled_from(["completed", "failed"])), max_size=30))
def test_no_history_lets_retrainings_follow_one_another_too_closely(history: list[tuple[float, str]]) -> None:
    past = [attempt(hours, status, cause=f"{i}@1") for i, (hours, status) in enumerate(history)]
    if admit(trigger(), past, SETTINGS) is None:
        ends = [each.ended for each in past if each.status == "completed" and each.ended]
        assert all(end <= NOW - 6 * HOUR for end in ends)
        assert sum(each.started > NOW - timedelta(days=7) for each in past) < 4


def test_the_same_cause_goes_on_with_the_rows_that_it_began_with() -> None:
    begun = [attempt(2, "failed", cause="a@1"), attempt(1, "failed", cause="a@1"), attempt(3, cause="b@1")]
    assert resumed(trigger(), begun).asked == NOW - HOUR
    assert resumed(trigger(cause="c@1"), begun) == trigger(cause="c@1")
    assert resumed(trigger(cause=None), begun) == trigger(cause=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": "3 days"},
        {"cool_down": "6h "},
        {"cool_down": "999999w"},
        {"budget": {"runs": 0}},
        {"log": "sqlite://x"},
        {"row": 1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetrainingSettings.model_validate(wrong)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(params=["sqlite", "parquet"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db" if request.param == "sqlite" else f"{tmp_path}/log"


def bronze(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{UNREADABLE: None})


def test_what_is_known_of_the_log_comes_as_the_contract_has_it(bundle: Bundle, uri: str) -> None:
    service, problem = Service(bundle, uri), bundle.problem
    table = make_table(rows=100, seed=3)
    at = (NOW - HOUR).timestamp()
    service.answer(table, at)
    service.learn(table["y"][:80], at + 60)
    # In the shadow, too late, too early, and once more with other values.
    service.answer(table, at, "s", variant="shadow")
    service.answer(make_table(rows=5, seed=4), NOW.timestamp(), "late")
    service.answer(make_table(rows=5, seed=5), (NOW - 48 * HOUR).timestamp(), "early")
    moved = table[:10].assign(size=50.0)
    service.answer(moved, at + 5, "again")
    for name, rows in {"s": table["y"], "late": range(5), "early": range(5), "again": moved["y"]}.items():
        service.learn(list(rows), at + 70, name)
    service.close()
    found = labelled_rows(uri, problem, NOW - 24 * HOUR, NOW)
    assert found.unfit == 0
    expected = pd.concat([moved, table[10:80]]).sort_values("id")[list(problem.columns)]
    got = found.table.sort_values("id")[list(problem.columns)]
    pd.testing.assert_frame_equal(
        got.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False
    )


def test_rows_that_break_the_contract_of_today_are_counted_and_left_out(bundle: Bundle, uri: str) -> None:
    service, table = Service(bundle, uri), make_table(rows=60, seed=3)
    service.answer(table, (NOW - HOUR).timestamp())
    service.learn(table["y"], NOW.timestamp())
    service.close()
    # A column that the log's rows could not have.
    since = make_problem(features={**FEATURES, "heat": {"type": "number"}})
    found = labelled_rows(uri, since, NOW - 24 * HOUR, NOW)
    assert (len(found.table), found.unfit) == (0, 60)


def test_a_log_without_what_a_model_learns_from_is_no_source(bundle: Bundle, uri: str) -> None:
    private = make_problem(features={**FEATURES, "floor": {"type": "integer", "private": True}})
    with pytest.raises(UserError, match=r"its column 'floor' is private.*--set rows=all"):
        labelled_rows(uri, private, NOW - 24 * HOUR, NOW)
    with pytest.raises(UserError, match="no prediction log"):
        labelled_rows(uri, bundle.problem, NOW - 24 * HOUR, NOW)


def fresh(
    rows: Rows, kind: Kind = "drift", logged: int = 60, problem: Problem | None = None, **changes: Any
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    source = bronze(make_table(rows=200))
    log = make_table(rows=logged, seed=7)
    log["id"] = [f"home {i}" for i in range(190, 190 + logged)]
    chosen = SETTINGS.model_copy(update={"rows": rows, **changes})
    made = fresh_rows(source, Labelled(log, 3), problem or make_problem(), trigger(kind), chosen)
    return made.bronze, made.recent, made.told


def test_the_source_alone_knows_no_recent_rows() -> None:
    table, recent, told = fresh("all")
    assert (len(table), len(recent), told) == (200, 0, "200 rows of the source")


def test_of_a_key_the_log_knows_more_than_the_source() -> None:
    table, recent, told = fresh("labelled")
    assert (len(table), len(recent)) == (250, 60)
    assert told == "190 rows of the source, 60 of the log since 2025-12-02 00:00 UTC"
    cleaned = clean(table, make_problem(), bad_rows_limit=0)
    assert cleaned.counts.used == 250
    [row] = cleaned.silver[cleaned.silver["id"] == "home 195"].to_dict("records")
    assert row["y"] == make_table(rows=60, seed=7)["y"][5]


def test_without_a_key_all_rows_are_taken() -> None:
    without = {name: column for name, column in FEATURES.items() if name != "id"}
    table, recent, _ = fresh("labelled", problem=make_problem(key=None, features=without))
    assert (len(table), len(recent)) == (260, 60)


def test_a_window_has_what_is_recent_wherever_it_is_from() -> None:
    table, recent, told = fresh("window")
    # All are recent, so all that are held out judge.
    assert (len(table), len(recent)) == (60, 0)
    assert told.startswith("0 rows of the source, 60 of the log")
    features = {**FEATURES, "built": {"type": "datetime"}}
    dated = make_problem(features=features, split={"by": "time", "column": "built"})
    table, _, _ = fresh("window", problem=dated, window="6000d")
    source = make_table(rows=200)
    recent_ones = source["built"] >= pd.Timestamp(NOW - timedelta(days=6000)).tz_localize(None)
    known = source["id"].isin([f"home {i}" for i in range(190, 250)])
    assert 0 < (recent_ones & ~known).sum() < 200
    assert len(table) == 60 + (recent_ones & ~known).sum()


@pytest.mark.parametrize(
    ("rows", "kind"), [("labelled", "drift"), ("labelled", "decay"), ("window", "calendar")]
)
def test_where_only_recent_rows_help_there_must_be_some(rows: Rows, kind: Kind) -> None:
    with pytest.raises(
        UserError, match=r"Only 49 rows since 2025-12-02 00:00 UTC have an outcome \(3 more break"
    ):
        fresh(rows, kind, logged=49)


def test_for_other_triggers_a_few_rows_of_the_log_are_left_out() -> None:
    table, recent, told = fresh("labelled", "calendar", logged=49)
    assert (len(table), len(recent)) == (200, 0)
    assert told == "200 rows of the source; 49 of the log are too few to add"


def test_a_source_that_has_lost_rows_teaches_nobody() -> None:
    enough_of_the_source(90, 100, SETTINGS)
    with pytest.raises(UserError, match=r"has 89 rows, and had 100 when the champion was trained.*min_share"):
        enough_of_the_source(89, 100, SETTINGS)


def test_a_model_is_judged_on_recent_rows_that_nobody_has_learnt_from() -> None:
    problem = make_problem()
    old, new = make_table(rows=400), make_table(rows=300, seed=7)
    new["id"] = [f"new {i}" for i in range(300)]
    table = pd.concat([old, new], ignore_index=True)
    training, held, record = split(table, problem)
    recent, narrowed = only_recent(held, record, new, problem)
    assert set(recent["id"]) == set(held["id"]) & set(new["id"])
    assert (narrowed.holdout_rows, narrowed.training_rows) == (len(recent), len(training))
    # The record is true of every row: what it says was held out was not learnt from.
    assert not narrowed.held_out(training, problem).any()
    assert narrowed.held_out(held, problem).all()
    assert narrowed.sentence(problem) == "what is recent of 20% of the rows, by the hash of each"
    assert only_recent(held, record, new[:0], problem) == (held, record)
    with pytest.raises(UserError, match=r"Only \d+ of 40 recent rows are held out, 30 are needed"):
        only_recent(held, record, new[:40], problem)
