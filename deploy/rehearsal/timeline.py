"""What has happened when, as those say who did it: simulator, monitoring, Alertmanager, scheduler, ZenML."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.rehearsal.stage import PROBLEM, Stage
from millrace.errors import UserError
from millrace.monitoring.history import Point, read
from scheduler.queue import Job, Queue

# The name of a run has the moment at which it began.
BEGAN = re.compile(r"(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d_\d{6})$")


@dataclass(frozen=True)
class Day:
    """A simulated day that has ended, and the error of what was answered in its course."""

    ended: datetime
    day: float
    error: float


@dataclass
class Timeline:
    """Moments by their names, in the order in which they are waited for."""

    stage: Stage
    events: Path
    days: list[Day] = field(default_factory=list)
    moments: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    read_lines: int = 0

    def look(self) -> list[str]:
        """Take down what is new, and return the names of it."""
        known = set(self.moments)
        self._read_events()
        looks: tuple[Callable[[], None], ...] = (self._detected, self._alerted, self._retrained, self._mended)
        for look in looks:
            with suppress(OSError, ValueError, UserError):
                look()
        return [name for name in self.moments if name not in known]

    def note(self, name: str, moment: datetime, what: str) -> None:
        """Take down the first time that something happens."""
        self.moments.setdefault(name, (moment, what))

    def has(self, name: str) -> bool:
        """Whether something has happened."""
        return name in self.moments

    def verdicts(self) -> list[Point]:
        """What monitoring has found so far, the oldest first."""
        return read(self.stage.folder / "monitoring" / "local" / f"{PROBLEM}.jsonl", 1000)

    def _read_events(self) -> None:
        if not self.events.is_file():
            return
        lines = self.events.read_text(encoding="utf-8").splitlines()
        for line in lines[self.read_lines :]:
            event = json.loads(line)
            moment = datetime.fromisoformat(event["time"])
            match event["event"]:
                case "drift_begins":
                    self.note("drift begins", moment, f"on simulated day {event['day']:.1f}")
                case "version" if self.has("retraining starts"):
                    self.note("service swapped", moment, f"version {event['version']} answers")
                case "day" if event["metric"] is not None:
                    self.days.append(Day(moment, event["day"], event["metric"]))
        self.read_lines = len(lines)

    def _detected(self) -> None:
        for point in self.verdicts():
            if self.has("drift begins") and (point.drift == "drift" or point.decay == "decay"):
                score = "" if point.score is None else f", score {point.score:.1f}"
                said = f"{point.drift}{score}; {point.decay}, {point.labelled_rows:,} outcomes"
                self.note("verdict published", self._published(point), said)

    def _published(self, point: Point) -> datetime:
        """When a verdict could be seen, which is later than the end of its window."""
        gauges = self.stage.folder / "bentoml" / "monitoring" / f"{PROBLEM}.prom"
        written = datetime.fromtimestamp(gauges.stat().st_mtime, UTC)
        return written if written >= point.time else point.time

    def _alerted(self) -> None:
        import requests

        if not self.has("verdict published") or self.has("alert"):
            return
        found = requests.get(f"{self.stage.url('alertmanager')}/api/v2/alerts", timeout=5).json()
        asking = [each for each in found if "retrain" in each["labels"]]
        if asking:
            first = min(asking, key=lambda each: str(each["startsAt"]))
            names = ", ".join(sorted(each["labels"]["alertname"] for each in asking))
            self.note("alert", datetime.fromisoformat(first["startsAt"]), names)

    def _retrained(self) -> None:
        if not self.has("alert"):
            return
        for job in self._jobs():
            summary = self._summary(job)
            if job.started is not None:
                about = f"job {job.id} of the scheduler"
                self.note("retraining starts", datetime.fromtimestamp(job.started, UTC), about)
            if summary and summary["training"]:
                run = summary["training"]["run_name"]
                began = BEGAN.search(run)
                assert began is not None, run
                moment = datetime.strptime(began[1], "%Y_%m_%d-%H_%M_%S_%f").replace(tzinfo=UTC)
                self.note("run begins", moment, run)
            if summary and job.ended is not None:
                ended = datetime.fromtimestamp(job.ended, UTC)
                self.note("retraining ends", ended, f"{summary['outcome']}: {summary['why']}")

    def _jobs(self) -> list[Job]:
        queue = Queue(self.stage.folder / "scheduler" / "queue.db")
        jobs = [job for state in ("ended", "running") for job in queue.jobs(state)]
        return sorted((job for job in jobs if job.name == "alert"), key=lambda job: job.id)

    def _summary(self, job: Job) -> dict[str, Any] | None:
        path = self.stage.folder / "scheduler" / "logs" / f"{job.id}-{job.name}.json"
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(path.read_bytes())
            return found
        return None

    def _mended(self) -> None:
        if not self.has("service swapped"):
            return
        swapped = self.moments["service swapped"][0]
        worst = max(day.error for day in self.days)
        for day, before in zip(self.days[1:], self.days, strict=False):
            # The first whole day of the new model.
            if before.ended > swapped:
                half = (worst + self.days[0].error) / 2
                if day.error < half:
                    said = (
                        f"{day.error:.3f}; it was {self.days[0].error:.3f} before, and {worst:.3f} at worst"
                    )
                    self.note("error down", day.ended, said)
                    return
