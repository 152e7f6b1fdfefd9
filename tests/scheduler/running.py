"""A scheduler in a process of its own, and what can be seen of it from outside."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from scheduler.queue import Job, Queue
from tests.conftest import ROOT

# `python -m scheduler start` with another command than run.py.
PROGRAM = """
import logging, sys
from pathlib import Path
from scheduler import program
from scheduler.settings import read_schedules
from millrace.errors import UserError
logging.basicConfig(format="%(message)s", level=logging.WARNING)
logging.getLogger("scheduler").setLevel(logging.INFO)
command = [sys.executable, sys.argv[2]]
try:
    sys.exit(program.start(read_schedules(Path(sys.argv[1])), port=int(sys.argv[3]), command=command))
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""
STAND_IN = Path(__file__).parent / "stand_in.py"
PATIENCE = 60.0
QUICK = {"retry_seconds": 0.1, "stop_seconds": 10}


def until(condition: Callable[[], Any]) -> Any:
    """What a condition returns, once that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
    return found


def alert(fingerprint: str = "a1b2", starts: str = "2026-11-26T08:00:00.123456789Z", **changed: Any) -> Any:
    """An alert as Alertmanager sends it."""
    labels = {"alertname": "Drift", "problem": "iris", "retrain": "drift", **changed.pop("labels", {})}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "iris has drifted", "runbook": "docs/alerts.md"},
        "startsAt": starts,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": fingerprint,
        **changed,
    }


def notification(*alerts: Any) -> dict[str, Any]:
    """The body of a webhook as Alertmanager 0.25 sends it."""
    return {
        "receiver": "retraining",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "version": "4",
        "groupKey": '{}/{retrain=~".+"}:{}',
        "truncatedAlerts": 0,
    }


@dataclass
class Running:
    """A home, and the scheduler that was last started on it."""

    home: Path
    settings: dict[str, Any] = field(default_factory=lambda: dict(QUICK))
    process: "subprocess.Popen[str] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.behave()

    @property
    def folder(self) -> Path:
        """The scheduler's own."""
        return self.home / "scheduler"

    @property
    def queue(self) -> Queue:
        """The queue, read by this process."""
        return Queue(self.folder / "queue.db")

    @property
    def log(self) -> str:
        """What all schedulers of this home have said."""
        return (self.home / "log").read_text()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The jobs' processes, as they were called."""
        path = self.home / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def url(self) -> str:
        """Where the scheduler is."""
        return re.findall(r"the scheduler is on (http://\S+);", self.log)[-1]

    def behave(self, **behaviour: Any) -> None:
        """Tell the next jobs how."""
        (self.home / "behaviour.json").write_text(json.dumps(behaviour))

    def start(self, command: Path = STAND_IN, port: int = 0) -> None:
        """Start a scheduler, on any port unless one is given, and wait until it answers."""
        with (self.home / "log").open("a") as log:
            seen = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, self.schedules(), command, str(port)],
                cwd=ROOT,
                env={**os.environ, "MILLRACE_HOME": str(self.home), **self.environment},
                stdout=log,
                stderr=log,
                text=True,
            )
        process = self.process
        until(lambda: "the scheduler is on" in self.log[seen:] or process.poll() is not None)

    def schedules(self) -> Path:
        """The file of schedules."""
        path = self.home / "schedules.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return path

    def stop(self) -> int:
        """Tell the scheduler to stop; return how it ended."""
        assert self.process
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill the scheduler, and nothing but the scheduler, with SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait(PATIENCE)

    def ring(self, *alerts: Any, **options: Any) -> httpx.Response:
        """Send alerts as Alertmanager does."""
        token = (self.folder / "token").read_text()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.post(
            f"{self.url}/v1/alerts", json=notification(*alerts), headers=headers, timeout=PATIENCE, **options
        )

    def counted(self, name: str) -> dict[str, float]:
        """A metric's values, by the labels in braces."""
        text = httpx.get(f"{self.url}/metrics", timeout=PATIENCE).text
        return {
            labels: float(value) for labels, value in re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.M)
        }

    def ended(self, jobs: int = 1) -> list[Job]:
        """The jobs that have ended, once there are so many."""
        return until(lambda: found if len(found := self.queue.jobs("ended")) >= jobs else None)

    def began(self) -> psutil.Process:
        """The process of the next job that says that it has begun."""
        until((self.home / "began").exists)
        (self.home / "began").unlink()
        return psutil.Process(self.calls[-1]["pid"])

    def release(self) -> None:
        """Let a job go on that holds."""
        (self.home / "released").touch()


@contextmanager
def running(home: Path) -> Iterator[Running]:
    """A home whose scheduler and jobs end with the test."""
    found = Running(home)
    try:
        yield found
    finally:
        if found.process and found.process.poll() is None:
            found.process.kill()
        for call in found.calls:
            for process in _group(call["pid"]):
                process.kill()


def _group(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader:
                found.append(process)
        except ProcessLookupError:
            continue
    return found
