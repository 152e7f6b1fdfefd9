"""--pipeline forgetting: the rows of a key out of log, bundles and tables."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, refuse
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from millrace.contract import load_problem

    refuse(arguments, ("data", "target", "config", "set", "no_cache"), "is not for --pipeline forgetting")
    if not arguments.key:
        raise UserError("--pipeline forgetting needs to know whose rows: pass --key KEY.")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")

    def start(*, summary: Path | None, started: float, **_: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import forgetting

        forgetting.run(
            problem,
            key=arguments.key,
            dry_run=arguments.dry_run,
            summary=summary,
            started=started,
        )

    return start
