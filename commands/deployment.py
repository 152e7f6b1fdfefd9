"""--pipeline deployment: a version of a problem's model, as a service, to a target."""

import argparse
from pathlib import Path
from typing import Any

from commands.options import DEFAULT_PROBLEM, Start, refuse
from millrace.errors import UserError


def prepare(arguments: argparse.Namespace, configs: Path) -> Start:
    """Check the arguments, and return what is to be run."""
    from millrace.contract import load_problem
    from stacks.stack_files import load_stack_file
    from targets.files import load_target_file, target_names

    refuse(arguments, ("data", "config", "set", "no_cache"), "is not for --pipeline deployment")
    name = load_problem(arguments.problem or DEFAULT_PROBLEM, configs / "problems").name
    if not arguments.target:
        known = ", ".join(target_names(configs / "targets"))
        raise UserError(f"--pipeline deployment needs to know where to: pass --target with one of {known}.")
    if arguments.roll_back:
        refuse(arguments, ("version", "image"), "is not for --roll-back")
    if arguments.stop:
        refuse(arguments, ("version", "image", "roll_back", "summary"), "is not for --stop")
    settings = load_target_file(arguments.target, configs / "targets")
    if arguments.image and not settings.runs_images:
        raise UserError(f"--image: the target '{arguments.target}' runs the Bento itself, and no image.")
    stack = load_stack_file(arguments.stack, configs / "stacks")
    if stack.components["orchestrator"].flavor != "local":
        raise UserError(
            f"--stack {arguments.stack}: its steps run in a cluster, and a deployment is made from here. "
            "Pass a stack with the same servers and a local orchestrator, such as 'production-client'."
        )

    def start(**options: Any) -> None:
        from stacks import quickstart

        quickstart.import_mlflow()
        from pipelines import deployment

        if arguments.stop:
            deployment.stop(name, arguments.target, settings)
            return
        deployment.run(
            name,
            target=arguments.target,
            version=arguments.version,
            image=arguments.image,
            going_back=arguments.roll_back,
            **{key: options[key] for key in ("summary", "started", "stack")},
        )

    return start
