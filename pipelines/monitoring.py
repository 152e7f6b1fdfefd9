"""Monitoring: have the champion's inputs or predictions drifted, and does it still predict well?"""

import time
from datetime import UTC, datetime
from pathlib import Path

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.metrics import Interval
from millrace.moments import begin
from millrace.monitoring import MonitoringSettings, Verdict
from millrace.monitoring.page import notes
from millrace.registry import CHAMPION
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console, tell_damaged, write_summary
from pipelines.configuration import load_configuration
from pipelines.launch import launch
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.caching import cache_policy
from steps.score import choose_model
from steps.watch import Watching, gauges_path, history_path, publish, report, watch


class MonitoringSummary(Strict):
    """The outcome of a monitoring run; `gauges` are for Prometheus."""

    run_id: str
    run_name: str
    problem: str
    verdict: Verdict
    notes: tuple[str, ...]
    history: str
    gauges: str
    seconds: float


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


def print_summary(summary: MonitoringSummary) -> None:
    """Print the closing table."""
    from rich.table import Table
    from rich.text import Text

    console = open_console()
    drift, performance = summary.verdict.drift, summary.verdict.performance
    title = f"\n{summary.problem}: version {summary.verdict.version} in use"
    board = Table(title=Text(title, style="bold"), title_justify="left")
    for name in ("column", "importance", "distance", "missing", "score", "verdict"):
        board.add_column(name, justify="left" if name in ("column", "verdict") else "right", overflow="fold")
    for column in sorted(drift.columns, key=lambda column: -(column.score or 0)):
        judged = "no drift" if column.score is not None else drift.status
        board.add_row(
            Text(column.name),
            "" if column.importance is None else f"{column.importance:.1%}",
            f"{column.distance:.3f}",
            f"{column.missing:.2%}",
            "" if column.score is None else f"{column.score:.2f}",
            Text(f"drift: {'; '.join(column.reasons)}" if column.reasons else judged),
        )
    if drift.columns:
        console.print(board)
    facts = make_facts(None if drift.columns else title.strip())
    moments = (
        f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
        for moment in (summary.verdict.since, summary.verdict.until)
    )
    facts.add_row("window", f"{' to '.join(moments)} UTC: {drift.rows:,} rows")
    facts.add_row("drift", Text(f"{drift.status}. {drift.why}"))
    facts.add_row("performance", Text(f"{performance.status}. {performance.why}"))
    for name, found in performance.metrics.items():
        facts.add_row(
            f"measured {name}", f"{_interval(found)}; holdout {_interval(performance.holdout[name])}"
        )
    if performance.estimate:
        facts.add_row(
            f"estimated {performance.metric_name}",
            f"{_interval(performance.estimate)}, of all rows; no measurement: docs/monitoring.md",
        )
    for note in summary.notes:
        facts.add_row("note", Text(note))
    facts.add_row("history", Text(summary.history))
    facts.add_row("gauges", Text(summary.gauges))
    facts.add_row("run", f"{summary.run_name}, {summary.seconds:.1f} s")
    console.print(facts)


def _interval(found: Interval) -> str:
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
