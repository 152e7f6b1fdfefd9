"""--pipeline monitoring: what the champion has answered, beside what it was when it was made."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, refuse


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from datetime import UTC, datetime

    from millrace.contract import load_problem
    from millrace.moments import begin

    refuse(arguments, ("data", "target"), "is not for --pipeline monitoring; it reads the prediction log")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")
    until = datetime.now(UTC)
    since = begin(arguments.since, until) if arguments.since else None

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import monitoring

        monitoring.run(problem.name, since=since, until=until, **common)

    return start
