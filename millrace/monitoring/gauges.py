"""A verdict for Prometheus, in its text format: what a service shows beside its own metrics.

What there is no verdict on has no number; a status is 1 for what is so and 0 for what is not.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from millrace.durable import write_whole
from millrace.metrics import Interval
from millrace.monitoring.verdict import Decay, Drift, Verdict

Samples = Iterable[tuple[tuple[str, ...], float | None]]


def exposition(verdict: Verdict) -> bytes:
    """The gauges of a verdict."""
    registry = CollectorRegistry()
    registry.register(_Verdict(verdict))
    return generate_latest(registry)


def publish(path: Path, verdict: Verdict) -> None:
    """Write the gauges, whole or not at all: a service may read them at any moment."""
    write_whole(path, exposition(verdict))


class _Verdict:
    """What prometheus_client calls a collector."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def collect(self) -> Iterator[Metric]:
        drift, performance = self._verdict.drift, self._verdict.performance
        columns = drift.columns
        yield self._gauge(
            "monitoring_timestamp_seconds", "When the window that was judged last ended.", (),
            [((), self._verdict.until.timestamp())],
        )  # fmt: skip
        yield self._gauge("window_rows", "Rows of the window.", (), [((), drift.rows)])
        yield self._gauge(
            "window_labelled_rows", "Rows whose outcome came in the window.", (),
            [((), performance.labelled_rows)],
        )  # fmt: skip
        yield self._status(
            "drift", "Whether inputs or predictions have drifted.", drift.status, get_args(Drift)
        )
        yield self._gauge(
            "drift_score", "By column; drifted above 1.", ("column",),
            [((column.name,), column.score) for column in columns],
        )  # fmt: skip
        yield self._gauge(
            "drift_distance", "By column, from 0 for equal to the reference to 1.", ("column",),
            [((column.name,), column.distance) for column in columns],
        )  # fmt: skip
        yield self._gauge(
            "drift_missing_share", "Share of a column's values that are missing.", ("column",),
            [((column.name,), column.missing) for column in columns],
        )  # fmt: skip
        yield self._status(
            "decay",
            "Whether predictions are worse than the reference's.",
            performance.status,
            get_args(Decay),
        )
        metrics = performance.metrics.items()
        yield self._intervals("performance", "Measured on labelled rows.", metrics)
        yield self._intervals("performance_holdout", "Measured by training.", performance.holdout.items())
        estimate = [(performance.metric_name, performance.estimate)] if performance.estimate else []
        yield self._intervals("performance_estimate", "Estimated for all rows of the window.", estimate)

    def _gauge(self, name: str, about: str, labels: tuple[str, ...], samples: Samples) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"millrace_{name}", about, labels=["problem", "version", *labels])
        for values, value in samples:
            if value is not None:
                family.add_metric([self._verdict.problem, self._verdict.version, *values], value)
        return family

    def _status(self, name: str, about: str, status: str, known: tuple[str, ...]) -> GaugeMetricFamily:
        samples = [((each,), float(each == status)) for each in known]
        return self._gauge(f"{name}_status", about, ("status",), samples)

    def _intervals(self, name: str, about: str, found: Iterable[tuple[str, Interval]]) -> GaugeMetricFamily:
        samples = [
            ((metric, bound), getattr(interval, bound))
            for metric, interval in found
            for bound in ("value", "low", "high")
        ]
        return self._gauge(name, about, ("metric", "bound"), samples)
