"""The command line: picks a pipeline, a problem and a stack, and reports how it went."""

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.errors import Incomplete, UserError, unknown
from stacks import environment

if TYPE_CHECKING:
    from stacks.stack_files import Stack

ROOT = Path(__file__).parent
CONFIGS = ROOT / "configs"
DEFAULT_PROBLEM = "housing_sample"
SERVICE = "http://127.0.0.1:3000"
Start = Callable[..., None]


def main(argv: list[str] | None = None) -> int:
    """Run one pipeline. Returns 0; 2 for what the user can mend, 3 if the rest is done; 1 for our fault."""
    started = time.perf_counter()
    arguments = _parser().parse_args(argv)
    environment.prepare()
    try:
        _run(arguments, started)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, Incomplete) else 2
    except KeyboardInterrupt:
        print("error: stopped; the same command goes on from the finished steps.", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: a fault of Millrace, not of yours: {_short(error)}", file=sys.stderr)
        print(f"The full account is in {_write_account()}.", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace, started: float) -> None:
    if arguments.check:
        _check(arguments.stack)
        return
    if not arguments.pipeline:
        raise UserError(f"Say what to run: --pipeline with one of {', '.join(PIPELINES)}; or --check.")
    if arguments.pipeline not in PIPELINES:
        raise unknown("pipeline", arguments.pipeline, PIPELINES)
    for pipelines, names in OPTIONS.items():
        if arguments.pipeline not in pipelines:
            _refuse(arguments, names, f"is for --pipeline {' or '.join(pipelines)}")
    # Everything cheap that can be wrong is checked before anything slow is imported.
    if arguments.summary and not arguments.summary.absolute().parent.is_dir():
        raise UserError(f"--summary {arguments.summary}: no such folder; make it first.")
    start = PIPELINES[arguments.pipeline](arguments)
    stack = _stack(arguments.to or arguments.stack)
    if arguments.pipeline in WITHOUT_STORE or (arguments.dry_run and arguments.pipeline == "promotion"):
        start(summary=arguments.summary, started=started, stack=stack)
        return
    from stacks.checks import require_health
    from stacks.start import open_stack

    require_health(stack)

    try:
        lines, dead = open_stack(stack)
        for name in dead:
            print(f"  note: the run {name} was killed; it is now marked as failed", file=sys.stderr)
        start(
            config=arguments.config or CONFIGS / f"{arguments.pipeline}.yaml",
            overrides=arguments.set,
            use_cache=not arguments.no_cache,
            summary=arguments.summary,
            started=started,
            stack=stack,
            lines=lines,
        )
    except UserError:
        raise
    except Exception as error:
        from stacks.outages import as_outage

        outage = as_outage(error, stack)
        if outage is None:
            raise
        raise outage from error


def _stack(name: str) -> "Stack":
    """The stack of a file, with this process pointed to its ZenML server if it has one."""
    from stacks.stack_files import load_stack_file

    stack = load_stack_file(name, CONFIGS / "stacks")
    if stack.server:
        environment.use_server(stack.name, stack.server.url, stack.server.api_key)
    return stack


def _check(name: str) -> None:
    """Print a table of a stack's health.

    Raises:
        UserError: something is at fault.
    """
    from stacks.checks import check_stack, table

    checks = check_stack(_stack(name))
    print(table(checks))
    faults = sum(bool(check.remedy) for check in checks)
    if faults:
        raise UserError(f"The stack '{name}' is not ready: {faults} of its parts are at fault.")


def _training(arguments: argparse.Namespace) -> Start:
    from millrace.contract import load_problem
    from millrace.sources import Source

    _check_engine(arguments)
    if arguments.target:
        raise UserError(
            "--target is for --pipeline profiling; a problem's file says itself what is to be predicted."
        )
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")
    source = Source.model_validate(arguments.data) if arguments.data else problem.source
    if arguments.data:
        # Generated rows are the problem's own source; of others nobody has said so.
        problem = problem.model_copy(update={"synthetic": False})

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import training

        training.run(problem, source=source, engine=arguments.engine, scheduler=arguments.scheduler, **common)

    return start


def _profiling(arguments: argparse.Namespace) -> Start:
    from millrace.profiling.files import check_name, problem_name
    from millrace.sources import Source

    if not arguments.data:
        raise UserError("--pipeline profiling needs a table: pass --data PATH_OR_URI.")
    if not arguments.target:
        raise UserError("--pipeline profiling needs the column to predict: pass --target COLUMN.")
    name = arguments.problem or problem_name(arguments.data)
    path = check_name(name, CONFIGS / "problems")
    source = Source.model_validate(arguments.data)

    def start(**common: Any) -> None:
        from pipelines import profiling

        profiling.run(name, source=source, target=arguments.target, path=path, **common)

    return start


def _promotion(arguments: argparse.Namespace) -> Start:
    from millrace.contract import load_problem
    from stacks.source import fetch_apart
    from stacks.stack_files import load_stack_file

    _refuse(arguments, ("data", "target", "config", "set", "no_cache"), "is not for --pipeline promotion")
    source, to = getattr(arguments, "from"), arguments.to
    if arguments.stack != "local" or not to:
        raise UserError("--pipeline promotion needs the stack to promote to: pass --to STACK, not --stack.")
    if arguments.roll_back:
        _refuse(arguments, ("from", "version"), "is not for --roll-back")
    elif not source:
        raise UserError("--pipeline promotion needs the stack to promote from: pass --from STACK.")
    if source == to:
        raise UserError(f"--from and --to are both '{to}'; a version is promoted from one stack to another.")
    name = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems").name
    load_stack_file(to, CONFIGS / "stacks")
    fetched = None if arguments.roll_back else fetch_apart(source, name, arguments.version)

    def start(*, summary: Path | None, started: float, stack: "Stack", **_: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        if arguments.dry_run:
            from pipelines.promotion_plan import report

            report(name, fetched=fetched, summary=summary, started=started, stack=stack)
            return
        from pipelines import promotion

        promotion.run(name, fetched=fetched, summary=summary, started=started, stack=stack)

    return start


def _inference(arguments: argparse.Namespace) -> Start:
    from millrace.contract import load_problem
    from millrace.intervals import HIGHEST, LOWEST
    from millrace.sources import Source
    from millrace.sources.credentials import keep

    if arguments.data or arguments.target:
        raise UserError("--pipeline inference takes no --data or --target; pass --input URI --output URI.")
    if not (arguments.input and arguments.output):
        raise UserError("--pipeline inference needs a table and a place: pass --input URI --output URI.")
    if arguments.intervals is not None and not LOWEST <= arguments.intervals <= HIGHEST:
        raise UserError(f"--intervals {arguments.intervals:g}: a level is from {LOWEST} to {HIGHEST}.")
    _check_engine(arguments)
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")
    source = Source.model_validate(arguments.input)

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import inference

        inference.run(
            problem.name,
            source=source,
            output=keep(arguments.output),
            model=arguments.model,
            level=arguments.intervals,
            explain=arguments.explain,
            overwrite=arguments.overwrite,
            engine=arguments.engine or "local",
            scheduler=arguments.scheduler,
            **common,
        )

    return start


def _check_engine(arguments: argparse.Namespace) -> None:
    if arguments.scheduler and arguments.engine != "dask":
        raise UserError("--scheduler is a Dask cluster's; pass --engine dask with it.")
    if arguments.scheduler and not arguments.scheduler.startswith(("tcp://", "tls://")):
        raise UserError(f"--scheduler {arguments.scheduler}: an address is like tcp://HOST:8786.")


def _monitoring(arguments: argparse.Namespace) -> Start:
    from datetime import UTC, datetime

    from millrace.contract import load_problem
    from millrace.moments import begin

    _refuse(arguments, ("data", "target"), "is not for --pipeline monitoring; it reads the prediction log")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")
    until = datetime.now(UTC)
    since = begin(arguments.since, until) if arguments.since else None

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import monitoring

        monitoring.run(problem.name, since=since, until=until, **common)

    return start


def _simulation(arguments: argparse.Namespace) -> Start:
    from pydantic import ValidationError

    from millrace.contract import load_problem
    from millrace.simulation import SCENARIOS, Plan
    from millrace.sources import Source
    from millrace.yaml_files import faults

    _refuse(arguments, ("target", "config", "set", "no_cache"), "is not for --pipeline simulation")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")
    source = Source.model_validate(arguments.data) if arguments.data else problem.source
    if not arguments.scenario:
        raise UserError(f"Say what is to happen: --scenario with one of {', '.join(SCENARIOS)}.")
    told = {name: value for name in Plan.model_fields if (value := getattr(arguments, name)) is not None}
    try:
        plan = Plan.model_validate(told)
    except ValidationError as error:
        raise faults(
            error, Plan, lambda place: f"--{str(place[0]).replace('_', '-')}" if place else "--drift-after"
        ) from None

    def start(*, summary: Path | None, **_: Any) -> None:
        from pipelines import simulation

        simulation.run(
            problem,
            source=source,
            plan=plan,
            url=arguments.url or SERVICE,
            events=arguments.events,
            summary=summary,
        )

    return start


def _forgetting(arguments: argparse.Namespace) -> Start:
    from millrace.contract import load_problem

    _refuse(arguments, ("data", "target", "config", "set", "no_cache"), "is not for --pipeline forgetting")
    if not arguments.key:
        raise UserError("--pipeline forgetting needs to know whose rows: pass --key KEY.")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")

    def start(*, summary: Path | None, started: float, stack: "Stack", **_: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import forgetting

        forgetting.run(
            problem,
            key=arguments.key,
            dry_run=arguments.dry_run,
            summary=summary,
            started=started,
            stack=stack,
        )

    return start


def _retraining(arguments: argparse.Namespace) -> Start:
    from datetime import UTC, datetime
    from typing import get_args

    from millrace.contract import load_problem
    from millrace.retraining.admission import LONGEST_CAUSE, LONGEST_REASON, Kind, Trigger
    from millrace.sources import Source

    kinds: tuple[Kind, ...] = get_args(Kind)
    kind = arguments.trigger or "person"
    if kind not in kinds:
        raise unknown("trigger", kind, kinds)
    if not arguments.reason:
        raise UserError("--pipeline retraining needs to know why: pass --reason TEXT.")
    _refuse(arguments, ("target",), "is for --pipeline profiling")
    if arguments.cause and len(arguments.cause) > LONGEST_CAUSE:
        raise UserError(f"--cause: has {len(arguments.cause)} characters, {LONGEST_CAUSE} at most are kept.")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")
    source = Source.model_validate(arguments.data) if arguments.data else problem.source
    trigger = Trigger(
        kind=kind, reason=arguments.reason[:LONGEST_REASON], cause=arguments.cause, asked=datetime.now(UTC)
    )

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import retraining

        retraining.run(problem, source=source, trigger=trigger, **common)

    return start


def _experiment(arguments: argparse.Namespace) -> Start:
    from millrace.contract import load_problem

    _refuse(arguments, ("data", "target"), "is not for --pipeline experiment; it reads the prediction log")
    if not arguments.plan:
        names = ("challenger", "config", "set")
        _refuse(arguments, names, "is for --plan: an experiment stays as it was planned")
    elif arguments.decide:
        raise UserError("--plan begins an experiment and --decide ends one; pass one of them.")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, CONFIGS / "problems")

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import experiment

        task = "plan" if arguments.plan else arguments.decide or "look"
        experiment.run(problem.name, task=task, challenger=arguments.challenger, **common)

    return start


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(arguments, name):
            raise UserError(f"--{name.replace('_', '-')} {why}.")


# Each checks its own arguments and returns what is to be run once ZenML is open.
PIPELINES: dict[str, Callable[[argparse.Namespace], Start]] = {
    "training": _training,
    "profiling": _profiling,
    "promotion": _promotion,
    "inference": _inference,
    "monitoring": _monitoring,
    "simulation": _simulation,
    "forgetting": _forgetting,
    "experiment": _experiment,
    "retraining": _retraining,
}
# They know nothing of ZenML: no store is opened for them.
WITHOUT_STORE = frozenset({"simulation"})
# Those of some pipelines alone.
OPTIONS = {
    ("inference",): ("input", "output", "model", "explain", "intervals", "overwrite"),
    ("inference", "training"): ("engine", "scheduler"),
    ("promotion",): ("from", "to", "version", "roll_back"),
    ("promotion", "forgetting"): ("dry_run",),
    ("forgetting",): ("key",),
    ("monitoring",): ("since",),
    ("simulation",): (
        "scenario",
        "speed",
        "weeks",
        "rows",
        "drift_after",
        "label_delay",
        "seed",
        "url",
        "events",
    ),
    ("experiment",): ("plan", "challenger", "decide"),
    ("retraining",): ("trigger", "reason", "cause"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Take a table to a monitored prediction service.",
        epilog="Problems: configs/problems/. Stacks: configs/stacks/. Start with: make train",
    )
    parser.add_argument("--pipeline", help=f"one of: {', '.join(PIPELINES)}")
    parser.add_argument(
        "--problem",
        help=f"a name in configs/problems/ ({DEFAULT_PROBLEM}); for profiling, of the file to write there",
    )
    parser.add_argument(
        "--data",
        metavar="URI",
        help="a file, a database's table or a DVC revision instead of the problem's source: docs/sources.md",
    )
    parser.add_argument("--target", metavar="COLUMN", help="for profiling: the column to predict")
    scoring = parser.add_argument_group("for inference")
    scoring.add_argument("--input", metavar="URI", help="a table, a folder, or a pattern: a/*.parquet")
    scoring.add_argument(
        "--output", metavar="URI", help="the folder to make, of CSV files if it ends in .csv, else Parquet"
    )
    scoring.add_argument("--model", help="champion, challenger, or a version (champion)")
    scoring.add_argument("--explain", action="store_true", help="with each feature's contribution")
    scoring.add_argument(
        "--intervals",
        nargs="?",
        type=float,
        const=0.9,
        metavar="LEVEL",
        help="with an interval, or set of classes, that holds the truth so often (0.9)",
    )
    scoring.add_argument("--overwrite", action="store_true", help="replace an output that is there")
    large = parser.add_argument_group("for inference, and training on tables beyond memory")
    large.add_argument("--engine", choices=["local", "dask"], help="who computes (local)")
    large.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="whose workers are Dask's; else some are started here"
    )
    watching = parser.add_argument_group("for monitoring")
    watching.add_argument(
        "--since", metavar="WHEN", help="24h, 7d, or a moment: rows since then (the settings' window)"
    )
    playing = parser.add_argument_group("for simulation")
    playing.add_argument("--scenario", metavar="NAME", help="what is to happen: docs/simulation.md")
    playing.add_argument("--speed", type=float, metavar="N", help="simulated seconds in a second (3600)")
    playing.add_argument("--weeks", type=float, metavar="N", help="how long, in simulated time (4)")
    playing.add_argument("--rows", type=int, metavar="N", help="a simulated day, on average (2000)")
    playing.add_argument(
        "--drift-after", type=float, metavar="DAYS", help="when it begins (after a third of the time)"
    )
    playing.add_argument(
        "--label-delay", type=float, metavar="DAYS", help="until outcomes are known, on average (2)"
    )
    playing.add_argument("--seed", type=int, metavar="N", help="the same one, the same requests (0)")
    playing.add_argument("--url", help=f"of the service ({SERVICE})")
    playing.add_argument("--events", type=Path, metavar="FILE.jsonl", help="a line as each thing happens")
    asking = parser.add_argument_group("for retraining")
    asking.add_argument("--trigger", help="drift, decay, data, calendar, person (person)")
    asking.add_argument("--reason", metavar="TEXT", help="why, as the run's lineage is to say it")
    asking.add_argument(
        "--cause", metavar="ID", help="what has happened; retrained once, however often it is told"
    )
    comparing = parser.add_argument_group("for experiment")
    comparing.add_argument("--plan", action="store_true", help="say how long it takes, and begin")
    comparing.add_argument("--challenger", metavar="N", help="which version (the challenger)")
    comparing.add_argument(
        "--decide",
        nargs="?",
        const="decide",
        choices=["decide", "stop"],
        help="end it, if the verdict says so; 'stop' ends it whatever was found",
    )
    parser.add_argument("--stack", default="local", help="a name in configs/stacks/ (%(default)s)")
    parser.add_argument(
        "--check", action="store_true", help="only look whether the stack is ready; run nothing"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a run configuration (configs/PIPELINE.yaml)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, e.g. seed=7 or candidates.lightgbm.num_leaves=63; KEY=null removes it",
    )
    parser.add_argument("--no-cache", action="store_true", help="run every step, also those unchanged")
    moving = parser.add_argument_group("for promotion")
    moving.add_argument("--from", metavar="STACK", help="where the version is")
    moving.add_argument("--to", metavar="STACK", help="where it is to be champion")
    moving.add_argument("--version", metavar="N", help="which one (the champion)")
    moving.add_argument("--roll-back", action="store_true", help="back to the champion before, on --to")
    moving.add_argument(
        "--dry-run", action="store_true", help="say what would be done; write nothing (forgetting, too)"
    )
    forgetting = parser.add_argument_group("for forgetting")
    forgetting.add_argument("--key", metavar="KEY", help="whose rows: the value of the contract's key")
    parser.add_argument("--summary", type=Path, metavar="FILE.json", help="also write the summary as JSON")
    return parser


def _short(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _write_account() -> Path:
    path = environment.home() / "logs" / f"fault-{time.strftime('%Y%m%d-%H%M%S')}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc(), encoding="utf-8")
    return path


if __name__ == "__main__":
    # Imports make a million objects that live to the end: searching them for garbage costs a second,
    gc.set_threshold(100_000)
    code = main()
    # and the interpreter would do it once more before it ends.
    gc.disable()
    gc.freeze()
    sys.exit(code)
