"""What a monitoring run has found, as it is stored and shown."""

from datetime import datetime
from typing import Literal

from millrace.metrics import Interval
from millrace.strict import Strict

Drift = Literal["drift", "no drift", "not enough data"]
Decay = Literal["decay", "no decay", "not enough data"]


class ColumnVerdict(Strict):
    """One watched column.

    `distance` is the largest between the distribution functions of numbers, or the total variation of names:
    0 of equal samples, 1 of samples that have nothing in common. Above a `score` of 1 the column has drifted,
    and `reasons` say by what; `p_value` is that of all columns together. Shares are of rows, `unseen` that of
    values that the contract does not list. None where there is no verdict.
    """

    name: str
    importance: float | None
    distance: float
    missing: float
    missing_before: float
    unseen: float
    score: float | None = None
    p_value: float | None = None
    reasons: tuple[str, ...] = ()


class DriftVerdict(Strict):
    """Whether inputs or predictions have drifted.

    `distance` is the inputs' mean, weighted by importance; `score` the largest of all columns'.
    """

    status: Drift
    why: str
    rows: int
    reference_rows: int
    distance: float | None = None
    score: float | None = None
    p_value: float | None = None
    columns: tuple[ColumnVerdict, ...] = ()


class Performance(Strict):
    """How well the model predicted the rows whose outcomes came in the window.

    `holdout` is what training measured. `p_value` is that of a mean loss as much above the reference's, where
    nothing has changed. `estimate` is what the primary metric of all the window's rows would be, if outcomes
    still depend on predictions as they did: no measurement.
    """

    status: Decay
    why: str
    metric_name: str
    labelled_rows: int
    metrics: dict[str, Interval]
    holdout: dict[str, Interval]
    p_value: float | None = None
    estimate: Interval | None = None


class Counted(Strict):
    """The log's rows in the window, and what became of each; and the log's outcomes.

    `judged` by variant, `others` by the version that answered; `future` are dated after the run began,
    `unanswered` have no whole answer, `damaged` counts requests that could not be read. Of outcomes,
    `replaced` are those that later ones took the place of, `unknown` those of no row in the log,
    `future_outcomes` those dated after the run began, `early` those dated before the answer that they are of.
    """

    judged: dict[str, int]
    others: dict[str, int]
    shadow: int
    future: int
    unanswered: int
    damaged: int
    outcomes: int
    replaced: int
    unknown: int
    future_outcomes: int
    early: int


class Verdict(Strict):
    """The outcome of a monitoring run for the window `since` <= time < `until`."""

    problem: str
    version: str
    bundle_digest: str
    since: datetime
    until: datetime
    false_alarms: float
    drift: DriftVerdict
    performance: Performance
    counted: Counted
