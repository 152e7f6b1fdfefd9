"""--pipeline training: a model of a problem's table, or of another table in its columns."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, check_engine
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from millrace.contract import load_problem
    from millrace.sources import Source

    check_engine(arguments)
    if arguments.target:
        raise UserError(
            "--target is for --pipeline profiling; a problem's file says itself what is to be predicted."
        )
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")
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
