"""How long it takes to know: the size of an experiment, before it begins."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.bundle import Bundle
from millrace.contract import Problem, Task
from millrace.errors import UserError
from millrace.experiments.sequence import units_needed
from millrace.experiments.settings import ExperimentSettings
from millrace.metrics import PRIMARY, losses
from millrace.monitoring.baseline import Baseline
from millrace.monitoring.window import DAY, SIZE
from millrace.prediction_log.outcome_index import OutcomeIndex
from millrace.prediction_log.stores import find_log
from millrace.strict import Strict

# A log that began an hour ago says little of a day, and one that began just now nothing.
SHORTEST = 3_600.0
# Rows of a reference.
FEWEST = 10


class Contender(Strict):
    """A registered version, and the tag of the BentoML model that holds its bundle."""

    version: str
    digest: str
    tag: str


class Traffic(Strict):
    """Units that asked in the `days` before the plan, and those of them whose outcome is known."""

    days: float
    units: int
    labelled: int


class Plan(Strict):
    """What was set before the first look.

    `loss` is the champion's mean over its reference, `effect` the smallest difference of mean losses worth
    finding, `spread` the variance of that difference times the units of both, `units` how many with outcomes
    it takes, of both together.
    """

    problem: str
    stack: str
    started: datetime
    champion: Contender
    challenger: Contender
    settings: ExperimentSettings
    metric_name: str
    loss: float
    spread: float
    effect: float
    units: int
    traffic: Traffic | None

    @property
    def variance(self) -> float:
        """Of the difference, once the planned size is reached."""
        return self.spread / self.units

    @property
    def days(self) -> float | None:
        """How long it takes if traffic and outcomes come as of late; None where none came."""
        if self.traffic is None or not self.traffic.labelled:
            return None
        return self.units * self.traffic.days / self.traffic.labelled


def make_plan(
    bundles: Sequence[Bundle],
    contenders: Sequence[Contender],
    settings: ExperimentSettings,
    traffic: Traffic | None,
    *,
    stack: str,
    started: datetime,
) -> Plan:
    """Plan for a champion and a challenger, from how far losses spread in their references, held-out rows.

    Raises:
        UserError: a reference has too few rows, or all of them have the same loss.
    """
    problem = bundles[0].problem
    found = [losses(Baseline.of(bundle).outcome) for bundle in bundles]
    for loss, contender in zip(found, contenders, strict=True):
        if len(loss) < FEWEST or loss.std() == 0:
            raise UserError(
                f"The reference of version {contender.version} has {len(loss)} rows, whose losses do not "
                "tell how far losses spread: no experiment can be planned from it."
            )
    champion, challenger = contenders
    share = settings.share
    mean = float(found[0].mean())
    effect = loss_effect(mean, settings.effect, problem.task)
    spread = float(found[0].var(ddof=1) / (1 - share) + found[1].var(ddof=1) / share)
    needed = units_needed(effect, spread, settings.alpha, settings.power)
    return Plan(
        problem=problem.name,
        stack=stack,
        started=started,
        champion=champion,
        challenger=challenger,
        settings=settings,
        metric_name=PRIMARY[problem.task],
        loss=mean,
        spread=spread,
        effect=effect,
        units=max(needed, math.ceil(settings.min_rows / min(share, 1 - share))),
        traffic=traffic,
    )


def loss_effect(mean: float, effect: float, task: Task) -> float:
    """By how much the mean loss falls when the primary metric falls by a share `effect`: RMSE is its root."""
    return mean * (1 - (1 - effect) ** 2) if task == "regression" else mean * effect


def read_traffic(uri: str, problem: Problem, since: datetime, until: datetime) -> Traffic | None:
    """The units of the time; None if there is no log yet, or nothing in it.

    Raises:
        UserError: the log cannot be read.
    """
    stored = find_log(uri, problem)
    if stored is None:
        return None
    seen: set[str] = set()
    labelled: set[str] = set()
    first = math.inf
    with OutcomeIndex() as index:
        for outcomes in stored.outcomes(SIZE):
            index.add(outcomes)
        for table in stored.rows(since.timestamp(), until.timestamp(), SIZE, features=False):
            known = np.array([actual is not None for actual in index.match(table)])
            units = _units(table)
            seen.update(units.tolist())
            labelled.update(units[known].tolist())
            first = min(first, pc.min(table.column("_time")).as_py())
    if not seen:
        return None
    days = max(until.timestamp() - first, SHORTEST) / DAY
    return Traffic(days=days, units=len(seen), labelled=len(labelled))


def _units(table: pa.Table) -> Any:
    """By what a row's variant is drawn, as nearly as the count of a day needs it: its key or its request."""
    return pc.coalesce(table.column("_key"), table.column("_request")).to_numpy()
