"""What a profiling run says at the end: every decision, as a table and as JSON."""

import shlex
from pathlib import Path

from zenml.models import PipelineRunResponse

from millrace.cleaning import RowCounts
from millrace.contract import Column
from millrace.profiling.drafting import ColumnProfile, Draft
from millrace.quality import shown_range
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console


class Decision(Strict):
    """What became of one column, and why."""

    column: str
    becomes: str
    allowed: str
    notes: tuple[str, ...]


class ProfilingSummary(Strict):
    """The outcome of a profiling run; `rows` is what training will do with them."""

    run_id: str
    run_name: str
    problem: str
    task: str
    target: str
    key: str | None
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]
    rows: RowCounts
    problem_file: str
    profile: str
    expectations: str
    seconds: float

    @classmethod
    def of(
        cls, run: PipelineRunResponse, draft: Draft, path: Path, folder: Path, seconds: float
    ) -> "ProfilingSummary":
        """Collect the summary from a finished run's draft and where its files are."""
        return cls(
            run_id=str(run.id),
            run_name=run.name,
            problem=draft.problem.name,
            task=draft.problem.task,
            target=draft.problem.target.name,
            key=draft.problem.key,
            decisions=tuple(
                Decision(
                    column=column.name,
                    becomes=_becomes(column),
                    allowed=_allowed(draft.problem.columns[column.name]) if column.role != "left out" else "",
                    notes=column.notes,
                )
                for column in draft.columns
            ),
            warnings=draft.warnings,
            rows=draft.expected,
            problem_file=str(path),
            profile=str(folder / "profile.html"),
            expectations=str(folder / "expectations"),
            seconds=seconds,
        )


def print_summary(summary: ProfilingSummary, cached: bool) -> None:
    """Print the closing table."""
    from rich.table import Table
    from rich.text import Text

    console = open_console()
    title = Text(f"\n{summary.problem}: {summary.task} of {summary.target}", style="bold")
    board = Table(title=title, title_justify="left")
    for name in ("column", "becomes", "allowed", "why"):
        board.add_column(name, overflow="fold")
    for decision in summary.decisions:
        # As Text: what stands between brackets in a table's cells is no markup.
        notes = Text("; ".join(decision.notes))
        board.add_row(Text(decision.column), decision.becomes, decision.allowed, notes)
    console.print(board)

    facts = make_facts()
    rows = summary.rows
    parts = f"{rows.used} used + {rows.quarantined} quarantined + {rows.duplicates} duplicates"
    facts.add_row("rows", f"{rows.read} read = {parts}, by the draft")
    for warning in summary.warnings:
        facts.add_row("note", Text(warning))
    facts.add_row("problem", Text(f"{summary.problem_file}: fill in units and meanings"))
    facts.add_row("profile", Text(summary.profile))
    facts.add_row("checks", Text(f"{summary.expectations}, a file a column"))
    facts.add_row(
        "run", f"{summary.run_name}{' (all of it cached)' if cached else ''}, {summary.seconds:.1f} s"
    )
    console.print(facts)
    command = f"python run.py --pipeline training --problem {shlex.quote(summary.problem)}"
    console.print(f"\n[bold]It trains as it is[/bold]\n{command}")


def _becomes(column: ColumnProfile) -> str:
    """A column's type in the draft, and its part if that is not to be learnt from."""
    if column.role == "left out":
        return "left out"
    return f"{column.kind}, {column.role}" if column.role in ("target", "key") else str(column.kind)


def _allowed(column: Column) -> str:
    """What the draft lets a column hold."""
    what = shown_range(column) if column.range else ""
    if column.categories:
        what = f"{len(column.categories)} categories"
    return ", or ".join(part for part in (what, "empty" if column.nullable else "") if part)
