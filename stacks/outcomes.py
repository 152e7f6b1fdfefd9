"""How pipelines ended: the last completed and the last failed run of each, in small files, for Prometheus.

A step that fails is noted by ZenML's hook, while the step is known; what fails outside of the steps by the
process that started the run; a killed run when the next start finds it.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import ValidationError

from millrace.durable import write_whole
from millrace.strict import Strict
from stacks.environment import home

# In the `extra` of ZenML's runs.
SUBJECT = "subject"
LABELS = ("stack", "pipeline", "problem")


class Subject(Strict):
    """Which pipeline, of which problem, on which stack."""

    stack: str
    pipeline: str
    problem: str


class Outcome(Strict):
    """The end of a run: when, after how many seconds, and of a failure the step, if it was in one, and why.

    Of a killed run `ended` is when that was found, and `seconds` are not known.
    """

    subject: Subject
    outcome: Literal["completed", "failed"]
    ended: float
    seconds: float | None = None
    step: str | None = None
    error: str | None = None


@contextmanager
def noting(subject: Subject) -> Iterator[None]:
    """Note how what is done meanwhile ends; its error comes through as it is."""
    began = time.time()
    try:
        yield
    except BaseException as error:
        failure = _last(subject, "failed")
        # Else the hook has been there.
        if failure is None or failure.ended < began:
            fail(subject, time.time() - began, error)
        raise
    ended = time.time()
    _write(Outcome(subject=subject, outcome="completed", ended=ended, seconds=ended - began))


def fail(
    subject: Subject, seconds: float | None, error: BaseException | str, step: str | None = None
) -> None:
    """Note a failure, now."""
    told = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error
    line = next(iter(told.splitlines()), "")
    _write(
        Outcome(
            subject=subject, outcome="failed", ended=time.time(), seconds=seconds, step=step, error=line[:500]
        )
    )


def note_failed_step(error: BaseException) -> None:
    """ZenML's hook: called in the process of a step that has failed for good, before its error goes on.

    What goes wrong here ZenML logs and passes over.
    """
    from zenml import get_step_context

    context = get_step_context()
    run = context.pipeline_run
    subject = Subject.model_validate(run.config.extra[SUBJECT])
    # ZenML's moments are UTC without a zone.
    began = run.start_time and run.start_time.replace(tzinfo=UTC)
    seconds = time.time() - began.timestamp() if began else None
    fail(subject, seconds, error, context.step_run.name)


def exposition() -> bytes:
    """How all pipelines ended, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Outcomes())
    return generate_latest(registry)


class _Outcomes:
    """What prometheus_client calls a collector."""

    def collect(self) -> Iterator[Metric]:
        ends = sorted(_read(folder().glob("*/*/*.json")), key=lambda end: end.ended)
        last = {_labels(end): end for end in ends}
        failed = GaugeMetricFamily(
            "millrace_pipeline_failed", "Whether the last run that ended has failed.", labels=LABELS
        )
        ended = GaugeMetricFamily(
            "millrace_pipeline_end_timestamp_seconds",
            "When a run last ended so.",
            labels=[*LABELS, "outcome"],
        )
        seconds = GaugeMetricFamily(
            "millrace_pipeline_seconds", "What the last run that ended took.", labels=LABELS
        )
        for labels, end in last.items():
            failed.add_metric(labels, end.outcome == "failed")
            if end.seconds is not None:
                seconds.add_metric(labels, end.seconds)
        for end in ends:
            ended.add_metric([*_labels(end), end.outcome], end.ended)
        yield from (failed, ended, seconds)


def folder() -> Path:
    """Where the ends are: STACK/PIPELINE/PROBLEM.OUTCOME.json."""
    return home() / "outcomes"


def _labels(end: Outcome) -> tuple[str, ...]:
    return end.subject.stack, end.subject.pipeline, end.subject.problem


def _path(subject: Subject, outcome: str) -> Path:
    return folder() / subject.stack / subject.pipeline / f"{subject.problem}.{outcome}.json"


def _last(subject: Subject, outcome: str) -> Outcome | None:
    return next(_read([_path(subject, outcome)]), None)


def _read(paths: Iterable[Path]) -> Iterator[Outcome]:
    """The ends in these files; one that is gone, or that another Millrace wrote, hides no other."""
    for path in paths:
        with suppress(OSError, ValidationError):
            yield Outcome.model_validate_json(path.read_bytes())


def _write(end: Outcome) -> None:
    """Whole or not at all; a full disk changes nothing of how the run ended."""
    path = _path(end.subject, end.outcome)
    try:
        write_whole(path, end.model_dump_json().encode())
    except OSError as error:
        print(f"  note: {path}: cannot be written ({error.strerror})", file=sys.stderr)
