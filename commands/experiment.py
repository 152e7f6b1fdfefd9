"""--pipeline experiment: champion against challenger, planned, looked at and decided."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, refuse
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from millrace.contract import load_problem

    refuse(arguments, ("data", "target"), "is not for --pipeline experiment; it reads the prediction log")
    if not arguments.plan:
        names = ("challenger", "config", "set")
        refuse(arguments, names, "is for --plan: an experiment stays as it was planned")
    elif arguments.decide:
        raise UserError("--plan begins an experiment and --decide ends one; pass one of them.")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")

    def start(**common: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import experiment

        task = "plan" if arguments.plan else arguments.decide or "look"
        experiment.run(problem.name, task=task, challenger=arguments.challenger, **common)

    return start
