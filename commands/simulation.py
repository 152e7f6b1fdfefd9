"""--pipeline simulation: weeks of traffic for a running service."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, SERVICE, Start, refuse
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from pydantic import ValidationError

    from millrace.contract import load_problem
    from millrace.simulation import SCENARIOS, Plan
    from millrace.sources import Source
    from millrace.yaml_files import faults

    refuse(arguments, ("target", "config", "set", "no_cache"), "is not for --pipeline simulation")
    problem = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems")
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
