"""--pipeline retraining: a new model because something has happened."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, refuse
from millrace.errors import UserError, unknown


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
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
    refuse(arguments, ("target",), "is for --pipeline profiling")
    if arguments.cause and len(arguments.cause) > LONGEST_CAUSE:
        raise UserError(f"--cause: has {len(arguments.cause)} characters, {LONGEST_CAUSE} at most are kept.")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")
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
