"""A whole staging for tests: in a folder and on ports of its own, gone afterwards."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from deploy.staging.server import Server
from deploy.staging.settings import Settings
from deploy.staging.staging import Staging
from millrace import processes

ROOT = Path(__file__).parent.parent.parent


class RunningStaging:
    """Servers to use, and to stop, kill and start again one by one.

    `home` is the MILLRACE_HOME they live in; `environment` holds the variables that
    configs/stacks/staging.yaml refers to.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._staging = Staging(home / "staging", free_ports=True)

    @property
    def environment(self) -> dict[str, str]:
        return self._staging.environment

    @property
    def settings(self) -> Settings:
        return self._staging.settings

    @property
    def servers(self) -> dict[str, Server]:
        return {server.name: server for server in self._staging.servers()}

    def start(self, *names: str) -> None:
        """Bring the named servers up, or all; wait until they answer."""
        self._staging.start(names)

    def stop(self, *names: str) -> None:
        """Stop the named servers, or all."""
        self._staging.stop(names)

    def kill(self, name: str) -> None:
        """kill -9 the process that was started as this server, and nothing else."""
        leader = processes.running(self.servers[name].record)[0]
        leader.kill()
        psutil.wait_procs([leader], timeout=10)

    def processes(self) -> list[psutil.Process]:
        """All that runs for this staging: the servers, what they started, and PostgreSQL's workers."""
        found = {p.pid: p for server in self.servers.values() for p in processes.running(server.record)}
        for process in list(found.values()):
            found |= {child.pid: child for child in process.children(recursive=True)}
        return list(found.values())

    def command(self, action: str) -> "subprocess.CompletedProcess[str]":
        """What a person types, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.staging", action],
            cwd=ROOT,
            env={**os.environ, "MILLRACE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
        )


@contextmanager
def running_staging() -> Iterator[RunningStaging]:
    """Start all servers in a new folder, and at the end stop them and delete it."""
    # Not below pytest's own folder: each session that starts closes that to others, and so to PostgreSQL.
    home = Path(tempfile.mkdtemp(prefix="millrace-staging-"))
    home.chmod(0o711)
    staging = RunningStaging(home)
    try:
        staging.start()
        yield staging
    finally:
        staging.stop()
        shutil.rmtree(home)
