"""--pipeline profiling: a draft of a problem's file, from a table and the column to predict."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import Start
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from millrace.profiling.files import check_name, problem_name
    from millrace.sources import Source

    if not arguments.data:
        raise UserError("--pipeline profiling needs a table: pass --data PATH_OR_URI.")
    if not arguments.target:
        raise UserError("--pipeline profiling needs the column to predict: pass --target COLUMN.")
    name = arguments.problem or problem_name(arguments.data)
    path = check_name(name, configs / "problems")
    source = Source.model_validate(arguments.data)

    def start(**common: Any) -> None:
        from pipelines import profiling

        profiling.run(name, source=source, target=arguments.target, path=path, **common)

    return start
