"""Earlier verdicts, one line of JSON a run, in a file that is only ever added to."""

import contextlib
import os
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

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
    """Add a line; by one call, so that two runs' lines do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # What a crash has left of a line ends here, and is a line of its own.
    torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    line = ("\n" if torn else "") + point.model_dump_json() + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path, last: int) -> list[Point]:
    """The last points, oldest first; lines that are none are passed over."""
    if not path.is_file():
        return []
    points = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-last:]:
        with contextlib.suppress(ValidationError):
            points.append(Point.model_validate_json(line))
    return sorted(points, key=lambda point: point.time)
