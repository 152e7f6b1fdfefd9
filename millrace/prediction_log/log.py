"""The log of one process: requests offer what they answered, one thread writes it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Protocol

import msgspec

from millrace.contract import Problem
from millrace.prediction_log.entries import Entry, Item, Outcomes
from millrace.prediction_log.queue import RowQueue, size_of
from millrace.prediction_log.settings import LogSettings
from millrace.prediction_log.stores import open_store

log = logging.getLogger(__name__)
# What a row that cannot be encoded raises: no other attempt will do better.
UNENCODABLE = (TypeError, ValueError, LookupError, AttributeError, msgspec.MsgspecError)
# How many requests are written at once. Fewer cost more each; while they are looked at, others get the
# interpreter only now and then.
SLICE = 1_000
# In how many slices at most: each has to ask for the interpreter, so a long queue is written in larger ones.
SLICES = 20
# Between slices, in seconds. To let go of the interpreter's lock without a pause would not do: a loop of
# requests lets go of it at every system call, and whoever waits for it gets it each time.
SLICE_PAUSE = 0.001
# The part of `flush_seconds` after which the next flush begins, so that its rows are written in time.
PERIOD = 0.8
# The longest pause between two attempts to reach a store, in seconds.
LONGEST_PAUSE = 5.0
# The pause between the attempts of a process that is about to end.
LAST_PAUSE = 0.05


@dataclass(frozen=True)
class LogStatus:
    """How a process' log is doing; all but `waiting` counts from its start.

    `lost` rows are counted by reason: `full` (the queue was), `unavailable` (the store was, until the queue
    was full), `unencodable`, or `closed` (offered too late, or left when time was up). `fault` is why the
    store cannot be written to at present.
    """

    waiting: int = 0
    written: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    fault: str | None = None


class Watcher(Protocol):
    """Is told by the log's thread what it logs, where no request waits for it."""

    def watch(self, entries: Sequence[Entry]) -> None:
        """Entries that are about to be written; each once."""

    def report(self, status: LogStatus) -> None:
        """How the log is doing, at every flush."""


