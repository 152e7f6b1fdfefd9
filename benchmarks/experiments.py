"""How often experiments end in the right verdict when they are looked at each day, beside z-tests.

    .venv/bin/python benchmarks/experiments.py [--experiments 2000] [--seed 0]

Each experiment is planned to last four weeks, for a root mean squared error that is lower by a tenth. Losses
are squares of normal errors or, with heavy tails, log-normal (skewness 33); the challenger's are the same, or
lower or higher by the planned effect. A z-test of the same level and power takes fewer keys, and holds for
one look: `peeked` ends it on the first day on which p is below 0.05, `once` on its last day. Right is to
promote the better, and to stop any other.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))
from millrace.experiments import ExperimentSettings
from millrace.experiments.planning import loss_effect
from millrace.experiments.sequence import deviations, units_needed
from millrace.experiments.verdict import LONGEST, RIPE, is_whole, rule

DAYS = 28
SETTINGS = ExperimentSettings(effect=0.1)
Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]


@dataclass(frozen=True)
class Losses:
    """How to draw them, with their mean and variance."""

    draw: Draw
    mean: float
    variance: float


SQUARES = Losses(lambda rng, shape: rng.standard_normal(shape) ** 2, 1.0, 2.0)
HEAVY = Losses(
    lambda rng, shape: np.exp(1.5 * rng.standard_normal(shape)),
    math.exp(1.125),
    (math.exp(2.25) - 1) * math.exp(2.25),
)


@dataclass(frozen=True)
class Scenario:
    """`change` is the challenger's mean loss less the champion's, in planned effects.

    `quiet` is the variance of the losses that the plan was made from, as a share of the true one.
    """

    name: str
    losses: Losses
    share: float
    quiet: float
    change: float


SCENARIOS = [
    Scenario(f"{kind}: {name}", losses, share, quiet, change)
    for kind, losses, share, quiet in (
        ("half of the keys", SQUARES, 0.5, 1.0),
        ("a tenth", SQUARES, 0.1, 1.0),
        ("heavy tails, half", HEAVY, 0.5, 1.0),
        ("heavy tails, a tenth", HEAVY, 0.1, 1.0),
        ("a reference too quiet", SQUARES, 0.5, 0.5),
    )
    for name, change in (("no difference", 0.0), ("better", -1.0), ("worse", 1.0))
]


@dataclass(frozen=True)
class Design:
    """An experiment's planned size: units a day, and the difference worth finding."""

    units: int
    daily: int
    effect: float
    spread: float

    @classmethod
    def of(cls, scenario: Scenario) -> "Design":
        """That of a scenario, as `make_plan` has it."""
        losses, share = scenario.losses, scenario.share
        effect = loss_effect(losses.mean, SETTINGS.effect, "regression")
        spread = scenario.quiet * losses.variance / (share * (1 - share))
        units = units_needed(effect, spread, SETTINGS.alpha, SETTINGS.power)
        return cls(units, math.ceil(units / DAYS), effect, spread)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    methods = ("Millrace", "z-test, peeked", "z-test, once")
    print(
        f"{asked.experiments:,} experiments a scenario, looked at daily: right | wrongly promoted | mean days"
    )
    print(f"{'':<36}" + "".join(f"{name:>26}" for name in methods))
    for number, scenario in enumerate(SCENARIOS):
        rng = np.random.default_rng([asked.seed, number])
        found = play(scenario, asked.experiments, rng)
        cells = "".join(f"{_cell(scenario, *found[name]):>26}" for name in methods)
        print(f"{scenario.name:<36}{cells}", flush=True)


def play(
    scenario: Scenario, experiments: int, rng: np.random.Generator
) -> dict[str, tuple[NDArray[np.str_], NDArray[np.int64]]]:
    """By method: what each experiment ended in, `better` for a promotion, and on which day."""
    design = Design.of(scenario)
    found = {
        name: (np.full(experiments, "open", "<U16"), np.zeros(experiments, np.int64))
        for name in ("Millrace", "z-test, peeked", "z-test, once")
    }
    for day, live, sums in _days(scenario, design, experiments, rng, found):
        count = np.maximum(sums[:, :, 0], 2)
        mean = sums[:, :, 1] / count
        variance = ((sums[:, :, 2] / count - mean**2) / (count - 1)).sum(axis=1)
        difference, fewest = mean[:, 1] - mean[:, 0], sums[:, :, 0].min(axis=1)
        verdicts = _verdicts(design, day, difference, variance, fewest)
        for name, verdict in verdicts.items():
            ends, days = found[name]
            ending = live[(ends[live] == "open") & (verdict != "open") & (verdict != "not enough data")]
            ends[ending] = verdict[np.searchsorted(live, ending)]
            days[ending] = day
    return found


def _days(
    scenario: Scenario,
    design: Design,
    experiments: int,
    rng: np.random.Generator,
    found: dict[str, tuple[Any, Any]],
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Day by day the experiments that go on, and their sums [experiments, arms, (count, loss, square)]."""
    sums = np.zeros((experiments, 2, 3))
    factor = 1 + scenario.change * design.effect / scenario.losses.mean
    for day in range(1, math.ceil(LONGEST * DAYS) + 2):
        live = np.flatnonzero(np.any([ends == "open" for ends, _ in found.values()], axis=0))
        if not len(live):
            return
        loss = scenario.losses.draw(rng, (len(live), design.daily))
        chosen = rng.random(loss.shape) < scenario.share
        for arm, mask in enumerate((~chosen, chosen)):
            own = loss * mask * (factor if arm else 1.0)
            sums[live, arm] += np.stack([mask.sum(axis=1), own.sum(axis=1), (own**2).sum(axis=1)], axis=1)
        yield day, live, sums[live]


def _verdicts(design: Design, day: int, difference: Any, variance: Any, fewest: Any) -> dict[str, Any]:
    """What each method says on a day."""
    from scipy.stats import norm

    units = day * design.daily
    half = deviations(units / design.units, SETTINGS.alpha) * np.sqrt(variance)
    ours = rule(
        difference - half,
        difference + half,
        design.effect,
        fewest >= SETTINGS.min_rows,
        units / design.units >= RIPE,
        is_whole(units, variance, design.units, design.spread / design.units),
    )
    once = norm.ppf(1 - SETTINGS.alpha / 2)
    needed = design.spread * ((once + norm.ppf(SETTINGS.power)) / design.effect) ** 2
    errors = difference / np.sqrt(variance)
    over = np.select([errors < -once, errors > once], ["better", "worse"], "not found")
    seen = np.where((over == "not found") & (units < needed), "open", over)
    return {
        "Millrace": ours,
        "z-test, peeked": np.where(fewest >= SETTINGS.min_rows, seen, "open"),
        "z-test, once": over if units >= needed else np.full(len(over), "open"),
    }


def _cell(scenario: Scenario, ends: NDArray[np.str_], days: NDArray[np.int64]) -> str:
    promoted = ends == "better"
    stopped = ~promoted & (ends != "open")
    right = promoted if scenario.change < 0 else stopped
    wrongly = 0.0 if scenario.change < 0 else promoted.mean()
    return f"{right.mean():.1%} | {wrongly:.1%} | {days.mean():.1f}"


if __name__ == "__main__":
    main()
