"""What champion and challenger have answered, by unit: all rows of a key, or of a request without one.

The service draws the variant by the key of a request's first row, or else by the request's id: rows of one
unit are one draw, and no independent ones. So means are ratios of sums over units, and their variances those
of units, not of rows (the delta method; Deng, Knoblich and Lu, KDD 2018, section 3).
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.casting import cast_column
from millrace.contract import Problem
from millrace.experiments.planning import Plan
from millrace.features import encode_target
from millrace.metrics import Floats, Outcome, losses
from millrace.monitoring.baseline import predictions
from millrace.monitoring.window import SIZE, SKEW
from millrace.prediction_log.frames import array, frame
from millrace.prediction_log.outcome_index import OutcomeIndex
from millrace.prediction_log.stores import StoredLog, open_log
from millrace.strict import Strict

VARIANTS = ("champion", "challenger")
# Rows of units that are put together at once.
COMPACT = 500_000


class Mean(NamedTuple):
    """A mean and its variance."""

    value: float
    variance: float


@dataclass(frozen=True)
class Arm:
    """A variant's sums by unit, [units], and how many seconds each of its requests took, rising [requests].

    `loss` is the sum over the `labelled` rows, those whose outcome is known.
    """

    rows: Floats
    unanswered: Floats
    labelled: Floats
    loss: Floats
    requests: Floats
    seconds: Floats
    latencies: Floats

    @property
    def units(self) -> int:
        """Those that asked."""
        return len(self.rows)

    @property
    def labelled_units(self) -> int:
        """Those of which some outcome is known."""
        return int((self.labelled > 0).sum())


class Counted(Strict):
    """What was read of the log besides, from `since` on.

    `others` are rows by version that neither contender answered, or one in the other's place; `crossed`
    units that both have answered; `after` units that the champion has answered since the challenger's last.
    """

    since: datetime | None
    until: datetime
    others: dict[str, int]
    crossed: int
    after: int
    damaged: int
    outcomes: int
    replaced: int
    unknown: int


@dataclass(frozen=True)
class Arms:
    """Both, and what else was read."""

    champion: Arm
    challenger: Arm
    counted: Counted


def ratio(totals: Floats, sizes: Floats) -> Mean:
    """The mean of rows, from each unit's total and number of rows; its variance is that of the units."""
    there = sizes > 0
    totals, sizes = totals[there], sizes[there]
    units, rows = len(sizes), sizes.sum()
    if units < 2:
        return Mean(float(totals.sum() / rows) if units else 0.0, inf)
    mean = totals.sum() / rows
    spread = ((totals - mean * sizes) ** 2).sum() * units / (units - 1)
    return Mean(float(mean), float(spread / rows**2))


def read_arms(uri: str, problem: Problem, plan: Plan, until: datetime) -> Arms:
    """What both have answered since the challenger's first answer after the plan was made.

    Rows of the champion's from before have nothing beside them: the challenger did not serve yet.

    Raises:
        UserError: there is no log, or it cannot be read.
    """
    stored = open_log(uri, problem)
    latest = until.timestamp() + SKEW
    first, last = _served(stored, plan, latest)
    reading = _Reading(problem, plan, last)
    with OutcomeIndex() as index:
        for outcomes in stored.outcomes(SIZE):
            index.add(outcomes)
        # Right after: that the first answer was the challenger's is no chance.
        for table in stored.rows(np.nextafter(first, inf), latest, SIZE, features=True):
            reading.take(table, index.match(table, mark=True))
        received, replaced, *_ = index.counts()
        unknown = index.unknown(stored, inf, SIZE)
    champion, challenger, crossed = reading.arms()
    counted = Counted(
        since=datetime.fromtimestamp(first, UTC) if first < inf else None,
        until=until,
        others=dict(reading.others),
        crossed=crossed,
        after=len(reading.after),
        damaged=stored.damaged,
        outcomes=received,
        replaced=replaced,
        unknown=unknown,
    )
    return Arms(champion, challenger, counted)


def _served(stored: StoredLog, plan: Plan, until: float) -> tuple[float, float]:
    """When the challenger answered first and last; infinity and its negative if it has not."""
    first, last = inf, -inf
    for table in stored.rows(plan.started.timestamp(), until, SIZE, features=False):
        own = _own(table, plan) == VARIANTS.index("challenger")
        times = table.column("_time").to_numpy()[own]
        if len(times):
            first, last = min(first, float(times.min())), max(last, float(times.max()))
    return first, last


