"""The target `process`: the Bento itself, as a process of this machine, behind HAProxy."""

import os
import shutil
import signal
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import psutil

from millrace import processes
from millrace.errors import UserError
from targets.blue_green import PROXY, BlueGreenSettings, Name
from targets.proxy import CONFIGURATION, Colour
from targets.target import Release

# Where Debian has it, which only root's PATH names.
PROGRAMS = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"
OWN = "MILLRACE_SERVE_"
# Within which a service that is told to end has answered what it was asked.
END_SECONDS = 60


class Settings(BlueGreenSettings):
    """Where HAProxy and the services listen."""

    runs_images: ClassVar[bool] = False

    kind: Literal["process"]

    def runner(self, problem: str) -> "Processes":
        """As processes."""
        return Processes(self.folder(problem), problem, self.ports)


class Processes:
    """A `Runner` of processes, which go on when the command that started them ends."""

    def __init__(self, folder: Path, problem: str, ports: dict[Colour, int]) -> None:
        self._folder = folder
        self._problem = problem
        self._ports = ports

    def start_proxy(self) -> None:
        """Start HAProxy in the target's folder."""
        program = shutil.which("haproxy", path=PROGRAMS)
        if program is None:
            raise UserError("The target 'process' needs HAProxy: sudo apt-get install haproxy")
        command = [program, "-db", "-C", str(self._folder), "-f", CONFIGURATION]
        processes.stop(self._record(PROXY), signal.SIGUSR1)
        processes.start(self._record(PROXY), command, {}, None, self._log(PROXY))

    def end_proxy(self) -> None:
        """End it, softly: SIGUSR1 lets it answer what it was asked."""
        processes.stop(self._record(PROXY), signal.SIGUSR1, END_SECONDS)

    def start(self, colour: Colour, release: Release) -> None:
        """Unpack the Bento, with its model, and serve it."""
        place = self._folder / colour
        shutil.rmtree(place, ignore_errors=True)
        _unpack(release.bento, place / "bento")
        # Each service needs one of its own: it empties the folder of Prometheus' numbers in it.
        self._home(colour).mkdir()
        environment = {"BENTOML_HOME": str(self._home(colour)), **self._settings()}
        command = [
            *(str(Path(sys.executable).with_name("bentoml")), "serve", str(place / "bento")),
            *("--host", "127.0.0.1", "--port", str(self._ports[colour])),
        ]
        self._log(colour).unlink(missing_ok=True)
        processes.start(self._record(colour), command, environment, None, self._log(colour))

    def runs(self, colour: Colour) -> bool:
        """Whether its process lives."""
        return processes.is_led(self._record(colour))

    def end(self, colour: Colour) -> None:
        """End it by SIGTERM, and by force if that takes too long."""
        processes.stop(self._record(colour), signal.SIGTERM, END_SECONDS)
        # BentoML's workers are in sessions of their own, and outlive a server that was killed.
        for process in self.processes(colour):
            process.kill()

    def processes(self, colour: Colour) -> list[psutil.Process]:
        """The server of a place and its workers, known by the BENTOML_HOME that no others have."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("BENTOML_HOME") == str(self._home(colour)):
                    found.append(process)
        return found

    def log(self, name: Name) -> str:
        """All that a place or the proxy has said."""
        path = self._log(name)
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def _settings(self) -> dict[str, str]:
        """The caller's settings of the service; log and gauges are where `make serve` has them."""
        from bentos.build import bentoml_home
        from bentos.settings import from_environment

        settings, here = from_environment(), bentoml_home()
        log = settings.log_settings(self._problem, here)
        return {
            **{name: value for name, value in os.environ.items() if name.startswith(OWN)},
            f"{OWN}LOG": log.uri if log else "off",
            f"{OWN}VERDICT": str(settings.verdict_file(self._problem, here)),
            "BENTOML_DO_NOT_TRACK": "True",
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def _home(self, colour: Colour) -> Path:
        return self._folder / colour / "bentoml"

    def _record(self, name: Name) -> Path:
        return self._folder / "run" / f"{name}.json"

    def _log(self, name: Name) -> Path:
        return self._folder / "logs" / f"{name}.log"


def _unpack(bento: str, folder: Path) -> None:
    """Put a Bento of this machine's store, with the model that it only names there, into a new folder."""
    import bentoml

    folder.mkdir(parents=True)
    packed = folder.with_name("packed.bento")
    bentoml.bentos.export_bento(bento, str(packed))
    with tarfile.open(packed) as archive:
        # Without a filter, which Debian's Python 3.11 does not know: it has just been packed here.
        archive.extractall(folder)
    packed.unlink()
