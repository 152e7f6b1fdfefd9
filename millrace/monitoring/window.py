"""How things are: a window of the prediction log, read once, row by row, in bounded memory."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from millrace.casting import cast_column
from millrace.features import encode_target
from millrace.metrics import Floats, Outcome
from millrace.monitoring.baseline import Baseline, predictions
from millrace.monitoring.settings import MonitoringSettings
from millrace.monitoring.tally import Tally
from millrace.monitoring.verdict import Counted
from millrace.prediction_log.frames import array, frame
from millrace.prediction_log.outcome_index import OutcomeIndex
from millrace.prediction_log.stores import open_log
from millrace.service_metrics import SHADOW

SIZE = 20_000
DAY = 86_400.0
# By how many seconds clocks of machines may differ.
SKEW = 60.0
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """The rows of a time that one model answered.

    `tally` counts all of them, `predicted` has what was answered to each, `labelled` what was true of those
    whose outcome came in the window, also of rows that are older, `sample` some of the rows, typed, in the
    order in which they were read, with the outcome in the target's column where it is known.
    """

    since: datetime
    until: datetime
    tally: Tally
    predicted: Floats
    labelled: Outcome
    sample: pd.DataFrame
    counted: Counted


def read_window(
    uri: str,
    baseline: Baseline,
    digest: str,
    since: datetime,
    until: datetime,
    settings: MonitoringSettings,
) -> Window:
    """The rows of `since` <= time < `until` that the bundle with this digest answered.

    Raises:
        UserError: there is no log, or it cannot be read.
    """
    stored = open_log(uri, baseline.problem)
    reading = _Reading(baseline, digest, since.timestamp(), until.timestamp(), settings)
    first = reading.since - settings.label_days * DAY
    with OutcomeIndex() as index:
        for outcomes in stored.outcomes(SIZE):
            late = outcomes.column("time").to_numpy() > reading.until + SKEW
            reading.future_outcomes += int(late.sum())
            index.add(outcomes)
        for table in stored.rows(first, inf, SIZE, features=True):
            reading.take(table, *index.matched(table, mark=True))
        received, replaced, *_ = index.counts()
        unknown = index.unknown(stored, first, SIZE)
    return Window(
        since=since,
        until=until,
        tally=reading.tally,
        predicted=np.concatenate(reading.predicted),
        labelled=Outcome(
            baseline.problem,
            np.concatenate(reading.true),
            np.concatenate(reading.told),
            baseline.outcome.threshold,
        ),
        sample=reading.sample.table(),
        counted=Counted(
            judged=dict(reading.judged),
            others=dict(reading.others),
            shadow=reading.shadow,
            future=reading.future,
            unanswered=reading.unanswered,
            damaged=stored.damaged,
            outcomes=received,
            replaced=replaced,
            unknown=unknown,
            future_outcomes=reading.future_outcomes,
            early=reading.early,
        ),
    )


class _Reading:
    """What has been read so far."""

    def __init__(
        self, baseline: Baseline, digest: str, since: float, until: float, settings: MonitoringSettings
    ) -> None:
        self.baseline = baseline
        self.digest = digest
        self.since = since
        self.until = until
        self.tally = Tally(baseline.columns)
        self.predicted = [baseline.outcome.predicted[:0]]
        self.told = [baseline.outcome.predicted[:0]]
        self.true = [baseline.outcome.target[:0]]
        self.sample = _Sample(settings.report_rows, settings.seed)
        self.judged: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.shadow = self.future = self.unanswered = self.early = self.future_outcomes = 0

    def take(self, table: pa.Table, actual: list[Any], came: list[float | None]) -> None:
        """Take a piece of the log, with what is known of each row and when that came."""
        time, variant, digest, version = (
            table.column(name).to_numpy() for name in ("_time", "_variant", "_digest", "_version")
        )
        learnt = np.array(came, np.float64)
        new = learnt >= self.since
        inside = (self.since <= time) & (time < self.until)
        shadow, own = variant == SHADOW, digest == self.digest
        self.future += int((time > self.until + SKEW).sum())
        self.shadow += int((inside & shadow).sum())
        self.others.update(version[inside & ~shadow & ~own].tolist())
        wanted = own & ~shadow & (time < self.until) & (inside | new)
        self.early += int((wanted & (learnt < time - SKEW)).sum())
        if wanted.any():
            rows = frame(table.filter(pa.array(wanted)), self.baseline.problem)
            target = self.baseline.problem.target
            known = pa.chunked_array([array([actual[place] for place in np.flatnonzero(wanted)])])
            rows[target.name] = cast_column(known, target)
            self._take(rows, inside[wanted], new[wanted])

    def _take(self, rows: pd.DataFrame, inside: Mask, new: Mask) -> None:
        """Take typed rows of the model: those inside the window, and those newly known."""
        problem = self.baseline.problem
        predicted = predictions(rows, problem)
        answered = ~np.isnan(predicted.reshape(len(rows), -1)).any(axis=1)
        self.unanswered += int((inside & ~answered).sum())
        true = encode_target(rows[problem.target.name], problem)
        labelled = answered & new & ~np.isnan(true)
        self.true.append(true[labelled])
        self.told.append(predicted[labelled])
        judged = rows[inside & answered]
        self.predicted.append(predicted[inside & answered])
        self.judged.update(judged["_variant"].tolist())
        self.tally.add(self.baseline.encode(judged))
        self.sample.add(judged)


class _Sample:
    """Rows drawn at random from all that come, without their number being known before."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._rng = np.random.default_rng(seed)
        self._drawn = np.empty(0)
        self._kept = pd.DataFrame()

    def add(self, table: pd.DataFrame) -> None:
        """Every row draws a number; those with the smallest are kept."""
        drawn = self._rng.random(len(table))
        likely = drawn < (self._drawn.max(initial=0) if len(self._drawn) == self._rows else 1)
        self._kept = pd.concat([self._kept, table[likely]], ignore_index=True)
        self._drawn = np.concatenate([self._drawn, drawn[likely]])
        if len(self._drawn) > self._rows:
            chosen = np.sort(np.argpartition(self._drawn, self._rows)[: self._rows])
            self._kept = self._kept.iloc[chosen].reset_index(drop=True)
            self._drawn = self._drawn[chosen]

    def table(self) -> pd.DataFrame:
        """The rows that are kept, in the order in which they came."""
        return self._kept
