"""python -m deploy.rehearsal: drift, alarm, retraining, another model in service; told as it happens."""

import sys
import time

from deploy.rehearsal.picture import draw
from deploy.rehearsal.stage import PROBLEM, Stage
from deploy.rehearsal.timeline import Timeline
from millrace.errors import UserError
from stacks import environment

# A simulated day is ten seconds, and outcomes are known half a day later.
TRAFFIC = (
    *("--scenario", "sudden", "--speed", "8640", "--rows", "2000", "--weeks", "6"),
    *("--drift-after", "8", "--label-delay", "0.5"),
)
# The second of a minute at which traffic begins. Eighty later drift does, when monitoring has just looked:
# its next window is of the new world, and so are all rows that a retraining then learns from.
BEGIN = 48
# What has to happen.
STORY = (
    *("drift begins", "verdict published", "alert", "retraining starts", "run begins"),
    *("service swapped", "retraining ends", "error down"),
)
PAUSE = 0.25


def main() -> int:
    """Play it. Returns 0; 1 if the story has come to another end; 2 for what the user can mend."""
    environment.prepare()
    folder = environment.home() / "rehearsal"
    try:
        stage = Stage(folder)
        say("training the first champion, half a minute")
        stage.train()
        say("starting the service, the scheduler, Alertmanager and Prometheus")
        with stage.running():
            for name in stage.ports:
                say(f"  {name}: {stage.url(name)}")
            timeline = play(stage)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: stopped; the servers are down.", file=sys.stderr)
        return 130
    show(timeline)
    picture = folder / "timeline.png"
    draw(timeline, picture)
    say(f"\nThe picture: {picture}. Logs: {folder}/logs, {folder}/scheduler/logs.")
    missing = [name for name in STORY if not timeline.has(name)]
    if missing:
        print(f"error: it has not come to this: {', '.join(missing)}.", file=sys.stderr)
    return 1 if missing else 0


def play(stage: Stage) -> Timeline:
    """Six weeks of traffic at most; to its end once the error is down and monitoring has seen the new model.

    Raises:
        UserError: the traffic could not be played.
    """
    events = stage.folder / "events.jsonl"
    timeline = Timeline(stage, events)
    url = stage.url("service")
    rows = stage.make_rows()
    pause = (BEGIN - time.time()) % 60
    say(f"traffic begins in {pause:.0f} s: a simulated day in ten seconds, and drift after eight days")
    time.sleep(pause)
    about = ("--problem", PROBLEM, "--data", str(rows), "--url", url, "--events", str(events))
    simulation = stage.run("simulation", "--pipeline", "simulation", *about, *TRAFFIC)
    try:
        while simulation.poll() is None and not is_over(timeline):
            for name in timeline.look():
                tell(timeline, name)
            time.sleep(PAUSE)
    finally:
        simulation.terminate()
        simulation.wait()
    if not timeline.days:
        raise UserError(f"The traffic could not be played: {stage.folder}/logs/simulation.log says why.")
    return timeline


def is_over(timeline: Timeline) -> bool:
    """Whether the error is down, and a verdict is on the new model."""
    versions = {point.version for point in timeline.verdicts()}
    return timeline.has("error down") and len(versions) > 1


def tell(timeline: Timeline, name: str) -> None:
    """A line for what has just happened."""
    moment, what = timeline.moments[name]
    say(f"{moment:%H:%M:%S} {name}: {what}")


def show(timeline: Timeline) -> None:
    """The closing table: seconds from moment to moment, and since the drift began."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="\nThe rehearsal", title_justify="left")
    for name in ("what", "at (UTC)", "since the one before", "since the drift", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right", overflow="fold")
    known = sorted((moment, name, what) for name, (moment, what) in timeline.moments.items())
    begin = timeline.moments["drift begins"][0] if timeline.has("drift begins") else None
    before = None
    for moment, name, what in known:
        since = f"{(moment - before).total_seconds():.1f} s" if before else ""
        drift = f"{(moment - begin).total_seconds():.1f} s" if begin else ""
        table.add_row(name, f"{moment:%H:%M:%S}", since, drift, what)
        before = moment
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=140)).print(table)
    if timeline.has("verdict published") and timeline.has("run begins"):
        first, last = (timeline.moments[name][0] for name in ("verdict published", "run begins"))
        say(f"From the breach to the retraining's start: {(last - first).total_seconds():.1f} s.")


def say(text: str) -> None:
    """Print now."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
