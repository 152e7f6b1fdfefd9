"""What comes when: no moment twice, and none lost but those that a later one stands for."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.calendar import Calendar
from scheduler.queue import Queue
from scheduler.settings import Schedule, Schedules
from tests.scheduler.running import QUICK, Running

START = datetime(2026, 11, 26, 8, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make(cron: str = "0 * * * *", zone: str = "UTC", **changed: str) -> Schedules:
    """A file with one schedule."""
    told = {"pipeline": "monitoring", "problem": "iris", **changed}
    return Schedules(time_zone=zone, schedules={"watch": Schedule.model_validate({"cron": cron, **told})})


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue.db")


def opened(queue: Queue, schedules: Schedules, now: datetime) -> Calendar:
    """The calendar of a scheduler that starts now."""
    calendar = Calendar(queue, schedules)
    calendar.plan(now)
    return calendar


def causes(queue: Queue) -> list[str]:
    """Of all jobs, in the order in which they came."""
    return [
        cause
        for state in ("ended", "waiting")
        for job in queue.jobs(state)
        for cause, _ in queue.causes(job.id)
    ]


def finish(queue: Queue) -> None:
    """Let all that waits have run."""
    while (job := queue.take(1e12, 0)) is not None:
        queue.end(job.id, "done", "", 0)


def test_nothing_runs_before_it_comes_and_each_moment_runs_once(queue: Queue) -> None:
    calendar = opened(queue, make(), START)
    assert calendar.fire(START) == START.replace(hour=9, second=0)
    assert causes(queue) == []
    for seconds in (0, 0, 1, 59):
        assert calendar.fire(datetime(2026, 11, 26, 9, 0, seconds, tzinfo=UTC)) == START.replace(
            hour=10, second=0
        )
    assert causes(queue) == ["watch@2026-11-26T09:00+0000[UTC]"]
    [job] = queue.jobs("waiting")
    assert job.arguments == ("--pipeline=monitoring", "--problem=iris", "--stack=local")


def test_after_downtime_it_runs_once_and_not_again_at_the_next_start(queue: Queue) -> None:
    opened(queue, make(), START)
    later = START + timedelta(days=3, hours=2)
    opened(queue, make(), later).fire(later)
    assert causes(queue) == ["watch@2026-11-29T10:00+0000[UTC]"]
    opened(queue, make(), later).fire(later)
    assert len(causes(queue)) == 1


def test_years_of_downtime_take_no_time(queue: Queue) -> None:
    opened(queue, make("* * * * *"), datetime(1970, 1, 1, tzinfo=UTC))
    opened(queue, make("* * * * *"), START).fire(START)
    assert causes(queue) == ["watch@2026-11-26T08:00+0000[UTC]"]


def test_one_that_still_waits_stands_for_the_next(queue: Queue) -> None:
    calendar = opened(queue, make(), START)
    for hours in (1, 2, 3):
        calendar.fire(START + hours * HOUR)
    assert len(queue.jobs("waiting")) == 1
    finish(queue)
    calendar.fire(START + 4 * HOUR)
    assert len(queue.jobs("waiting")) == 1


def test_a_changed_schedule_is_changed_and_not_run_twice(queue: Queue) -> None:
    opened(queue, make(), START).fire(START + HOUR)
    finish(queue)
    # Twice an hour from now on: not the moment that was run, nor the half hour before the change.
    changed = opened(queue, make("*/30 * * * *"), START + 1.8 * HOUR)
    changed.fire(START + 1.8 * HOUR)
    assert causes(queue) == ["watch@2026-11-26T09:00+0000[UTC]"]
    changed.fire(START + 2 * HOUR)
    changed.fire(START + 2.5 * HOUR)
    assert causes(queue)[1:] == ["watch@2026-11-26T10:00+0000[UTC]", "watch@2026-11-26T10:30+0000[UTC]"]


def test_another_command_changes_nothing_of_when(queue: Queue) -> None:
    opened(queue, make(), START)
    later = START + HOUR
    opened(queue, make(problem="breast_cancer"), later).fire(later)
    [job] = queue.jobs("waiting")
    assert "--problem=breast_cancer" in job.arguments


def test_a_schedule_that_is_taken_out_or_off_is_gone(queue: Queue) -> None:
    opened(queue, make(), START)
    assert list(queue.planned()) == ["watch"]
    opened(queue, Schedules(), START)
    assert queue.planned() == {}
    off = Schedule(cron="0 * * * *", pipeline="monitoring", problem="iris", enabled=False)
    calendar = opened(queue, Schedules(schedules={"watch": off}), START)
    assert calendar.fire(START + HOUR) is None
    # Back again, it does not make up for the time when it was not there.
    opened(queue, make(), START + 5 * HOUR).fire(START + 5 * HOUR)
    assert causes(queue) == []


def test_a_clock_put_back_and_forward_runs_no_moment_twice_and_stops_nothing(queue: Queue) -> None:
    calendar = opened(queue, make(), START)
    calendar.fire(START + HOUR)
    finish(queue)
    # By mistake far ahead, and right again.
    calendar.fire(START + timedelta(days=3000))
    finish(queue)
    assert len(causes(queue)) == 2
    assert calendar.fire(START + 1.2 * HOUR) == START.replace(hour=10, second=0)
    calendar.fire(START + 0.9 * HOUR)
    calendar.fire(START + HOUR)
    assert len(causes(queue)) == 2
    calendar.fire(START + 2 * HOUR)
    assert causes(queue)[2:] == ["watch@2026-11-26T10:00+0000[UTC]"]


def test_hours_of_summer_time(queue: Queue) -> None:
    """At 2:30 in Vienna, on the night when it is twice 2:30, and on that when it never is."""
    calendar = opened(queue, make("30 2 * * *", "Europe/Vienna"), datetime(2026, 10, 24, 12, tzinfo=UTC))
    for day in (datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2027, 3, 27, 12, tzinfo=UTC)):
        calendar.plan(day)
        for half_hours in range(96):
            calendar.fire(day + half_hours * timedelta(minutes=30))
            finish(queue)
    nights = [cause for cause in causes(queue) if "-10-25T" in cause or "-03-28T" in cause]
    assert nights == ["watch@2026-10-25T02:30[Europe/Vienna]", "watch@2027-03-28T03:30[Europe/Vienna]"]
    # What comes every hour comes in both.
    opened(queue, Schedules(), datetime(2026, 10, 24, tzinfo=UTC))
    calendar = opened(queue, make(zone="Europe/Vienna"), datetime(2026, 10, 25, tzinfo=UTC))
    for half_hours in range(4):
        calendar.fire(datetime(2026, 10, 25, tzinfo=UTC) + half_hours * timedelta(minutes=30))
        finish(queue)
    assert causes(queue)[-2:] == [
        f"watch@2026-10-25T02:00{offset}[Europe/Vienna]" for offset in ("+0200", "+0100")
    ]


def test_each_night_writes_a_folder_of_its_own(queue: Queue) -> None:
    inputs = {"pipeline": "inference", "input": "rows/*.parquet", "output": "scores-{date}"}
    calendar = opened(queue, make("30 23 * * *", "Asia/Tokyo", **inputs), START)
    for days in (1, 2):
        calendar.fire(START + timedelta(days=days))
    # Two jobs, though the first still waits: they are not the same. Dates are those of the file's zone.
    outputs = [job.arguments[-1] for job in queue.jobs("waiting")]
    assert outputs == ["--output=scores-2026-11-26", "--output=scores-2026-11-27"]


def test_retrainings_are_told_why_and_join_those_of_alerts(queue: Queue) -> None:
    calendar = opened(queue, make("0 3 * * sun", "Europe/Vienna", pipeline="retraining"), START)
    calendar.fire(START + timedelta(days=3))
    [job] = queue.jobs("waiting")
    assert job.told
    assert job.arguments[-1] == "--trigger=calendar"
    assert queue.causes(job.id) == [
        ("watch@2026-11-29T03:00[Europe/Vienna]", "watch, 2026-11-29 03:00 (Europe/Vienna)")
    ]


def test_what_cannot_be_queued_has_not_come_yet(queue: Queue, tmp_path: Path) -> None:
    calendar = opened(queue, make(), START)
    with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            calendar.fire(START + HOUR)
    calendar.fire(START + HOUR)
    assert causes(queue) == ["watch@2026-11-26T09:00+0000[UTC]"]


STEP = st.tuples(st.integers(-200, 400), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_any_course_of_a_clock(course: list[tuple[int, bool, bool]]) -> None:
    """Whatever is set, started anew and run meanwhile: no moment twice, and the last that came is there."""
    for queue in fresh():
        before = now = START
        calendar = opened(queue, make(), now)
        for minutes, restarts, finishes in course:
            before, now = now, now + timedelta(minutes=minutes)
            if restarts:
                calendar = opened(queue, make(), now)
            coming = calendar.fire(now)
            assert coming is not None
            assert now < coming <= now + HOUR
            if finishes:
                finish(queue)
            last = now.replace(minute=0, second=0)
            assert last <= before or f"watch@{last:%Y-%m-%dT%H:%M%z}[UTC]" in causes(queue)
        found = causes(queue)
        assert len(found) == len(set(found))


def fresh() -> Iterator[Queue]:
    """A queue of its own for each example."""
    with tempfile.TemporaryDirectory() as folder:
        yield Queue(Path(folder) / "queue.db")


def test_a_scheduler_that_was_down_runs_it_once_when_it_is_back(scheduler: Running) -> None:
    scheduler.settings = {**QUICK, "schedules": make("0 4 1 1 *").model_dump()["schedules"]}
    settings = Schedules.model_validate(scheduler.settings)
    opened(scheduler.queue, settings, datetime(2020, 5, 1, tzinfo=UTC))
    scheduler.start()
    [job] = scheduler.ended()
    assert (job.name, job.outcome) == ("watch", "done")
    assert scheduler.stop() == 0
    scheduler.start()
    assert scheduler.stop() == 0
    assert len(scheduler.calls) == 1
