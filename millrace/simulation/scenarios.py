"""What may happen to traffic: a scenario is a few small functions, each of one thing.

A *course* says how strongly it happens at each moment, from -1 to 1, 0 where all is as in training. One
column of the rows is changed, or outcomes follow another law, or some rows are drawn more often, or there are
more of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from millrace.contract import KINDS, NUMERIC, Column, Problem
from millrace.errors import UserError
from millrace.features import encode
from millrace.metrics import Floats

# Values that a change may push out of the contract's range before another column is taken.
MAY_LEAVE = 0.05
# Days that a spike lasts.
SPIKE_DAYS = 0.25


@dataclass(frozen=True)
class World:
    """A problem, typed rows to replay, their `targets` [rows] as numbers, and what each input matters.

    A target is its value, or the position of its class.
    """

    problem: Problem
    table: pd.DataFrame
    targets: Floats
    importance: Mapping[str, float]

    def ranked(self, numeric: bool = False, nullable: bool = False) -> list[str]:
        """The inputs that can be watched, the most important first: of all, or of those that are so."""
        clock = self.problem.split.column if self.problem.split.by == "time" else None
        names = [
            name
            for name, column in self.problem.inputs.items()
            if not column.private
            and name != clock
            and (column.type in NUMERIC or not numeric)
            and (column.nullable or not nullable)
        ]
        return sorted(names, key=lambda name: -self.importance.get(name, 0.0))

    def places(self, name: str) -> Floats:
        """Where each row's value lies among all values of a column, from 0 to 1; the middle if missing."""
        column = self.problem.features[name]
        values = encode(self.table[name], KINDS.get(column.type, "numeric"), column.categories)
        known = np.sort(values[~np.isnan(values)])
        below, upto = np.searchsorted(known, values), np.searchsorted(known, values, side="right")
        places: Floats = (below + upto) / (2 * max(len(known), 1))
        return np.where(np.isnan(values), 0.5, places)


Course = Callable[[Floats, float, float], Floats]
"""Of moments (days), the day at which it begins and that of the end: how strongly it happens [moments]."""
Choose = Callable[[World], str]
Change = Callable[["pd.Series[Any]", "pd.Series[Any]", Floats, np.random.Generator], "pd.Series[Any]"]
"""Of a column's drawn values, all its values, and the strength [drawn]: what is sent instead."""
Law = Callable[[World, Floats, Floats, Floats], Floats]
"""Of targets, the places of the rows' values and the strength, all [drawn]: what is true instead."""
Weights = Callable[[World, Floats, float], Floats]
"""Of the places [rows] and the strength now: how often each row is drawn [rows]."""


@dataclass(frozen=True)
class Scenario:
    """What happens, when, and to which column, if to one. At most, `volume` times as many rows come."""

    story: str
    course: Course
    column: Choose | None = None
    change: Change | None = None
    law: Law | None = None
    weights: Weights | None = None
    volume: float = 1.0


def never(days: Floats, _begins: float, _ends: float) -> Floats:
    """Nothing happens."""
    return np.zeros(len(days))


def step(days: Floats, begins: float, _ends: float) -> Floats:
    """All at once, and for good."""
    return (days >= begins).astype(float)


def ramp(days: Floats, begins: float, ends: float) -> Floats:
    """Slowly, and in full at the end."""
    return np.clip((days - begins) / (ends - begins), 0, 1)


def wave(days: Floats, _begins: float, ends: float) -> Floats:
    """There and back, and there the other way: a year in the time there is."""
    return np.sin(2 * np.pi * days / ends)


def pulse(days: Floats, begins: float, _ends: float) -> Floats:
    """For a few hours."""
    return ((days >= begins) & (days < begins + SPIKE_DAYS)).astype(float)


def most_important(world: World) -> str:
    """Of all inputs, a number if there is one."""
    return [*world.ranked(numeric=True), *world.ranked()][0]


def nullable(world: World) -> str:
    """The most important of those that may be missing."""
    names = world.ranked(nullable=True)
    if not names:
        raise UserError(
            f"The contract of '{world.problem.name}' allows no nulls in any input that is logged: the "
            "service would refuse every row. Take another scenario."
        )
    return names[0]


