"""A home with two versions of iris, and a target on ports of its own that they are deployed to."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

import run
from millrace import processes
from millrace.registry import Registry
from targets.blue_green import BlueGreen
from targets.files import load_target_file
from tests.bentos.running import free_port
from tests.conftest import FEWEST, Home, opened_copy
from tests.targets.load import Load

FLOWER = {
    "sepal length (cm)": 5.1,
    "sepal width (cm)": 3.5,
    "petal length (cm)": 1.4,
    "petal width (cm)": 0.2,
}
WATCH_SECONDS = 2


class Place:
    """A home with two versions of iris, a target's file, and what the target makes of it."""

    def __init__(self, home: Home, folder: Path, kind: str, **more: Any) -> None:
        self.home = home
        self.file = folder / "here.yaml"
        front, blue, green = free_port(), free_port(), free_port()
        settings = {"kind": kind, "port": front, "blue_port": blue, "green_port": green, **more}
        self.file.write_text(yaml.safe_dump(settings | {"watch_seconds": WATCH_SECONDS}))
        self.url = f"http://127.0.0.1:{front}"
        self.folder = home.path / "deployments" / "iris" / f"{kind}-{front}"

    @property
    def target(self) -> BlueGreen:
        made = load_target_file(str(self.file), Path()).make("iris")
        assert isinstance(made, BlueGreen)
        return made

    @property
    def registry(self) -> Registry:
        return Registry("iris", f"sqlite:///{self.home.path}/store/mlflow.db")

    def command(self, *more: str) -> tuple[str, ...]:
        return ("--pipeline", "deployment", "--problem", "iris", "--target", str(self.file), *more)

    def deploy(self, *more: str) -> dict[str, Any]:
        """Deploy, in this process; returns the summary, with the exit code."""
        summary = self.folder.parent / "summary.json"
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.unlink(missing_ok=True)
        code = run.main([*self.command(*more), "--summary", str(summary)])
        found = json.loads(summary.read_text()) if summary.is_file() else {}
        return found | {"code": code}

    def have(self, version: str) -> None:
        """Let a version answer."""
        assert self.deploy("--version", version)["code"] == 0
        assert self.version() == version

    def take_over(self, version: str, before: str) -> dict[str, Any]:
        """Deploy a version while callers call the one before, and see that none of them fails."""
        with self.load().running() as load:
            load.wait_for(before)
            found = self.deploy("--version", version)
            load.wait_for(version)
        print(f"{load.requests} requests: {dict(load.versions)}, {len(load.failures)} failed")
        assert load.failures == []
        outcome = tuple(found[name] for name in ("outcome", "version", "before", "failed"))
        assert outcome == ("deployed", version, before, 0)
        assert self.version() == version
        return found

    def version(self) -> str:
        """The version that answers."""
        told: str = httpx.get(f"{self.url}/v1/model", trust_env=False).json()["version"]
        return told

    def services(self) -> list[str]:
        """The places in which something runs."""
        return [name for name in ("blue", "green") if processes.is_led(self.folder / "run" / f"{name}.json")]

    def kill(self, name: str) -> None:
        """kill -9 a service with all its workers, the server first."""
        for process in self._processes(name):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def end(self) -> None:
        """End all that was started here."""
        for name in ("blue", "green"):
            self.kill(name)
        processes.stop(self.folder / "run" / "proxy.json", signal.SIGTERM)

    def _processes(self, name: str) -> list[psutil.Process]:
        record = self.folder / "run" / f"{name}.json"
        leader = processes.running(record)[:1]
        return [*leader, *(child for each in leader for child in each.children(recursive=True))]

    def load(self) -> Load:
        return Load(self.url, {"rows": [FLOWER]})


@contextmanager
def two_versions(trained: tuple[Home, Path], folder: Path) -> Iterator[Home]:
    """A copy of the trained home, open in this process, with a second version that is not the champion."""
    with opened_copy(trained[1], folder / "state") as home:
        assert run.main(["--pipeline", "training", "--problem", "iris", *FEWEST, "--set=seed=3"]) == 0
        yield home
