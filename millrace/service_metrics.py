"""What Prometheus is told of a service, gathered from all its processes.

Each process writes its numbers to files of its own in the folder that the variable PROMETHEUS_MULTIPROC_DIR
names, set before Python first imports prometheus_client; any of them can add all up. Counters outlive the
process that counted; gauges speak of those that live. The folder is of one service, and empty when it starts.
"""

import os
import struct
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from millrace.input_summary import Reference, Spread
from millrace.prediction_log import Entry, LogStatus, ModelName

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
VARIANTS = ("champion", "challenger", "shadow")
SHADOW = "shadow"
OTHER = "other"
# The rules of `millrace.requests.InvalidRequest`, and what HTTP refuses before a body is read.
ERRORS = (
    *("json", "rows", "type", "range", "category", "required", "unknown"),
    *("path", "method", "media_type", "body_limit", "table", "variant", "auth", "rate", "slow"),
    *("closed", "internal"),
)
LOST = ("full", "unavailable", "unencodable", "closed")
# Upper ends in seconds: a row takes a fraction of a millisecond, ten thousand take seconds.
BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STATUSES = frozenset(HTTPStatus)
# How often a scrape is tried again while a process is about to make its files.
ATTEMPTS = 5


class Told(msgspec.Struct, gc=False):
    """What is counted of an answer: the value, or the name of the class."""

    prediction: float | str


class _Process:
    """This process' number, asked of the system once and not for every number that is counted."""

    number = os.getpid()

    @classmethod
    def ask(cls) -> None:
        cls.number = os.getpid()


os.register_at_fork(after_in_child=_Process.ask)
if values.ValueClass is not values.MutexValue:
    values.ValueClass = values.MultiProcessValue(lambda: _Process.number)  # type: ignore[no-untyped-call]