def fitting(factor: float) -> Choose:
    """The most important number of which nearly all values stay in their range when they are multiplied."""

    def choose(world: World) -> str:
        names = world.ranked(numeric=True)
        if not names:
            raise UserError(f"'{world.problem.name}' has no number among its inputs. Take another scenario.")

        def leaves(name: str) -> float:
            values = world.table[name].dropna().to_numpy(np.float64) * factor
            low, high = bounds(world.problem.features[name])
            return float(((values < low) | (values > high)).mean()) if len(values) else 0.0

        return next((name for name in names if leaves(name) <= MAY_LEAVE), names[0])

    return choose


def bounds(column: Column) -> tuple[float, float]:
    """The ends of a number's range; infinite where there are none."""
    low, high = column.range or (None, None)
    return -np.inf if low is None else low, np.inf if high is None else high


def times(factor: float) -> Change:
    """Multiplied: in full strength by the factor."""

    def change(
        values: "pd.Series[Any]", _: "pd.Series[Any]", strength: Floats, __: np.random.Generator
    ) -> "pd.Series[Any]":
        return values * (1 + (factor - 1) * strength)

    return change


def missing(share: float) -> Change:
    """A share of the values is missing."""

    def change(
        values: "pd.Series[Any]", _: "pd.Series[Any]", strength: Floats, rng: np.random.Generator
    ) -> "pd.Series[Any]":
        return values.where(rng.random(len(values)) >= share * strength, None)

    return change


def stuck(
    values: "pd.Series[Any]", known: "pd.Series[Any]", strength: Floats, _: np.random.Generator
) -> "pd.Series[Any]":
    """Always the same: a number's median, else what is commonest."""
    is_number = pd.api.types.is_float_dtype(known.dtype)
    value = known.quantile(interpolation="nearest") if is_number else known.mode().iloc[0]
    return values.where(strength <= 0, value)


def another_law(world: World, targets: Floats, places: Floats, strength: Floats) -> Floats:
    """Outcomes hang on the column otherwise than they did, in a way that can be learnt.

    Values are higher by up to a standard deviation where the column's are low, and lower where those are
    high. Where they lie in the third quarter, the class is the next one.
    """
    if world.problem.classes:
        other = (places >= 0.5) & (places < 0.5 + 0.25 * strength)
        return np.where(other, (targets + 1) % len(world.problem.classes), targets)
    turned: Floats = targets + strength * world.targets.std() * (1 - 2 * places)
    return turned


def raised(world: World, targets: Floats, _: Floats, strength: Floats) -> Floats:
    """Values are half a standard deviation higher; of classes some come more often, by `of_last_class`."""
    return targets if world.problem.classes else targets + 0.5 * strength * world.targets.std()


def of_last_class(world: World, _: Floats, strength: float) -> Floats:
    """Rows of the last class come five times as often; values have no classes, and all come alike."""
    last = len(world.problem.classes) - 1
    return np.where((world.targets == last) & (last > 0), 1 + 4 * strength, 1.0)


def tilted(_: World, places: Floats, strength: float) -> Floats:
    """Rows with high values of the column come more often, up to seven times as often as those with low."""
    return np.asarray(np.exp(strength * (2 * places - 1)))


RISE, OTHER_UNIT = 1.2, 0.1
SCENARIOS: dict[str, Scenario] = {
    "no_drift": Scenario("nothing happens", never),
    "sudden": Scenario(
        "a column is a fifth higher from a moment on, and outcomes hang on it otherwise",
        step, fitting(RISE), change=times(RISE), law=another_law,
    ),
    "slow": Scenario(
        "a column rises by a fifth, and outcomes hang on it otherwise, by and by",
        ramp, fitting(RISE), change=times(RISE), law=another_law,
    ),
    "seasonal": Scenario(
        "rows with high values of a column come more often, then those with low", wave, most_important,
        weights=tilted,
    ),
    "unit_change": Scenario(
        "a column comes in a unit ten times as large", step, fitting(OTHER_UNIT), change=times(OTHER_UNIT)
    ),
    "nulls": Scenario("a third of a column is missing", step, nullable, change=missing(1 / 3)),
    "frozen_sensor": Scenario("a column is always the same", step, most_important, change=stuck),
    "label_shift": Scenario(
        "outcomes are half a standard deviation higher, or the last class comes more often; else nothing",
        step, law=raised, weights=of_last_class,
    ),
    "traffic_spike": Scenario(
        "twenty times as many rows for six hours", pulse, volume=20.0
    ),
}  # fmt: skip
