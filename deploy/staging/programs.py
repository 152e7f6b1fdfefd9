"""Finding and calling the programs that Debian's packages bring."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from millrace import processes
from millrace.errors import UserError

PLACES = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def find(name: str, package: str) -> str:
    """The path of a program, or an error that names the Debian package it is in."""
    if found := shutil.which(name) or shutil.which(name, path=PLACES):
        return found
    raise UserError(f"{name} is not installed: sudo apt-get install {package}")


def find_postgresql(name: str) -> str:
    """The path of one of PostgreSQL's programs, of the newest version; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else find(name, "postgresql")


def call(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    may_fail_with: int = 0,
) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        UserError: it failed, with another code than `may_fail_with`; with the end of what it said.
    """
    done = subprocess.run(
        command,
        env={**processes.clean_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        umask=0o077,
        cwd="/",
        **processes.as_user(user),
    )
    if done.returncode not in (0, may_fail_with):
        raise UserError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
