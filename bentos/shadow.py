"""A variant that is scored beside every request and never answers, in a thread of its own."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from bentos.records import Records
from millrace.lineup import Variant
from millrace.requests import Question

log = logging.getLogger("millrace.service")
WAITING = 1000


class Task(NamedTuple):
    """A request to be scored, too."""

    variant: Variant
    question: Question
    request: str


class Shadow(threading.Thread):
    """Scores what it is given as it finds time; what does not fit in its queue is skipped, and counted."""

    def __init__(self, records: Records, fails: Callable[[Variant], None]) -> None:
        """`fails` is told of a variant that could not predict."""
        super().__init__(name="millrace-shadow", daemon=True)
        self._records = records
        self._fails = fails
        self._tasks: queue.Queue[Task] = queue.Queue(WAITING)

    def offer(self, task: Task) -> None:
        """Score a request some time soon, or never: no request waits."""
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self._records.metrics.skipped(len(task.question.matrix))

    def run(self) -> None:
        """Score one request after the other."""
        while True:
            task = self._tasks.get()
            began = time.perf_counter()
            try:
                _, answers = task.variant.answer(task.question)
            except Exception:
                log.exception("The shadow failed and is switched off: %s", task.variant.identity)
                self._fails(task.variant)
            else:
                self._records.predicted(task.variant, task.question, answers, task.request, began)