class ServiceMetrics:
    """A process' metrics; it is also the `Watcher` of the process' prediction log.

    Labels are bounded: what is not among the routes, variants and kinds known from the start is `other`.
    """

    def __init__(self, routes: Iterable[str]) -> None:
        """`routes` are the templates of the paths that the service knows.

        Raises:
            RuntimeError: there is no folder to gather metrics in, or it was named too late.
        """
        if values.ValueClass is values.MutexValue or not Path(os.environ.get(FOLDER, "")).is_dir():
            raise RuntimeError(f"{FOLDER} must name a folder before Python imports prometheus_client.")
        registry = CollectorRegistry()
        # Its count is that of the requests.
        self._seconds = Histogram(
            "millrace_request_seconds", "From a request's arrival to its answer.", ["route", "status"],
            buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self._routes = frozenset(routes)
        self._answered: dict[tuple[str, int | str], Callable[[float], None]] = {}
        for route in sorted(self._routes):
            self._prepare(route, 200)
        rows = _counter(registry, "rows", "Rows predicted.", "variant")
        self._rows = {variant: rows.labels(variant).inc for variant in (*VARIANTS, OTHER)}
        errors = _counter(
            registry, "errors", "Requests refused or failed, by the rule that was broken.", "kind"
        )
        self._errors = {kind: errors.labels(kind).inc for kind in (*ERRORS, OTHER)}
        self._skipped = _counter(
            registry, "shadow_skipped", "Rows not scored in the shadow, for want of time."
        )
        self._model = _gauge(
            registry, "model_info", "Processes that serve this model.", *ModelName._fields, "variant"
        )
        self._trained = _gauge(
            registry, "model_trained_timestamp_seconds", "When the model was made; 0 if it serves no more.",
            "name", "version", "variant", mode="livemax",
        )  # fmt: skip
        self._served: dict[str, ModelName] = {}
        self._log = _LogMetrics(registry)
        self._spread = _SpreadMetrics(registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; costs a few microseconds."""
        try:
            observe = self._answered[route, status]
        except KeyError:
            observe = self._prepare(route, status)
        observe(seconds)

    def predicted(self, variant: str, rows: int) -> None:
        """Count predicted rows."""
        self._rows.get(variant, self._rows[OTHER])(rows)

    def refused(self, kind: str) -> None:
        """Count an error."""
        self._errors.get(kind, self._errors[OTHER])()

    def skipped(self, rows: int) -> None:
        """Count rows that the shadow had no time for."""
        self._skipped.inc(rows)

    def serve(self, variant: str, model: ModelName, reference: Reference, trained: datetime) -> None:
        """From now on `model` answers as this variant; its inputs are binned by `reference`."""
        before = self._served.get(variant)
        if before is not None:
            self._model.labels(*before, variant).set(0)
            self._trained.labels(before.name, before.version, variant).set(0)
        self._served[variant] = model
        self._model.labels(*model, variant).set(1)
        self._trained.labels(model.name, model.version, variant).set(trained.timestamp())
        self._spread.prepare(model, reference)

    def watch(self, entries: Sequence[Entry]) -> None:
        """Bin what the prediction log is about to write; called by its thread."""
        self._spread.count(entries)

    def report(self, status: LogStatus) -> None:
        """Take over how the prediction log is doing; called by its thread."""
        self._spread.publish()
        self._log.report(status)

    def render(self) -> bytes:
        """All processes' metrics, as Prometheus reads them; takes milliseconds."""
        folder = Path(os.environ[FOLDER])
        for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
            if not _alive(int(pid)):
                # Another process may be at it, too.
                with suppress(FileNotFoundError):
                    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        for _ in range(ATTEMPTS):
            registry = CollectorRegistry()
            # A file that was opened and has no length yet cannot be read.
            with suppress(struct.error):
                MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
                return generate_latest(registry)
        raise RuntimeError(f"{folder}: holds a file that is no process' metrics.")

    def _prepare(self, route: str, status: int) -> Callable[[float], None]:
        """What counts requests with these labels, resolved once; labels that nobody foresaw are not kept."""
        known = route if route in self._routes else OTHER
        code = status if status in STATUSES else OTHER
        if (known, code) not in self._answered:
            self._answered[known, code] = self._seconds.labels(known, code).observe
        return self._answered[known, code]


class _LogMetrics:
    """The prediction log of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = _gauge(registry, "log_queue_rows", "Rows that wait to be logged.")
        self._failing = _gauge(registry, "log_failing", "Processes that cannot write their log at present.")
        self._written = _counter(registry, "log_rows", "Rows logged.")
        lost = _counter(registry, "log_lost", "Rows that were answered and not logged.", "reason")
        self._lost = {reason: lost.labels(reason).inc for reason in (*LOST, OTHER)}
        self._last = LogStatus()

    def report(self, status: LogStatus) -> None:
        self._waiting.set(status.waiting)
        self._failing.set(status.fault is not None)
        self._written.inc(_step(self._last.written, status.written))
        for reason, rows in status.lost.items():
            self._lost.get(reason, self._lost[OTHER])(_step(self._last.lost.get(reason, 0), rows))
        self._last = status


class _SpreadMetrics:
    """How inputs and predictions are spread, by the version of the model whose reference has the bins."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = _counter(
            registry, "feature_rows", "Rows by the bin of an input.", "version", "feature", "bin"
        )
        # Sums may fall, as no counter may; those of processes that are gone still count.
        self._sum = _gauge(
            registry, "feature_sum", "Sum of an input's values.", "version", "feature", mode="sum"
        )
        self._squares = _gauge(
            registry, "feature_squares", "Sum of an input's squared values.", "version", "feature", mode="sum"
        )
        self._share = _gauge(
            registry, "feature_reference_share", "Share of the reference's rows in the bin of an input.",
            "version", "feature", "bin", mode="max",
        )  # fmt: skip
        self._predictions = _counter(
            registry, "prediction_rows", "Rows by the bin of the prediction.", "version", "variant", "bin"
        )
        self._prediction_share = _gauge(
            registry, "prediction_reference_share", "Share of the reference's rows in a prediction's bin.",
            "version", "bin", mode="max",
        )  # fmt: skip
        self._references: dict[ModelName, Reference] = {}
        # By version and feature, and by version and variant.
        self._spreads: defaultdict[tuple[str, str], Spread] = defaultdict(Spread)
        self._predicted: defaultdict[tuple[str, str], Counts[str]] = defaultdict(Counts)

    def prepare(self, model: ModelName, reference: Reference) -> None:
        """Zero where nothing was counted yet, so that the first row shows as an increase."""
        for feature, bins in reference.inputs.items():
            for name in bins.bins:
                self._rows.labels(model.version, feature, name)
            for name, share in reference.shares[feature].items():
                self._share.labels(model.version, feature, name).set(share)
        for name, share in reference.prediction_shares.items():
            self._prediction_share.labels(model.version, name).set(share)
        self._references[model] = reference

    def count(self, entries: Sequence[Entry]) -> None:
        """Add to what is published next; this happens many times a flush."""
        alike: defaultdict[tuple[ModelName, str], list[Entry]] = defaultdict(list)
        for entry in entries:
            alike[entry.model, entry.variant].append(entry)
        for (model, variant), some in alike.items():
            reference = self._references.get(model)
            if reference is None:
                continue
            label = variant if variant in VARIANTS else OTHER
            counts = reference.spread_predictions(_predictions(some)).counts
            self._predicted[model.version, label].update(counts)
            # In the shadow, rows are predicted that another model has answered.
            if variant != SHADOW:
                rows = np.concatenate([entry.question.matrix for entry in some])
                for feature, spread in reference.spread(rows).items():
                    self._spreads[model.version, feature].add(spread)

    def publish(self) -> None:
        """Tell Prometheus what was counted since the last time."""
        for (version, feature), spread in self._spreads.items():
            for name, rows in spread.counts.items():
                self._rows.labels(version, feature, name).inc(rows)
            self._sum.labels(version, feature).inc(spread.sum)
            self._squares.labels(version, feature).inc(spread.squares)
        for (version, variant), counts in self._predicted.items():
            for name, rows in counts.items():
                self._predictions.labels(version, variant, name).inc(rows)
        self._spreads.clear()
        self._predicted.clear()


def _predictions(entries: Sequence[Entry]) -> list[Any]:
    answers = b",".join([entry.answers for entry in entries])
    told = msgspec.json.decode(b"[%b]" % answers, type=list[list[Told]])
    return [answer.prediction for some in told for answer in some]


def _counter(registry: CollectorRegistry, name: str, about: str, *labels: str) -> Counter:
    return Counter(f"millrace_{name}_total", about, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, about: str, *labels: str, mode: Any = "livesum") -> Gauge:
    return Gauge(f"millrace_{name}", about, labels, registry=registry, multiprocess_mode=mode)


def _step(before: int, now: int) -> int:
    """By how much a count rose; one that fell belongs to another log, which began at zero."""
    return now - before if now >= before else now


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
