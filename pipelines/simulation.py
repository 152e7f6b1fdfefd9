"""The simulation command: traffic for a running service, a line a simulated day, and a table at the end."""

import json
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.simulation import SCENARIOS, Plan, Replay, Service, Traffic, make_world, replay
from millrace.simulation.plots import timeline
from millrace.sources import Source
from pipelines.closing import make_facts, open_console, write_summary
from stacks.environment import home


def run(
    problem: Problem, *, source: Source, plan: Plan, url: str, events: Path | None, summary: Path | None
) -> None:
    """Simulate, and say what came of it.

    Raises:
        UserError: no service, no rows, a scenario that cannot happen; or the service has gone for good.
    """
    service = Service(url)
    about = service.about()
    if about.get("name") != problem.name:
        raise UserError(
            f"{url}: answers for '{about.get('name')}', not for '{problem.name}'; pass --problem."
        )
    world, replayed = make_world(problem, source, home() / "cache", about)
    traffic = Traffic(world, plan)
    about_column = f"; the column is '{traffic.column}'" if traffic.column else ""
    print(f"{plan.scenario}: {SCENARIOS[plan.scenario].story}{about_column}.")
    print(f"Rows are {replayed}.", flush=True)
    with _open(events) as file:
        found = replay(traffic, service, replayed, _Teller(plan, file))
    if summary is not None:
        write_summary(found, summary)
        summary.with_suffix(".png").write_bytes(timeline(found))
    print_summary(found)
    if found.fault is not None:
        raise UserError(found.fault)


def _open(events: Path | None) -> AbstractContextManager[IO[str] | None]:
    if events is None:
        return nullcontext()
    try:
        return events.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--events {events}: cannot be written ({error.strerror}).") from None


class _Teller:
    """Prints what happens, and writes each event as a line of JSON."""

    def __init__(self, plan: Plan, file: IO[str] | None) -> None:
        self._plan, self._file = plan, file

    def __call__(self, event: str, day: float, about: dict[str, Any]) -> None:
        if self._file is not None:
            moment = datetime.now(UTC).isoformat()
            self._file.write(json.dumps({**about, "event": event, "time": moment, "day": day}) + "\n")
            self._file.flush()
        if event == "day":
            metric = "" if about["metric"] is None else f", error {about['metric']:.4g}"
            print(
                f"day {day:g} of {self._plan.days:g}: {about['rows']:,} rows, {about['refused']:,} refused, "
                f"{about['outcomes']:,} outcomes told{metric}",
                flush=True,
            )
        elif event == "drift_begins":
            print(f"day {day:.2f}: it begins", flush=True)
        elif event == "version":
            print(f"day {day:.2f}: version {about['version']} answers", flush=True)


def print_summary(found: Replay) -> None:
    """Print the closing table."""
    from rich.table import Table
    from rich.text import Text

    console = open_console()
    title = f"\n{found.problem}: {found.plan.scenario}, {found.plan.days:g} simulated days"
    board = Table(title=Text(title, style="bold"), title_justify="left")
    for name in (
        "day",
        "drift",
        "rows",
        "refused",
        "outcomes",
        found.metric_name,
        "p50 ms",
        "p99 ms",
        "by version",
    ):
        board.add_column(name, justify="left" if name == "by version" else "right")
    for day in found.days:
        board.add_row(
            str(day.day + 1),
            f"{day.strength:.0%}" if day.strength else "",
            f"{day.rows:,}",
            f"{day.refused:,}",
            f"{day.outcomes:,}",
            _number(day.metric),
            _number(day.p50_ms),
            _number(day.p99_ms),
            Text(", ".join(day.versions)),
        )
    console.print(board)
    facts = make_facts()
    if found.column is not None:
        facts.add_row("column", Text(found.column))
    facts.add_row("rows", Text(f"{found.rows:,} answered, {found.refused:,} refused; {found.replayed}"))
    facts.add_row(
        "outcomes",
        f"{found.outcomes:,} told, {found.outcomes_refused:,} refused, {found.waiting:,} not due in time",
    )
    clipped = sum(day.clipped for day in found.days)
    if clipped:
        facts.add_row("clipped", f"{clipped:,} values had left the contract's range")
    if found.refusal is not None:
        counts = ", ".join(f"{count} of {status}" for status, count in found.statuses.items())
        facts.add_row("refusals", Text(f"{counts}; the first said {found.refusal}"))
    if found.away:
        facts.add_row(
            "away", f"the service, {found.away} times, {found.waited:.1f} s; simulated time stood still"
        )
    if found.late > 1:
        facts.add_row("late", f"by {found.late:.1f} s at most: the service cannot take so much so fast")
    facts.add_row("run", f"{found.seconds:.1f} s{', stopped' if found.stopped else ''}")
    console.print(facts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
