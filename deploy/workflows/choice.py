"""Which problems a workflow is about: those it is told, or those that commits have touched.

    python3 -m deploy.workflows.choice [--named "NAME NAME"] [--since COMMIT]

prints `problems=[...]`, a line of JSON for a matrix. Every name in it is that of a file in configs/problems/,
whatever was asked for. Plain Python without packages, so that a job can choose before it installs anything.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PROBLEMS = Path("configs", "problems")
# What a branch was before its first commit, as GitHub tells it.
NOTHING = "0" * 40


def named(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names, each once, sorted.

    Raises:
        ValueError: there is no such problem.
    """
    wanted = set(names)
    if unknown := wanted - set(known):
        raise ValueError(f"no such problem in {PROBLEMS}: {', '.join(map(repr, sorted(unknown)))}")
    return sorted(wanted)


def touched(changed: Iterable[str], files: dict[str, str]) -> list[str]:
    """The problems whose own file changed, or a .dvc file of a table that they name.

    `changed` are paths in the repository, `files` the text of each problem's file by its name.
    """
    paths = set(changed)
    tables = [path.removesuffix(".dvc") for path in paths if path.endswith(".dvc")]
    return sorted(
        name
        for name, text in files.items()
        if (PROBLEMS / f"{name}.yaml").as_posix() in paths or any(table in text for table in tables)
    )


def changes(since: str) -> list[str]:
    """The files that differ between a commit and the one that is checked out."""
    before = _git("hash-object", "-t", "tree", "/dev/null").strip() if since == NOTHING else since
    return _git("diff", "--name-only", "-z", "--no-renames", before, "HEAD", "--").split("\0")[:-1]


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def main(arguments: list[str] | None = None) -> int:
    """Print the choice; returns the exit code."""
    parser = argparse.ArgumentParser(prog="deploy.workflows.choice", description=__doc__.partition("\n")[0])
    parser.add_argument("--named", default="", help="these problems, whatever has changed")
    parser.add_argument("--since", default="", metavar="COMMIT", help="those touched since then")
    given = parser.parse_args(arguments)
    files = {path.stem: path.read_text(encoding="utf-8") for path in PROBLEMS.glob("*.yaml")}
    try:
        if given.named:
            chosen = named(given.named.split(), files)
        elif given.since:
            chosen = touched(changes(given.since), files)
        else:
            raise ValueError("nothing says which problems: pass --named or --since")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"problems={json.dumps(chosen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
