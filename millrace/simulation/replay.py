"""Plays traffic to a service in simulated time, and keeps what came of it, day by day."""

import heapq
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from math import isfinite
from typing import Any

import numpy as np

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.metrics import PRIMARY, Floats, Outcome, from_mean_loss, losses
from millrace.simulation.plan import Plan
from millrace.simulation.service import Answer, Service
from millrace.simulation.traffic import Packet, Traffic, as_predicted
from millrace.strict import Strict

# Outcomes that are told in one request at most.
TOLD_AT_ONCE = 1000
SECONDS = 86_400
# An event's name, the simulated day it is of, and what else is to be said.
Tell = Callable[[str, float, dict[str, Any]], None]


class DayReport(Strict):
    """What came of the rows of a simulated day.

    `strength` is the scenario's, the mean over the requests. `rows` were answered, in `requests`, by which
    `versions`. `metric` is the primary one of all answered rows beside what is true of them, whether or not
    that has been told yet; `outcomes` are those told in the course of the day. `clipped` values had left the
    contract's range.
    """

    day: int
    strength: float
    requests: int
    rows: int
    refused: int
    outcomes: int
    clipped: int
    metric: float | None
    p50_ms: float | None
    p99_ms: float | None
    versions: dict[str, int]


class Replay(Strict):
    """A simulation that has ended: by itself, `stopped` by a person, or by a `fault`.

    `column` is what the scenario was about, if it was about one. `refused` counts rows of requests that got
    no prediction, `statuses` such requests, of feedback too, by HTTP status; `refusal` is the first one's own
    words. `waiting` outcomes were not due before the end. `late` is by how many seconds the traffic was
    behind its time at most, `away` how often the service was waited for, and `waited` the seconds.
    """

    problem: str
    plan: Plan
    url: str
    column: str | None
    replayed: str
    metric_name: str
    began: datetime
    drift_began: datetime | None
    days: tuple[DayReport, ...]
    rows: int
    refused: int
    outcomes: int
    outcomes_refused: int
    waiting: int
    statuses: dict[str, int]
    refusal: str | None
    late: float
    away: int
    waited: float
    stopped: bool
    fault: str | None
    seconds: float


def replay(traffic: Traffic, service: Service, replayed: str, tell: Tell) -> Replay:
    """Play all of it; stopped by Ctrl-C, or when the service stays away, what has been so far.

    `replayed` says which rows these are. `tell` hears of `start`, `drift_begins`, each `version` that answers
    for the first time, the end of each `day`, and the `end`.
    """
    player = _Player(traffic, service, tell)
    stopped, fault = False, None
    try:
        player.play()
    except KeyboardInterrupt:
        stopped = True
    except UserError as error:
        fault = str(error)
    player.finish()
    problem, days = traffic.world.problem, player.days
    found = Replay(
        problem=problem.name,
        plan=traffic.plan,
        url=service.url,
        column=traffic.column,
        replayed=replayed,
        metric_name=PRIMARY[problem.task],
        began=player.began,
        drift_began=player.drift_began,
        days=tuple(days),
        rows=sum(day.rows for day in days),
        refused=sum(day.refused for day in days),
        outcomes=sum(day.outcomes for day in days),
        outcomes_refused=player.outcomes_refused,
        waiting=len(player.known),
        statuses=dict(sorted(player.statuses.items())),
        refusal=player.refusal,
        late=player.late,
        away=service.away,
        waited=service.waited,
        stopped=stopped,
        fault=fault,
        seconds=time.monotonic() - player.started,
    )
    tell("end", player.now, {"rows": found.rows, "stopped": stopped, "fault": fault})
    return found


@dataclass
class _Day:
    """What is counted of a day as it goes on."""

    day: int
    strengths: list[float] = field(default_factory=list)
    rows: int = 0
    refused: int = 0
    outcomes: int = 0
    clipped: int = 0
    losses: list[Floats] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    versions: "Counter[str]" = field(default_factory=Counter)

    def report(self, problem: Problem) -> DayReport:
        """The day, as it has been."""
        metric, p50, p99 = None, None, None
        if self.losses:
            metric = float(from_mean_loss(np.concatenate(self.losses).mean(), problem.task))
        if self.seconds:
            p50, p99 = (float(value) for value in np.quantile(self.seconds, (0.5, 0.99)) * 1000)
        return DayReport(
            day=self.day,
            strength=float(np.mean(self.strengths)) if self.strengths else 0.0,
            requests=len(self.strengths),
            rows=self.rows,
            refused=self.refused,
            outcomes=self.outcomes,
            clipped=self.clipped,
            metric=metric,
            p50_ms=p50,
            p99_ms=p99,
            versions=dict(self.versions),
        )


