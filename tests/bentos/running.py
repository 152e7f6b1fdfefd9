"""`bentoml serve` as a process of its own, and what can be seen of it from outside."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

NAME = "served_houses"
HOUSE = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}
# Seconds that a start may take.
PATIENCE = 60.0


@dataclass
class Service:
    """A service: its port, its process, those of its workers, and where its log goes."""

    port: int
    process: "subprocess.Popen[str]"
    log: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            # One that has just died has no command line any more.
            with suppress(psutil.Error):
                found += [child] if any("worker.service" in part for part in child.cmdline()) else []
        return found

    def counted(self, name: str) -> dict[str, float]:
        """A metric's values by the labels in braces."""
        text = httpx.get(f"{self.url}/metrics", timeout=PATIENCE).text
        return {
            labels: float(value) for labels, value in re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.M)
        }


def serve(port: int, folder: Path, name: str = NAME, **variables: str) -> "subprocess.Popen[str]":
    """Start the newest Bento of a name; `folder` is where it runs and where its log goes."""
    command = [sys.executable, "-m", "bentoml", "serve", f"{name}:latest"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **{f"MILLRACE_SERVE_{name}": value for name, value in variables.items()}},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextmanager
def running(folder: Path, name: str = NAME, **settings: str) -> Iterator[Service]:
    """The newest Bento, ready with all its workers; settings are named without their prefix."""
    port = free_port()
    process = serve(port, folder, name, **settings)
    service = Service(port, process, folder / "log")
    try:
        _wait_until_ready(service)
        wait_for(lambda: len(service.workers) == int(settings.get("WORKERS", "2")))
        yield service
    finally:
        process.terminate()
        process.wait(PATIENCE)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(happens: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Wait until it happens, and return how long that took."""
    started = time.monotonic()
    while not happens():
        assert time.monotonic() - started < seconds, "it has not happened"
        time.sleep(0.02)
    return time.monotonic() - started


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and service.process.poll() is None:
        try:
            if httpx.get(f"{service.url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"The service did not become ready:\n{service.log.read_text()}")


@dataclass
class Memory:
    """By how many MB the workers of a service have grown: at most, and at the end."""

    peak: float = 0.0
    left: float = 0.0


@contextmanager
def weighed(service: Service) -> Iterator[Memory]:
    """Watch the workers' memory meanwhile."""
    workers, memory, ended = service.workers, Memory(), threading.Event()

    def size() -> float:
        return sum(worker.memory_info().rss for worker in workers) / 2**20

    before = size()

    def watch() -> None:
        while not ended.wait(0.02):
            memory.peak = max(memory.peak, size() - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield memory
    finally:
        ended.set()
        watching.join()
        memory.left = size() - before
        memory.peak = max(memory.peak, memory.left)
