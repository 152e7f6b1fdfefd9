"""What a monitoring run says at the end, as a table and as JSON."""

from datetime import UTC

from millrace.metrics import Interval
from millrace.monitoring import Verdict
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console


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
