"""--pipeline inference: a registered model's predictions of a whole table."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, check_engine
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
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
    check_engine(arguments)
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")
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
