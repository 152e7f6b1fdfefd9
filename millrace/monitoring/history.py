"""Earlier verdicts, one line of JSON a run, in a file that is only ever added to."""

from datetime import datetime
from pathlib import Path

from millrace.durable import add_line, read_lines
from millrace.metrics import Interval
from millrace.monitoring.verdict import Decay, Drift, Verdict
from millrace.strict import Strict


class Point(Strict):
    """What is kept of a run; `scores` are those of the columns, `metric` is the primary one."""

    run: str
    time: datetime
    since: datetime
    version: str
    drift: Drift
    rows: int
    score: float | None
    distance: float | None
    scores: dict[str, float]
    decay: Decay
    labelled_rows: int
    metric_name: str
    metric: Interval | None
    holdout: Interval | None
    estimate: Interval | None

    @classmethod
    def of(cls, verdict: Verdict, run: str) -> "Point":
        """The point of a verdict by the run of this name."""
        drift, performance = verdict.drift, verdict.performance
        name = performance.metric_name
        return cls(
            run=run,
            time=verdict.until,
            since=verdict.since,
            version=verdict.version,
            drift=drift.status,
            rows=drift.rows,
            score=drift.score,
            distance=drift.distance,
            scores={column.name: column.score for column in drift.columns if column.score is not None},
            decay=performance.status,
            labelled_rows=performance.labelled_rows,
            metric_name=name,
            metric=performance.metrics.get(name),
            holdout=performance.holdout.get(name),
            estimate=performance.estimate,
        )


def append(path: Path, point: Point) -> None:
    """Add a point."""
    add_line(path, point)


def read(path: Path, last: int) -> list[Point]:
    """The last points, oldest first."""
    return sorted(read_lines(path, Point, last), key=lambda point: point.time)
