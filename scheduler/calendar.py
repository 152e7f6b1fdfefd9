"""The calendar: schedules that have come are queued, each once for all the moments that were missed.

APScheduler says when an expression comes. It is not asked to keep that: its store is a pickle, and it goes on
to the next moment also where handing the job over has failed. Here a moment's job and the next moment are one
transaction, and a moment is known by its name, so that none is queued twice, whatever clocks do.
"""

import logging
import sqlite3
from datetime import UTC, datetime, timedelta
from threading import Event

from apscheduler.triggers.cron import CronTrigger

from scheduler.orders import scheduled
from scheduler.queue import Planned, Queue
from scheduler.settings import Schedules, make_trigger

log = logging.getLogger("scheduler")
# How often the clock is looked at, which somebody may set.
LOOK = timedelta(seconds=5)
SHORTEST = timedelta(minutes=1)


class Calendar:
    """The enabled schedules of a file, each with its next moment in the queue's file."""

    def __init__(self, queue: Queue, settings: Schedules) -> None:
        self._queue = queue
        self._settings = settings
        self._triggers = {
            name: make_trigger(schedule.cron, settings.zone) for name, schedule in settings.enabled.items()
        }

    def plan(self, now: datetime) -> None:
        """Take over what the file says: new and changed schedules begin now, those not in it end."""
        before = self._queue.planned()
        planned = {}
        for name, trigger in self._triggers.items():
            cron = f"{self._settings.schedules[name].cron} {self._settings.time_zone}"
            known = before.get(name)
            if known is None or known.cron != cron:
                known = Planned(cron, _next(trigger, now).timestamp())
            planned[name] = known
        self._queue.plan(planned)

    def fire(self, now: datetime) -> datetime | None:
        """Queue what has come; return when the next will come."""
        soonest = None
        for name, planned in self._queue.planned().items():
            trigger = self._triggers[name]
            due, coming = datetime.fromtimestamp(planned.next, UTC), _next(trigger, now)
            if due > now and due > coming:
                # Planned under a clock that has been put back since, perhaps by years.
                due = coming
                self._queue.move(name, due.timestamp())
            if due <= now:
                moment = _last(trigger, due, now)
                due = _after(trigger, moment)
                order = scheduled(name, self._settings.schedules[name], moment, self._settings.zone)
                taken, job = self._queue.fire(order, due.timestamp(), now.timestamp())
                if taken != "repeated":
                    log.info("%s has come: job %d %s", name, job, taken)
            soonest = min(due, soonest or due)
        return soonest

    def run(self, stop: Event, awake: Event) -> None:
        """Queue what comes until it is told to stop; `awake` is set when there is something to run."""
        pause, told = 0.0, False
        while not stop.wait(pause):
            now, pause = datetime.now(UTC), LOOK.total_seconds()
            try:
                soonest = self.fire(now)
            except sqlite3.Error as error:
                if not told:
                    log.error("The queue cannot be written: %s; the calendar waits.", error)
                told = True
                continue
            told = False
            awake.set()
            if soonest is not None:
                pause = min(max((soonest - datetime.now(UTC)).total_seconds(), 0.0), pause)


def _next(trigger: CronTrigger, after: datetime) -> datetime:
    """The first moment that is not before another one."""
    found: datetime | None = trigger.get_next_fire_time(None, after)
    assert found is not None  # expressions that never come are refused
    return found.astimezone(UTC)


def _after(trigger: CronTrigger, moment: datetime) -> datetime:
    return _next(trigger, moment + timedelta(microseconds=1))


def _last(trigger: CronTrigger, first: datetime, now: datetime) -> datetime:
    """The last moment from `first`, which is one, to now; after any absence it takes few steps."""
    span = SHORTEST
    while now - span > first and _next(trigger, now - span) > now:
        span *= 2
    moment = _next(trigger, now - span) if now - span > first else first
    while (later := _after(trigger, moment)) <= now:
        moment = later
    return moment
