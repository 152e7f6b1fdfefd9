"""The worker: one job at a time, each a run.py of its own.

A job holds a lock that ends with it, however it ends. So a scheduler that was killed finds at its next start
whether the job still runs, and no two ever run at once.
"""

import fcntl
import json
import logging
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, Literal

from scheduler.queue import Job, Queue
from scheduler.settings import Schedules
from scheduler.token import VARIABLES
from stacks.environment import ROOT, home

log = logging.getLogger("scheduler")
# How often a running job, and the queue, are looked at, in seconds.
LOOK = 0.2
# How often a job that fails is run, and how often one that the scheduler dies with.
FAILURES, STARTS = 2, 5
# What is kept of a log, in bytes, of a sentence in it and of reasons, in characters.
LOG_BYTES = 2**20
SENTENCE = 300
REASONS = 500
# By run.py's exit code; any other is a failure.
OUTCOMES = {0: "done", 2: "refused", 3: "incomplete"}
End = Literal["ended", "stopped", "late"]


class Worker:
    """Runs the queue's jobs by `command` and a job's arguments, until it is told to stop."""

    def __init__(self, queue: Queue, folder: Path, settings: Schedules, command: Sequence[str]) -> None:
        self._queue = queue
        self._logs = folder / "logs"
        self._lock = folder / "job.lock"
        self._settings = settings
        self._command = command
        self._logs.mkdir(parents=True, exist_ok=True)

    def run(self, stop: Event, awake: Event) -> None:
        """Run jobs as they come; `awake` is set when one may have."""
        self._find_again(stop)
        while not stop.is_set():
            awake.clear()
            job = _until(lambda: self._queue.take(time.time(), self._settings.retry_seconds), stop)
            if job is None:
                awake.wait(1)
            elif not stop.is_set():
                self._run(job, stop)
            else:
                self._queue.put_back(job.id, time.time())

    def _run(self, job: Job, stop: Event) -> None:
        path = self._logs / f"{job.id}-{job.name}.log"
        log.info("job %d %s begins: %s", job.id, job.name, path)
        try:
            arguments = _until(lambda: self._arguments(job), stop)
            process = self._start(arguments, path)
        except OSError as error:
            self._settle(job, "failed", f"could not be started: {error}", stop)
            return
        _until(lambda: self._queue.note_process(job.id, process.pid, str(path)), stop)
        ended = self._attend(lambda: process.poll() is None, process.pid, path, stop)
        if self._is_held():
            # Processes that it left behind.
            os.killpg(process.pid, signal.SIGKILL)
        self._conclude(job, process.wait(), ended, path, stop)

    def _start(self, arguments: Sequence[str], path: Path) -> "subprocess.Popen[bytes]":
        """A job's process; it inherits the lock, on which this one's own hold ends here."""
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        with path.open("ab") as output, self._opened_lock() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**environment, "MILLRACE_HOME": str(home())},
                # Of its own group: Ctrl-C is the scheduler's to pass on.
                start_new_session=True,
                pass_fds=[lock],
            )

    def _find_again(self, stop: Event) -> None:
        """See to the job that ran when the scheduler was killed: wait for it, or for its next try."""
        job = _until(self._queue.running, stop)
        if job is None:
            return
        path = self._logs / f"{job.id}-{job.name}.log"
        if self._is_held():
            log.info("job %d %s still runs, and is waited for", job.id, job.name)
        ended = self._attend(self._is_held, job.pid, path, stop)
        # Nobody but its parent is told how a process ended; the summary is the last that a run writes.
        self._conclude(job, 0 if self._summary(job).is_file() else None, ended, path, stop)

    def _attend(self, runs: Callable[[], bool], group: int | None, path: Path, stop: Event) -> End:
        """Wait until a job has ended, by itself, because the scheduler is to stop or because it is late."""
        began = time.monotonic()
        while runs():
            late = time.monotonic() - began > self._settings.limit_hours * 3600
            if late or stop.wait(LOOK):
                self._interrupt(runs, group)
                return "late" if late else "stopped"
            shorten(path)
        return "ended"

    def _interrupt(self, runs: Callable[[], bool], group: int | None) -> None:
        """End a job's processes as Ctrl-C does and, if they take too long, as nothing survives."""
        if group is None:
            return
        for number, seconds in ((signal.SIGINT, self._settings.stop_seconds), (signal.SIGKILL, 10.0)):
            with suppress(ProcessLookupError):
                os.killpg(group, number)
            end = time.monotonic() + seconds
            while runs() and time.monotonic() < end:
                time.sleep(LOOK / 4)
            if not runs():
                return

    def _conclude(self, job: Job, code: int | None, ended: End, path: Path, stop: Event) -> None:
        """See what has become of a job; no code is that of one whose end nobody saw."""
        shorten(path)
        outcome = "lost" if code is None else OUTCOMES.get(code, "failed")
        sentence = self._told(job) if outcome == "done" else _sentence(path)
        if ended == "late":
            outcome, sentence = "failed", f"stopped after {self._settings.limit_hours:g} hours"
        elif ended == "stopped" and outcome in ("lost", "failed"):
            outcome = "stopped"
        self._settle(job, outcome, sentence, stop)

    def _settle(self, job: Job, outcome: str, sentence: str, stop: Event) -> None:
        """Write down what has become of a job: it has ended, or runs again."""
        now = time.time()
        told = f": {sentence}" if sentence else ""
        if outcome == "stopped" or (outcome == "lost" and job.starts < STARTS):
            _until(lambda: self._queue.put_back(job.id, now), stop)
            log.info("job %d %s: %s, and runs again", job.id, job.name, outcome)
        elif outcome == "failed" and job.failures + 1 < FAILURES:
            pause = self._settings.retry_seconds
            _until(lambda: self._queue.put_back(job.id, now + pause, sentence), stop)
            log.info("job %d %s: failed, and runs again in %g s%s", job.id, job.name, pause, told)
        else:
            _until(lambda: self._queue.end(job.id, outcome, sentence, now), stop)
            seconds = now - (job.started or now)
            log.info("job %d %s: %s after %.0f s%s", job.id, job.name, outcome, seconds, told)
            self._forget()

    def _arguments(self, job: Job) -> list[str]:
        summary = self._summary(job)
        summary.unlink(missing_ok=True)
        arguments = [*job.arguments, f"--summary={summary}"]
        if job.told:
            causes = self._queue.causes(job.id)
            reasons = dict.fromkeys(reason for _, reason in causes if reason)
            arguments += [f"--cause={causes[0][0]}", f"--reason={'; '.join(reasons)[:REASONS]}"]
        return arguments

    def _summary(self, job: Job) -> Path:
        return self._logs / f"{job.id}-{job.name}.json"

    def _told(self, job: Job) -> str:
        """What a run's summary says in words, if it does."""
        with suppress(OSError, ValueError):
            summary = json.loads(self._summary(job).read_bytes())
            told = (summary.get(key) for key in ("outcome", "why"))
            return ": ".join(text for text in told if isinstance(text, str))[:SENTENCE]
        return ""

    def _forget(self) -> None:
        """Delete the files of jobs that the queue has forgotten."""
        with suppress(sqlite3.Error, OSError):
            kept = {job.id for state in ("waiting", "running", "ended") for job in self._queue.jobs(state)}
            for path in self._logs.glob("*-*.*"):
                if int(path.name.partition("-")[0]) not in kept:
                    path.unlink()

    def _is_held(self) -> bool:
        """Whether a process that has inherited the job's lock lives."""
        with self._opened_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    @contextmanager
    def _opened_lock(self) -> Iterator[int]:
        lock = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)


def shorten(path: Path) -> None:
    """Leave the last part of a log that has become too long; its writer appends, so it goes on behind it."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > 2 * LOG_BYTES:
            with path.open("r+b") as file:
                file.seek(-LOG_BYTES, os.SEEK_END)
                kept = file.read()
                file.truncate(0)
            with path.open("ab") as file:
                file.write(kept)


def _sentence(path: Path) -> str:
    """The last error that a log tells, else its last line."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(path.stat().st_size - 16_384, 0))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or [""])[-1].removeprefix("error: ")[:SENTENCE]
    return ""


def _until(write: Callable[[], Any], stop: Event) -> Any:
    """What `write` returns once the queue can be written.

    Raises:
        sqlite3.Error: it cannot, and the scheduler is to stop: the next start finds the job as it was.
    """
    told = False
    while True:
        try:
            return write()
        except sqlite3.Error as error:
            if not told:
                log.error("The queue cannot be written: %s; the worker waits.", error)
                told = True
            if stop.wait(1):
                raise
