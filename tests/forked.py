"""Python commands in processes of their own, forked from one that has imported what most of them import.

Half of a short command's time is imports. The server that is forked from has run no line of a command: a
fork differs from `python run.py` in where its modules come from, and can be killed like any process.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.imported"])


class Forked:
    """A running command, with as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], folder: Path) -> None:
        self.args = arguments
        (in_end, given), (out, out_end), (err, err_end) = os.pipe(), os.pipe(), os.pipe()
        ends = in_end, out_end, err_end
        command = (arguments, environment, str(folder), [_Handed(end) for end in ends])
        self._process = _context.Process(target=_run, args=command)
        self._process.start()
        for end in ends:
            os.close(end)
        # Closed by `communicate`.
        self._stdin: IO[str] = open(given, "w", encoding="utf-8")  # noqa: SIM115
        self.stdout: IO[str] = open(out, encoding="utf-8")  # noqa: SIM115
        self.stderr: IO[str] = open(err, encoding="utf-8")  # noqa: SIM115

    @property
    def pid(self) -> int:
        """The number of the process itself."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; of one that a signal ended, the signal's number below zero."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """What `returncode` is."""
        return self.returncode

    def kill_at(self, step: str) -> None:
        """Kill it with SIGKILL as soon as it says that the step has begun; and wait until it has ended."""
        for line in self.stderr:
            if line == f"  {step} ...\n":
                self.send_signal(signal.SIGKILL)
                break
        self.communicate()
        assert self.returncode == -signal.SIGKILL, f"{step} never began"

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended, or so long."""
        self._process.join(seconds)

    def communicate(self, given: str = "", timeout: float | None = None) -> tuple[str, str]:
        """What is left of its output, when it has ended; it is `given` its input first.

        Raises:
            TimeoutError: it has not; it is killed.
        """
        with suppress(BrokenPipeError), self._stdin:
            self._stdin.write(given)
        with ThreadPoolExecutor(2) as pool, self.stdout, self.stderr:
            out, err = pool.submit(self.stdout.read), pool.submit(self.stderr.read)
            self._process.join(timeout)
            if self.returncode is None:
                self._process.kill()
                raise TimeoutError(f"{self.args}: {out.result()}{err.result()}")
            return out.result(), err.result()


class _Handed:
    """A file descriptor that the forked process gets a copy of."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _detach, (DupFd(self.descriptor),)


def _detach(handed: Any) -> int:
    return int(handed.detach())


def _run(arguments: tuple[str, ...], environment: dict[str, str], folder: str, streams: list[int]) -> None:
    for place, descriptor in enumerate(streams):
        os.dup2(descriptor, place)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - it stays open
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = list(arguments)
    try:
        if arguments[0] == "-c":
            sys.argv[1:2] = []
            exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
        elif arguments[0] == "-m":
            sys.argv[:1] = []
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        # As the interpreter does at its end, and multiprocessing does not.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
