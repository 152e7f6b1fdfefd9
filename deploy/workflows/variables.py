"""The variables of a workflow's environment that stacks and targets are described with.

    VARIABLES='{"MILLRACE_ECS_CLUSTER": "staging"}' python3 -m deploy.workflows.variables >>"$GITHUB_ENV"

prints those that are Millrace's as lines of NAME=value: addresses and names, nothing secret. So no workflow
need list them, nor be changed where a target comes to need another. Plain Python without packages.
"""

import json
import os
import re
import sys

OURS = re.compile(r"MILLRACE_[A-Z0-9_]+")


def lines(variables: dict[str, str]) -> list[str]:
    """The lines of those that are ours.

    Raises:
        ValueError: a value of several lines, which would set what it likes.
    """
    ours = {name: value for name, value in sorted(variables.items()) if OURS.fullmatch(name)}
    if odd := [name for name, value in ours.items() if len(value.splitlines()) > 1]:
        raise ValueError(f"more than one line: {', '.join(odd)}")
    return [f"{name}={value.strip()}" for name, value in ours.items()]


def main() -> int:
    """Print them; returns the exit code."""
    try:
        print(*lines(json.loads(os.environ["VARIABLES"])), sep="\n")
    except ValueError as error:
        print(f"error: VARIABLES: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
