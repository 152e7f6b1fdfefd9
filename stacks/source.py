"""python -m stacks.source STACK PROBLEM [VERSION]: fetch a version's bundle from a stack's registry.

A process of its own where the stack has a server: one process has one ZenML server and one MLflow account.
"""

import subprocess
import sys
from pathlib import Path

from millrace.errors import UserError
from millrace.strict import Strict
from stacks import environment, quickstart
from stacks.stack_files import Stack, load_stack_file
from stacks.tracking import tracking_uri_of

STACKS = environment.ROOT / "configs" / "stacks"


class Fetched(Strict):
    """A version of a stack's registry, with its bundle in a folder of this machine; `run_id` is MLflow's."""

    stack: str
    name: str
    version: str
    digest: str
    run_id: str
    folder: Path


def fetch(stack_name: str, problem: str, version: str | None) -> Fetched:
    """Fetch a version's bundle, the champion's without a version, and verify its digest.

    Raises:
        UserError: no such stack or version, no champion, a server that does not answer, a bundle that is
            damaged or not the one that was registered.
    """
    quickstart.import_mlflow()
    from millrace.registry import CHAMPION, Registry

    stack = load_stack_file(stack_name, STACKS)
    if stack.server:
        environment.use_server(stack.name, stack.server.url, stack.server.api_key)
    uri = tracking_uri_of(stack)
    registry = Registry(problem, uri) if uri else None
    found = registry and (registry.get(version) if version else registry.with_alias(CHAMPION))
    if registry is None or found is None:
        known = [each.version for each in registry.versions()] if registry else []
        missing = f"version {version}" if version else "champion"
        raise UserError(
            f"The registry of stack '{stack_name}' has no {missing} of '{problem}'; "
            f"its versions: {', '.join(known) or 'none'}."
        )
    folder = registry.fetch_verified(found, environment.home() / "cache")
    return Fetched(
        stack=stack_name,
        name=problem,
        version=found.version,
        digest=found.digest,
        run_id=found.run_id,
        folder=folder.absolute(),
    )


def fetch_apart(stack_name: str, problem: str, version: str | None) -> Fetched:
    """The same, so that this process can go on with another stack: in one of its own, if need be.

    Raises:
        UserError: as `fetch`.
    """
    if _leaves_nothing(load_stack_file(stack_name, STACKS)):
        return fetch(stack_name, problem, version)
    arguments = [stack_name, problem, *([version] if version else [])]
    done = subprocess.run(
        [sys.executable, "-m", "stacks.source", *arguments],
        cwd=environment.ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode == 2:
        raise UserError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
    if done.returncode:
        raise RuntimeError(f"stacks.source {' '.join(arguments)}: {done.stderr}")
    return Fetched.model_validate_json(done.stdout.splitlines()[-1])


def _leaves_nothing(stack: Stack) -> bool:
    """Whether a process that has fetched from a stack has no ZenML server and no account of MLflow of it."""
    return stack.server is None and not stack.components["experiment_tracker"].configuration


def main(stack: str, problem: str, version: str | None = None) -> int:
    """Print what was fetched as JSON. Returns 0; 2 for what the user can mend."""
    environment.prepare()
    try:
        print(fetch(stack, problem, version).model_dump_json())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
