"""--pipeline promotion: a version from one stack to another, or back to the champion before."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.options import DEFAULT_PROBLEM, Start, refuse
from millrace.errors import UserError

if TYPE_CHECKING:
    from stacks.stack_files import Stack


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from millrace.contract import load_problem
    from stacks.source import fetch_apart
    from stacks.stack_files import load_stack_file

    refuse(arguments, ("data", "target", "config", "set", "no_cache"), "is not for --pipeline promotion")
    source, to = getattr(arguments, "from"), arguments.to
    if arguments.stack != "local" or not to:
        raise UserError("--pipeline promotion needs the stack to promote to: pass --to STACK, not --stack.")
    if arguments.roll_back:
        refuse(arguments, ("from", "version"), "is not for --roll-back")
    elif not source:
        raise UserError("--pipeline promotion needs the stack to promote from: pass --from STACK.")
    if source == to:
        raise UserError(f"--from and --to are both '{to}'; a version is promoted from one stack to another.")
    name = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems").name
    load_stack_file(to, configs / "stacks")
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
