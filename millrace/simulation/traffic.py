"""When rows come, which, with what outcomes, and when these are known: all of it by a seed."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.contract import NUMERIC, Column, Problem
from millrace.metrics import Floats
from millrace.request_tables import as_request
from millrace.simulation.plan import Plan
from millrace.simulation.scenarios import SCENARIOS, World, bounds

HOUR = 1 / 24
# Most rows come at three in the afternoon, nine times as many as at three at night; fewer on days 6 and 7.
SWING, EARLIEST, WEEKEND = 0.8, 9, 0.6
# Rows that come within this time of a real second go together, as many as this.
TOGETHER, AT_ONCE = 0.05, 1000
# Of this share nobody ever learns what was true. The others' delays have this shape of a gamma distribution.
UNKNOWN, SHAPE = 0.2, 4.0


class Packet(NamedTuple):
    """A request: its moment and its rows' outcomes.

    `day` is in days since the beginning, `due` [rows] when each outcome is known, infinite for never.
    `targets` [rows] are outcomes as numbers, `actual` the same as feedback takes them. `strength` is that of
    the scenario, and `clipped` counts values that had left the contract's range.
    """

    day: float
    body: bytes
    targets: Floats
    actual: list[Any]
    due: Floats
    strength: float
    clipped: int


def rate(day: Floats, rows: float) -> Floats:
    """Rows a day at moments, with a mean of `rows` over a week that begins on a Monday at midnight."""
    hour, weekday = 24 * (day % 1), np.floor(day % 7)
    rhythm = 1 + SWING * np.sin(2 * np.pi * (hour - EARLIEST) / 24)
    return rows * rhythm * np.where(weekday >= 5, WEEKEND, 1.0) * 7 / (5 + 2 * WEEKEND)


class Traffic:
    """The requests of a plan, hour by hour; each hour is drawn by itself, whatever the speed."""

    def __init__(self, world: World, plan: Plan) -> None:
        """Choose the scenario's column.

        Raises:
            UserError: the scenario cannot happen to this problem.
        """
        self.world, self.plan = world, plan
        self.scenario = SCENARIOS[plan.scenario]
        self.column = self.scenario.column(world) if self.scenario.column else None
        self._places = world.places(self.column) if self.column else np.zeros(len(world.table))

    def packets(self) -> Iterator[Packet]:
        """All requests in the order of time."""
        for hour in range(int(np.ceil(self.plan.days * 24 - 1e-9))):
            yield from self._hour(hour)

    def strength(self, days: Floats) -> Floats:
        """How strongly the scenario happens at moments."""
        return self.scenario.course(days, self.plan.begins, self.plan.days)

    def _hour(self, hour: int) -> Iterator[Packet]:
        rng = np.random.default_rng([self.plan.seed, hour])
        middle = np.array([(hour + 0.5) * HOUR])
        now = float(self.strength(middle)[0])
        more = 1 + (self.scenario.volume - 1) * max(now, 0.0)
        count = rng.poisson(rate(middle, self.plan.rows)[0] * HOUR * more)
        days = np.sort((hour + rng.random(count)) * HOUR)
        chosen = self._draw(rng, count, now)
        delays = rng.gamma(SHAPE, self.plan.label_delay / SHAPE, count)
        due = np.where(rng.random(count) < UNKNOWN, np.inf, days + delays)
        days, chosen, due = (values[days < self.plan.days] for values in (days, chosen, due))
        if not len(days):
            return
        strength = self.strength(days)
        rows, targets, clipped = self._happen(chosen, strength, rng)
        actual = as_feedback(targets, self.world.problem)
        window = np.floor(days * 86_400 / (self.plan.speed * TOGETHER))
        edges = [0, *(np.flatnonzero(np.diff(window)) + 1), len(days)]
        for start, end in pairwise(edges):
            for first in range(start, end, AT_ONCE):
                part = slice(first, min(first + AT_ONCE, end))
                body = as_request(rows.slice(part.start, part.stop - part.start), self.world.problem, None)
                yield Packet(
                    float(days[part.start]),
                    body,
                    targets[part],
                    actual[part],
                    due[part],
                    float(strength[part].mean()),
                    int(clipped[part].sum()),
                )

    def _draw(self, rng: np.random.Generator, count: int, strength: float) -> Any:
        """Positions of rows, with replacement."""
        size = len(self.world.table)
        if self.scenario.weights is None:
            return rng.integers(size, size=count)
        weights = self.scenario.weights(self.world, self._places, strength)
        return rng.choice(size, count, p=weights / weights.sum())

    def _happen(
        self, chosen: Any, strength: Floats, rng: np.random.Generator
    ) -> tuple[pa.Table, Floats, Floats]:
        """The drawn rows and targets as the scenario has them, and how many values of each were clipped."""
        world, problem, scenario = self.world, self.world.problem, self.scenario
        rows, targets = world.table.iloc[chosen].reset_index(drop=True), world.targets[chosen]
        clipped = np.zeros(len(rows))
        if scenario.law is not None:
            targets = scenario.law(world, targets, self._places[chosen], strength)
            if not problem.classes:
                targets, out = clip(targets, problem.target)
                clipped += out
        if scenario.change is not None and self.column is not None:
            column = problem.features[self.column]
            values = scenario.change(rows[self.column], world.table[self.column], strength, rng)
            if column.type in NUMERIC:
                kept, out = clip(values.to_numpy(np.float64, na_value=np.nan), column)
                values = pd.Series(kept)
                clipped += out
            rows = rows.assign(**{self.column: values})
        if problem.key is not None and problem.features[problem.key].type in NUMERIC:
            # To the service a key is text.
            rows = rows.assign(**{problem.key: rows[problem.key].astype("Int64").astype("string")})
        table = pa.Table.from_pandas(rows[list(problem.features)], preserve_index=False)
        return table, targets, clipped


def clip(values: Floats, column: Column) -> tuple[Floats, Floats]:
    """Numbers as the contract allows them, and which of them were not [rows]."""
    low, high = bounds(column)
    kept = np.clip(values, low, high)
    out = (values < low) | (values > high)
    if column.type == "integer":
        kept = np.round(kept)
    return kept, out.astype(float)


def as_feedback(targets: Floats, problem: Problem) -> list[Any]:
    """Targets as `/v1/feedback` takes them."""
    if not problem.classes:
        return list(targets.tolist())
    if problem.target.type == "boolean":
        return [target == 1 for target in targets.tolist()]
    return [problem.classes[int(target)] for target in targets]


def as_predicted(answers: list[dict[str, Any]], problem: Problem) -> Floats:
    """A service's answers as metrics take them: values [rows], or probabilities [rows, classes]."""
    if not problem.classes:
        return np.array([answer["prediction"] for answer in answers], dtype=np.float64)
    return np.array([[answer["probabilities"][name] for name in problem.classes] for answer in answers])