class _Player:
    """Where a replay is: its clock, the outcomes that are not due yet, the day that goes on."""

    def __init__(self, traffic: Traffic, service: Service, tell: Tell) -> None:
        self.traffic, self.service, self.tell = traffic, service, tell
        self.problem, self.plan = traffic.world.problem, traffic.plan
        self.started, self.began = time.monotonic(), datetime.now(UTC)
        self.drift_began: datetime | None = None
        self.now, self.late = 0.0, 0.0
        self.days: list[DayReport] = []
        self.today = _Day(0)
        # When it is known (days), of which request's row, and what is true.
        self.known: list[tuple[float, str, int, Any]] = []
        self.outcomes_refused = 0
        self.statuses: Counter[str] = Counter()
        self.refusal: str | None = None
        self.seen: set[str] = set()

    def play(self) -> None:
        self.tell("start", 0.0, {"column": self.traffic.column, **self.plan.model_dump()})
        for packet in self.traffic.packets():
            self._go_to(packet.day)
            self._ask(packet)
        self._go_to(self.plan.days)

    def finish(self) -> None:
        """The day that the end came in, if it has anything to tell."""
        if self.today.strengths or self.today.outcomes:
            self._end_day()

    def _go_to(self, day: float) -> None:
        """Wait until it is that late, and tell what is known by then."""
        behind = self.started + self.service.waited + day * SECONDS / self.plan.speed
        behind = time.monotonic() - behind
        if behind < 0:
            time.sleep(-behind)
        self.late = max(self.late, behind)
        while self.today.day < int(day) and self.today.day < self.plan.days - 1:
            self._learn(self.today.day + 1.0)
            self._end_day()
        self.now = day
        self._learn(day)

    def _end_day(self) -> None:
        report = self.today.report(self.problem)
        self.days.append(report)
        self.now = min(self.today.day + 1.0, self.plan.days)
        self.tell("day", self.now, report.model_dump())
        self.today = _Day(self.today.day + 1)

    def _ask(self, packet: Packet) -> None:
        if packet.strength and self.drift_began is None:
            self.drift_began = datetime.now(UTC)
            self.tell("drift_begins", packet.day, {"column": self.traffic.column})
        answer = self.service.predict(packet.body)
        today = self.today
        today.strengths.append(packet.strength)
        today.clipped += packet.clipped
        today.seconds.append(answer.seconds)
        if answer.status != HTTPStatus.OK:
            today.refused += len(packet.targets)
            self._refused(answer)
            return
        version = str(answer.content["model"]["version"])
        if version not in self.seen:
            self.seen.add(version)
            self.tell("version", packet.day, {"version": version})
        today.versions[version] += len(packet.targets)
        today.rows += len(packet.targets)
        predicted = as_predicted(answer.content["predictions"], self.problem)
        today.losses.append(losses(Outcome(self.problem, packet.targets, predicted)))
        for row, due in enumerate(packet.due.tolist()):
            if isfinite(due):
                heapq.heappush(self.known, (due, answer.request, row, packet.actual[row]))

    def _learn(self, day: float) -> None:
        while self.known and self.known[0][0] <= day:
            told: list[dict[str, Any]] = []
            while self.known and self.known[0][0] <= day and len(told) < TOLD_AT_ONCE:
                _, request, row, actual = heapq.heappop(self.known)
                told.append({"request": request, "row": row, "actual": actual})
            answer = self.service.learn(told)
            if answer.status == HTTPStatus.ACCEPTED:
                self.today.outcomes += len(told)
            else:
                self.outcomes_refused += len(told)
                self._refused(answer)

    def _refused(self, answer: Answer) -> None:
        self.statuses[str(answer.status)] += 1
        if self.refusal is None:
            content = answer.content if isinstance(answer.content, dict) else {}
            self.refusal = f"{answer.status}: {content.get('detail', 'no problem document')}"