class PredictionLog:
    """Logs what a process answers.

    `offer` never waits and never raises. When the store cannot be reached, rows wait in the queue until
    it can; when the queue is full, rows are lost, and counted.
    """

    def __init__(self, settings: LogSettings, problem: Problem, watcher: Watcher | None = None) -> None:
        """Start the thread that writes.

        Raises:
            UserError: a package is missing that the settings' URI needs.
        """
        self._settings = settings
        self._store = open_store(settings, problem)
        self._queue = RowQueue(settings.queue_rows, settings.when_full)
        self._watcher = watcher
        self._written = 0
        self._fault: str | None = None
        self._untidy: str | None = None
        self._lost = (0, 0)
        self._losing = False
        self._pause = settings.flush_seconds
        self._tidy_at = self._deadline = 0.0
        self._full = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> bool:
        """Log an answered request, or outcomes, some time soon; False if there is no place for it.

        Raises nothing, waits for nothing, and may be called in any thread.
        """
        accepted = self._queue.put(item)
        if self._queue.rows >= self._settings.flush_rows and not self._full.is_set():
            self._full.set()
        return accepted

    @property
    def status(self) -> LogStatus:
        """How the log is doing."""
        queue = self._queue
        return LogStatus(queue.rows, self._written, dict(queue.lost), self._fault or self._untidy)

    def close(self, timeout: float = 5.0) -> LogStatus:
        """Take no more, write what waits for at most `timeout` seconds, and count the rest as lost."""
        self._queue.close()
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._full.set()
        self._thread.join(timeout)
        self._queue.abandon()
        self._tell()
        return self.status

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._closing.is_set():
            if self._fault is None:
                self._full.wait(max(0.0, begun + PERIOD * self._settings.flush_seconds - time.monotonic()))
                self._full.clear()
            else:
                self._closing.wait(self._pause)
            begun = time.monotonic()
            self._flush()
            self._tidy()
            self._alarm()
            self._tell()
        self._flush()
        while self._fault is not None and time.monotonic() < self._deadline:
            time.sleep(LAST_PAUSE)
            self._flush()
        self._attempt_to_close()

    def _flush(self) -> None:
        """Write what waits at present, a slice at a time: between slices, requests have the interpreter."""
        waiting = len(self._queue)
        size = max(SLICE, waiting // SLICES)
        while items := self._queue.take(min(size, waiting)):
            waiting -= len(items)
            entries = [item for item in items if isinstance(item, Entry)]
            outcomes = [item for item in items if isinstance(item, Outcomes)]
            self._watch(entries)
            try:
                self._write(entries, self._store.write)
                self._write(outcomes, self._store.write_outcomes)
            except Exception as error:
                self._queue.put_back([*entries, *outcomes])
                self._failed(error)
                return
            self._recovered()
            if not self._closing.is_set():
                time.sleep(SLICE_PAUSE)

    def _write(self, items: list[Any], write: Callable[[Any], None]) -> None:
        """Write items; those that stay in the list when this raises are yet to be written."""
        together = len(items)
        while items:
            some = items[:together]
            try:
                write(some)
                self._written += size_of(some)
                self._queue.done(some)
            except UNENCODABLE:
                if together > 1:
                    # One by one, to lose no more than the one that is to blame.
                    together = 1
                    continue
                if not self._queue.lost["unencodable"]:
                    log.exception("The prediction log cannot encode a request's rows; such rows are lost.")
                self._queue.done(some, lost="unencodable")
            del items[:together]

    def _failed(self, error: Exception) -> None:
        if self._fault is None:
            log.warning("The prediction log cannot be written: %s. Rows wait.", error)
            self._pause = self._settings.flush_seconds
        self._fault = f"{type(error).__name__}: {error}"
        self._queue.reason = "unavailable"
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _recovered(self) -> None:
        if self._fault is not None:
            log.warning("The prediction log is written again.")
        self._fault = None
        self._queue.reason = "full"

    def _alarm(self) -> None:
        """Say it once when rows begin to find no place, and once when they find it again."""
        full, unavailable = (self._queue.lost[reason] for reason in ("full", "unavailable"))
        before, self._lost = self._lost, (full, unavailable)
        if self._lost != before and not self._losing:
            away = unavailable > before[1]
            why = "it cannot be written" if away else "they come faster than they are written"
            log.error("The prediction log loses rows, as no more may wait: %s.", why)
            self._losing = True
        elif self._lost == before and self._losing and self._fault is None:
            log.warning(
                "The prediction log loses no more rows; %d are lost since the start.", full + unavailable
            )
            self._losing = False

    def _tidy(self) -> None:
        now = time.time()
        if self._fault is not None or (self._untidy is not None and time.monotonic() < self._tidy_at):
            return
        try:
            self._store.tidy(now)
            self._untidy = None
        except Exception as error:
            if self._untidy is None:
                log.warning("The prediction log cannot be tidied: %s.", error)
            self._untidy = f"{type(error).__name__}: {error}"
            self._tidy_at = time.monotonic() + LONGEST_PAUSE

    def _attempt_to_close(self) -> None:
        try:
            self._store.close()
            self._untidy = None
        except Exception as error:
            log.warning("The prediction log could not be finished: %s.", error)

    def _watch(self, entries: Sequence[Entry]) -> None:
        new = [entry for entry in entries if not entry.watched]
        for entry in new:
            entry.watched = True
        if self._watcher is not None and new:
            self._tell_watcher(lambda watcher: watcher.watch(new))

    def _tell(self) -> None:
        status = self.status
        self._tell_watcher(lambda watcher: watcher.report(status))

    def _tell_watcher(self, tell: Callable[[Watcher], None]) -> None:
        """What watches must not end what writes."""
        if self._watcher is None:
            return
        try:
            tell(self._watcher)
        except Exception:
            log.exception("The prediction log's watcher failed.")
