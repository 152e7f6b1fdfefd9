"""What run.py can be told, and which pipelines each option is for."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from millrace.errors import UserError

DEFAULT_PROBLEM = "housing_sample"
SERVICE = "http://127.0.0.1:3000"
# What a command has made of its options: to be run once ZenML is open.
Start = Callable[..., None]
# Those of some pipelines alone.
OPTIONS = {
    ("inference",): ("input", "output", "model", "explain", "intervals", "overwrite"),
    ("inference", "training"): ("engine", "scheduler"),
    ("promotion",): ("from", "to"),
    ("promotion", "deployment"): ("version", "roll_back"),
    ("deployment",): ("image", "stop"),
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


def make_parser(pipelines: Iterable[str]) -> argparse.ArgumentParser:
    """All options; of those in `OPTIONS` each is for some of the pipelines alone."""
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Take a table to a monitored prediction service.",
        epilog="Problems: configs/problems/. Stacks: configs/stacks/. Start with: make train",
    )
    parser.add_argument("--pipeline", help=f"one of: {', '.join(pipelines)}")
    parser.add_argument(
        "--problem",
        help=f"a name in configs/problems/ ({DEFAULT_PROBLEM}); for profiling, of the file to write there",
    )
    parser.add_argument(
        "--data",
        metavar="URI",
        help="a file, a database's table or a DVC revision instead of the problem's source: docs/sources.md",
    )
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="for profiling: the column to predict; for deployment: a name in configs/targets/, or a file",
    )
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
    moving = parser.add_argument_group("for promotion and deployment")
    moving.add_argument("--from", metavar="STACK", help="where the version is")
    moving.add_argument("--to", metavar="STACK", help="where it is to be champion")
    moving.add_argument("--version", metavar="N", help="which one (the champion)")
    moving.add_argument(
        "--roll-back",
        action="store_true",
        help="back to the champion before, on --to; to what was deployed before, on --target",
    )
    moving.add_argument(
        "--image", metavar="NAME@DIGEST", help="one that is built already, for a target that runs images"
    )
    moving.add_argument(
        "--stop", action="store_true", help="end what was deployed to --target, if that is this machine"
    )
    moving.add_argument(
        "--dry-run", action="store_true", help="say what would be done; write nothing (forgetting, too)"
    )
    forgetting = parser.add_argument_group("for forgetting")
    forgetting.add_argument("--key", metavar="KEY", help="whose rows: the value of the contract's key")
    parser.add_argument("--summary", type=Path, metavar="FILE.json", help="also write the summary as JSON")
    return parser


def refuse(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """See that none of these options is given.

    Raises:
        UserError: the first one that is, and `why` it should not be.
    """
    for name in names:
        if getattr(arguments, name):
            raise UserError(f"--{name.replace('_', '-')} {why}.")


def check_engine(arguments: argparse.Namespace) -> None:
    """See that a scheduler is given only where Dask is to compute, and as an address.

    Raises:
        UserError: it is not.
    """
    if arguments.scheduler and arguments.engine != "dask":
        raise UserError("--scheduler is a Dask cluster's; pass --engine dask with it.")
    if arguments.scheduler and not arguments.scheduler.startswith(("tcp://", "tls://")):
        raise UserError(f"--scheduler {arguments.scheduler}: an address is like tcp://HOST:8786.")
