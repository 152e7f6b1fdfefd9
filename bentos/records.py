"""What is kept of the requests that a worker answers: counters for Prometheus, rows in the prediction log."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from millrace.input_summary import read_reference
from millrace.lineup import Lineup, Variant
from millrace.prediction_log import Entry, Outcome, Outcomes, PredictionLog
from millrace.requests import Question
from millrace.service_metrics import ServiceMetrics


class Records:
    """A worker's. Nothing here makes a request wait."""

    def __init__(
        self, metrics: ServiceMetrics, log: PredictionLog | None, verdict: Path | None = None
    ) -> None:
        """`verdict` is the file with the gauges of the monitoring pipeline, whether it is there or not."""
        self.metrics = metrics
        self.log = log
        self.verdict = verdict

    def exposition(self) -> bytes:
        """What Prometheus reads: all workers' metrics, and the latest verdict on the model."""
        rendered = self.metrics.render()
        with suppress(OSError):
            rendered += self.verdict.read_bytes() if self.verdict else b""
        return rendered

    def serving(self, lineup: Lineup) -> None:
        """From now on this lineup answers."""
        for variant in lineup.variants:
            reference, trained = read_reference(variant.bundle), variant.bundle.created
            self.metrics.serve(variant.role, variant.identity, reference, trained)

    def predicted(
        self,
        variant: Variant,
        question: Question,
        answers: bytes,
        request: str,
        began: float,
    ) -> None:
        """Rows have been predicted; `began` is of the monotonic clock."""
        self.metrics.predicted(variant.role, len(question.matrix))
        if self.log is not None:
            seconds = time.perf_counter() - began
            self.log.offer(
                Entry(time.time(), request, variant.role, variant.identity, seconds, question, answers)
            )

    def outcomes(self, outcomes: Sequence[Outcome]) -> bool:
        """Keep what turned out to be true; whether there was place for it."""
        return self.log is not None and self.log.offer(Outcomes(time.time(), outcomes))

    def close(self) -> None:
        """Write what waits."""
        if self.log is not None:
            self.log.close()
