"""What the scheduler does, has to do and has done, as tables."""

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler.queue import Job, Queue
from scheduler.settings import Schedules

LAST = 20


def show(console: Console, queue: Queue, settings: Schedules, running: bool) -> None:
    """Print the schedules, what waits and runs, and the last jobs that ended."""
    console.print("The scheduler runs." if running else "The scheduler does not run: make scheduler")
    schedules = _table("Schedules", "name", "cron", "pipeline", "problem", "stack", "next")
    planned = queue.planned()
    for name, schedule in settings.schedules.items():
        coming = _moment(planned[name].next, settings) if name in planned else "not planned yet"
        cells = (name, schedule.cron, schedule.pipeline, schedule.problem, schedule.stack)
        schedules.add_row(*map(Text, (*cells, coming if schedule.enabled else "off")))
    console.print(schedules)
    for state in ("running", "waiting", "ended"):
        jobs = queue.jobs(state, LAST)
        if jobs:
            console.print(_jobs(state.capitalize(), jobs, queue, settings))


def _jobs(title: str, jobs: list[Job], queue: Queue, settings: Schedules) -> Table:
    table = _table(title, "job", "name", "queued", "took", "outcome", "what", "log")
    for job in jobs:
        reasons = dict.fromkeys(reason for _, reason in queue.causes(job.id) if reason)
        what = job.sentence or "; ".join(reasons) or " ".join(job.arguments)
        took = "" if job.seconds is None else f"{job.seconds:.0f} s"
        cells = (str(job.id), job.name, _moment(job.queued, settings), took, job.outcome or "", what)
        table.add_row(*map(Text, (*cells, Path(job.log).name if job.log else "")))
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(title=Text(f"\n{title}", style="bold"), title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _moment(seconds: float, settings: Schedules) -> str:
    return f"{datetime.fromtimestamp(seconds, settings.zone):%a %Y-%m-%d %H:%M}"
