"""Monitoring: have the champion's inputs or predictions drifted, and does it still predict well?"""

import time
from datetime import datetime
from pathlib import Path

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.moments import begin
from millrace.monitoring import MonitoringSettings, Verdict
from millrace.monitoring.page import notes
from millrace.registry import CHAMPION
from pipelines.closing import tell_damaged, write_summary
from pipelines.configuration import load_configuration
from pipelines.launch import launch
from pipelines.monitoring_summary import MonitoringSummary, print_summary
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.caching import cache_policy
from steps.score import choose_model
from steps.watch import Watching, gauges_path, history_path, publish, report, watch


@pipeline(execution_mode=ExecutionMode.FAIL_FAST, cache_policy=cache_policy())
def monitoring(problem: str, asked: Watching) -> None:
    """Judge what the champion of a problem has answered of late."""
    chosen = choose_model(problem, CHAMPION)
    verdict, sample = watch(chosen, asked)
    publish(verdict, chosen, asked)
    report(verdict, sample, chosen, asked)


def run(
    problem: str,
    *,
    since: datetime | None,
    until: datetime,
    config: Path,
    overrides: list[str],
    use_cache: bool,
    summary: Path | None,
    started: float,
    stack: Stack,
    lines: StepLines,  # noqa: ARG001 - nothing here is ever cached
) -> None:
    """Run the pipeline and say what it has found.

    Raises:
        UserError: for what the user can mend; `Incomplete` if parts of the log could not be read.
    """
    configuration = load_configuration(config, overrides, MonitoringSettings)
    settings = configuration.settings
    asked = Watching(
        stack=stack.name, since=since or begin(settings.window, until), until=until, settings=settings
    )
    finished = launch(
        monitoring,
        configuration.zenml,
        stack,
        use_cache,
        f"monitoring_{problem}",
        problem=problem,
        asked=asked,
    )
    verdict: Verdict = finished.steps["watch"].outputs["verdict"][0].load()
    outcome = MonitoringSummary(
        run_id=str(finished.id),
        run_name=finished.name,
        problem=problem,
        verdict=verdict,
        notes=tuple(notes(verdict.counted)),
        history=str(history_path(stack.name, problem)),
        gauges=str(gauges_path(problem)),
        seconds=time.perf_counter() - started,
    )
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome)
    tell_damaged(verdict.counted.damaged)