def _own(table: pa.Table, plan: Plan) -> Any:
    """Which of the two a row was answered by [rows]: a place in `VARIANTS`; -1 for neither."""
    variant, digest = (table.column(name).to_numpy() for name in ("_variant", "_digest"))
    found = np.full(len(variant), -1)
    for place, contender in enumerate((plan.champion, plan.challenger)):
        found[(variant == VARIANTS[place]) & (digest == contender.digest)] = place
    return found


class _Reading:
    """What has been read so far."""

    def __init__(self, problem: Problem, plan: Plan, last: float) -> None:
        self.problem = problem
        self.plan = plan
        self.last = last
        self.others: Counter[str] = Counter()
        self.after: set[str] = set()
        self._pieces: list[pd.DataFrame] = []
        self._seconds: tuple[list[Floats], list[Floats]] = ([], [])
        # Of the request that a piece of the log may have ended in.
        self._open: dict[str, str] = {}

    def take(self, table: pa.Table, actual: list[Any]) -> None:
        """Take a piece of the log, with what is known of each row."""
        found = _own(table, self.plan)
        version = table.column("_version").to_numpy()
        self.others.update(version[found < 0].tolist())
        own = found >= 0
        if not own.any():
            return
        rows = frame(table.filter(pa.array(own)), self.problem)
        known = pa.chunked_array([array([actual[place] for place in np.flatnonzero(own)])])
        true = encode_target(cast_column(known, self.problem.target), self.problem)
        predicted = predictions(rows, self.problem)
        answered = ~np.isnan(predicted.reshape(len(rows), -1)).any(axis=1)
        labelled = answered & ~np.isnan(true)
        loss = np.zeros(len(rows))
        loss[labelled] = losses(Outcome(self.problem, true[labelled], predicted[labelled]))
        unit, first = self._units(rows)
        seconds = rows["_seconds"].to_numpy(np.float64)
        piece = pd.DataFrame(
            {
                "arm": found[own],
                "unit": unit,
                "rows": 1.0,
                "unanswered": (~answered).astype(float),
                "labelled": labelled.astype(float),
                "loss": loss,
                "requests": first.astype(float),
                "seconds": seconds * first,
            }
        )
        self._pieces.append(piece.groupby(["arm", "unit"], sort=False, as_index=False).sum())
        for place, kept in enumerate(self._seconds):
            kept.append(seconds[first & (found[own] == place)])
        late = (found[own] == 0) & (table.column("_time").to_numpy()[own] > self.last)
        self.after.update(unit[late])
        if sum(map(len, self._pieces)) > COMPACT:
            self._pieces = [self._together()]

    def _units(self, rows: pd.DataFrame) -> tuple[Any, Any]:
        """Each row's unit, and whether it is the first of its request [rows]."""
        first = ~rows["_request"].duplicated()
        heads = rows[first]
        units = {
            request: f"request {request}" if key is None else f"key {key}"
            for request, key in zip(heads["_request"], heads["_key"], strict=True)
        }
        units |= {request: unit for request, unit in self._open.items() if request in units}
        first &= ~rows["_request"].isin(list(self._open))
        last = rows["_request"].iloc[-1]
        self._open = {last: units[last]}
        return rows["_request"].map(units).to_numpy(), first.to_numpy()

    def _together(self) -> pd.DataFrame:
        whole = pd.concat(self._pieces, ignore_index=True)
        return whole.groupby(["arm", "unit"], sort=False, as_index=False).sum()

    def arms(self) -> tuple[Arm, Arm, int]:
        """Champion, challenger, and how many units both have answered."""
        if not self._pieces:
            return _arm(pd.DataFrame(), []), _arm(pd.DataFrame(), []), 0
        whole = self._together()
        one, other = (whole[whole["arm"] == place] for place in (0, 1))
        crossed = int(one["unit"].isin(other["unit"]).sum())
        return _arm(one, self._seconds[0]), _arm(other, self._seconds[1]), crossed


def _arm(units: pd.DataFrame, seconds: list[Floats]) -> Arm:
    names = ("rows", "unanswered", "labelled", "loss", "requests", "seconds")
    sums = {name: units[name].to_numpy() if name in units else np.empty(0) for name in names}
    return Arm(**sums, latencies=np.sort(np.concatenate([np.empty(0), *seconds])))
