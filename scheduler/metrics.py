"""What Prometheus is told of the scheduler: the queue's file as it is, and what has rung."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from scheduler.queue import Queue
from stacks import outcomes

# Of alerts: what became of each.
RECEIVED = ("queued", "joined", "repeated", "resolved", "refused", "unavailable")


class Metrics:
    """The scheduler's metrics, and how pipelines ended, whoever started them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._received = Counter(
            "millrace_alerts_received", "Alerts that came, by what became of them.", ["outcome"],
            registry=self._registry,
        )  # fmt: skip
        # Zero from the start, so that the first shows as an increase.
        for outcome in RECEIVED:
            self._received.labels(outcome)

    def received(self, outcome: str, alerts: int = 1) -> None:
        """Count alerts."""
        self._received.labels(outcome).inc(alerts)

    def render(self) -> bytes:
        """Everything, as Prometheus reads it.

        Raises:
            sqlite3.Error: the queue cannot be read.
        """
        return generate_latest(self._registry) + outcomes.exposition()

    def describe(self) -> Iterator[Metric]:
        """Of prometheus_client: asked when it is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Of prometheus_client: the queue's numbers.

        The label is `name`, as `job` is Prometheus' own.
        """
        waiting = self._queue.jobs("waiting")
        yield GaugeMetricFamily("millrace_jobs_waiting", "Jobs that wait.", value=len(waiting))
        running = GaugeMetricFamily(
            "millrace_job_start_timestamp_seconds", "When the job that runs began.", labels=["name"]
        )
        for job in self._queue.jobs("running"):
            running.add_metric([job.name], job.started or 0.0)
        ended = CounterMetricFamily("millrace_jobs", "Jobs that ended, by how.", labels=["name", "outcome"])
        for labels, jobs in self._queue.tally().items():
            ended.add_metric(labels, jobs)
        seconds = GaugeMetricFamily("millrace_job_seconds", "What the last job took.", labels=["name"])
        for name, took in {job.name: job.seconds for job in self._queue.jobs("ended")}.items():
            seconds.add_metric([name], took or 0.0)
        coming = GaugeMetricFamily(
            "millrace_schedule_next_timestamp_seconds", "When a schedule comes next.", labels=["name"]
        )
        for name, planned in self._queue.planned().items():
            coming.add_metric([name], planned.next)
        yield from (running, ended, seconds, coming)
