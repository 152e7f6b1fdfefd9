"""One server of staging: what a description says of it, and what start, stop and status do with that."""

import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace import processes
from millrace.errors import UserError

# Generous: on a busy machine the slowest has taken 40 s.
PATIENCE = 180


def nothing() -> None:
    """What most servers need before or after they start."""


@dataclass(frozen=True)
class Server:
    """How to run one server and to know that it serves.

    `make` lays out `data` before the first start, again if it was interrupted; `configure` runs before each
    start and `complete` once it answers; both may be repeated. `answers` is true when the server does what
    it is for; false or any exception is "not yet".
    """

    name: str
    folder: Path
    command: Sequence[str]
    answers: Callable[[], bool]
    address: str
    environment: Callable[[], Mapping[str, str]] = dict
    after: Sequence[str] = ()
    make: Callable[[], None] = nothing
    configure: Callable[[], None] = nothing
    complete: Callable[[], None] = nothing
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None

    @property
    def data(self) -> Path:
        """The folder of what the server keeps."""
        return self.folder / self.name

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """Which process it is."""
        return self.folder / "run" / f"{self.name}.json"

    def is_up(self) -> bool:
        """Whether its process lives and it answers."""
        return processes.is_led(self.record) and self._answers()

    def start(self) -> bool:
        """Bring the server up and wait until it answers; False if it was up already.

        Raises:
            UserError: it ended, or did not answer in time; with the last lines of its log.
        """
        fresh = not processes.is_led(self.record)
        if fresh:
            # Children of a killed parent would hold its port.
            self.stop()
            self._lay_out()
            self.configure()
            processes.start(self.record, self.command, self.environment(), self.user, self.log)
        self._wait()
        self.complete()
        return fresh

    def stop(self) -> bool:
        """End the server; False if it did not run."""
        return processes.stop(self.record, self.stop_signal)

    def _lay_out(self) -> None:
        made = self.folder / "made" / self.name
        if made.exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        if self.user:
            shutil.chown(self.data, self.user, self.user)
        self.make()
        made.parent.mkdir(exist_ok=True)
        made.touch()

    def _answers(self) -> bool:
        try:
            return self.answers()
        except Exception:  # However it fails, and each client fails in its own way: not yet.
            return False

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if not processes.is_led(self.record):
                raise UserError(f"it ended at its start. {self._last_lines()}")
            if time.monotonic() > end:
                raise UserError(f"it does not answer after {PATIENCE} s. {self._last_lines()}")
            time.sleep(0.2)

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        return f"The end of {self.log}:\n" + "\n".join(f"  {line[:300]}" for line in lines)
