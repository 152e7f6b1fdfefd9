"""The target `compose`: the image of a Bento, as containers of this machine, behind HAProxy in another."""

import os
import subprocess
from pathlib import Path
from typing import Literal

from pydantic import Field

from millrace.errors import UserError
from stacks.environment import ROOT
from targets.blue_green import PROXY, BlueGreenSettings, Name
from targets.proxy import Colour
from targets.target import Release

FILE = ROOT / "deploy" / "compose" / "service.yaml"
# Lines of a failed command, and of a container's log, that are shown.
SHOWN = 10


class Settings(BlueGreenSettings):
    """Where HAProxy and the services listen, and what Compose is here."""

    kind: Literal["compose"]
    command: tuple[str, ...] = Field(("docker", "compose"), min_length=1)

    def runner(self, problem: str) -> "Containers":
        """In containers."""
        return Containers(self.folder(problem), problem, self.ports, self.command)


class Containers:
    """A `Runner` of containers, which Compose keeps running, also after a reboot."""

    def __init__(
        self, folder: Path, problem: str, ports: dict[Colour, int], command: tuple[str, ...]
    ) -> None:
        self._folder = folder
        self._problem = problem
        self._ports = ports
        self._command = [*command, "--project-name", f"millrace-{problem}-{folder.name}", "--file", str(FILE)]

    def start_proxy(self) -> None:
        """Start HAProxy in the target's folder."""
        self._start(PROXY)

    def end_proxy(self) -> None:
        """End it, softly: SIGUSR1 lets it answer what it was asked."""
        self._end(PROXY)

    def start(self, colour: Colour, release: Release) -> None:
        """Start a container of the release's image, in place of one that may be there."""
        assert release.image is not None
        self._start(colour, {f"MILLRACE_{colour.upper()}_IMAGE": release.image})

    def runs(self, colour: Colour) -> bool:
        """Whether its container runs."""
        running = self._ask("ps", "--services", "--filter", "status=running")
        return colour in running.split()

    def end(self, colour: Colour) -> None:
        """Stop and remove its container."""
        self._end(colour)

    def log(self, name: Name) -> str:
        """The end of what a container has said."""
        return self._ask("logs", "--no-color", "--tail", str(SHOWN), name)

    def _start(self, name: Name, more: dict[str, str] | None = None) -> None:
        self._ask("up", "--detach", "--no-deps", "--force-recreate", name, **(more or {}))

    def _end(self, name: Name) -> None:
        self._ask("rm", "--stop", "--force", name)

    def _ask(self, *arguments: str, **more: str) -> str:
        """Give Compose a command; returns what it says.

        Raises:
            UserError: there is no Compose, or no engine, or the command fails; with the end of what is said.
        """
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                env={**os.environ, **self._variables(), **more},
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise UserError(
                f"The target 'compose' runs '{self._command[0]}', which is not here; install Docker, or name "
                "another command in the target's file."
            ) from None
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-SHOWN:])
            raise UserError(f"Compose cannot do '{' '.join(arguments)}':\n{said}")
        return done.stdout

    def _variables(self) -> dict[str, str]:
        """What the file asks for; log and gauges are where `make serve` has them."""
        from bentos.build import bentoml_home
        from bentos.settings import from_environment

        settings, here = from_environment(), bentoml_home()
        gauges = settings.verdict_file(self._problem, here).parent
        folders = {"MILLRACE_LOG_FOLDER": here / "prediction_log", "MILLRACE_GAUGES_FOLDER": gauges}
        for each in folders.values():
            each.mkdir(parents=True, exist_ok=True)
        return {
            **{name: str(each) for name, each in folders.items()},
            "MILLRACE_FOLDER": str(self._folder),
            "MILLRACE_PROBLEM": self._problem,
            "MILLRACE_USER": f"{os.getuid()}:{os.getgid()}",
            "MILLRACE_SERVE_LOG": settings.log or f"sqlite:////prediction_log/{self._problem}.db",
            **{f"MILLRACE_{colour.upper()}_PORT": str(port) for colour, port in self._ports.items()},
        }
