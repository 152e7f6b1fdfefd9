"""A service that runs twice for a while: two places, blue and green, behind a HAProxy, on one machine."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import httpx
from pydantic import Field

from millrace.durable import write_whole
from millrace.errors import UserError
from millrace.ports import require_free
from stacks.environment import home
from targets.files import TargetSettings
from targets.proxy import COLOURS, Colour, Proxy, other
from targets.target import Release, Traffic

PROXY: Literal["proxy"] = "proxy"
Name = Colour | Literal["proxy"]
PROXY_SECONDS = 20
READY_SECONDS = 120
# As long as a request may take.
DRAIN_SECONDS = 60
PAUSE = 0.2
LOG_LINES = 10


class BlueGreenSettings(TargetSettings):
    """Where HAProxy listens, and the services behind it; all on 127.0.0.1."""

    port: int = Field(3000, ge=1, le=65535)
    blue_port: int = Field(3011, ge=1, le=65535)
    green_port: int = Field(3012, ge=1, le=65535)

    @property
    def ports(self) -> dict[Colour, int]:
        """Those of the services."""
        return {"blue": self.blue_port, "green": self.green_port}

    def folder(self, problem: str) -> Path:
        """Where the state of a problem's target is kept: of each HAProxy its own."""
        folder = home() / "deployments" / problem / f"{self.kind}-{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def make(self, problem: str) -> "BlueGreen":
        """The target for the service of a problem."""
        urls: dict[Colour, str] = {colour: f"http://127.0.0.1:{port}" for colour, port in self.ports.items()}
        url = f"http://127.0.0.1:{self.port}"
        return BlueGreen(self.folder(problem), url, urls, self.runner(problem), self.runs_images)

    def runner(self, problem: str) -> "Runner":
        """How its places and its proxy are run."""
        raise NotImplementedError


class Runner(Protocol):
    """How a place or the proxy is run: as a process, or in a container."""

    def start_proxy(self) -> None:
        """Start the HAProxy of the target's folder, unless it runs."""

    def end_proxy(self) -> None:
        """End it."""

    def start(self, colour: Colour, release: Release) -> None:
        """Start a release; does not wait for it to be ready."""

    def runs(self, colour: Colour) -> bool:
        """Whether a place has a release that runs."""

    def end(self, colour: Colour) -> None:
        """End what runs in a place, if anything does, once it has answered its last requests."""

    def log(self, name: Name) -> str:
        """What a place or the proxy has said, or the end of that."""


class BlueGreen:
    """A `Target` of two places. `urls` are those of the places, `url` is the proxy's.

    Which place has the traffic, the running HAProxy knows, and its configuration where none runs; what was
    started in a place is in a file of the target's folder.
    """

    registry: str | None = None

    def __init__(
        self, folder: Path, url: str, urls: dict[Colour, str], runner: Runner, runs_images: bool
    ) -> None:
        self.url = url
        self.runs_images = runs_images
        self._urls = urls
        self._folder = folder
        self._runner = runner
        addresses = {colour: place.removeprefix("http://") for colour, place in urls.items()}
        self._proxy = Proxy(folder, url.removeprefix("http://"), addresses)
        self._candidate: Colour = "blue"
        self._before: Colour | None = None

    def serving(self) -> Release | None:
        """What has the traffic, if it runs."""
        active = self._active()
        if active is None or not self._proxy.answers() or not self._runner.runs(active):
            return None
        return Release.model_validate_json(self._file(active).read_text(encoding="utf-8"))

    def start(self, release: Release) -> str:
        """Start a candidate in the place without traffic."""
        active = self._active()
        self._candidate, self._before = other(active) if active else "blue", active
        if not self._proxy.answers():
            require_free(self.url)
            self._proxy.configure(active)
            self._runner.start_proxy()
            if not _wait_for(self._proxy.answers, PROXY_SECONDS):
                raise UserError(f"HAProxy did not start. Its log ends:\n{self._tail(PROXY)}")
        # Also where an earlier switch was cut off in the middle.
        self._proxy.switch(active)
        self._runner.end(self._candidate)
        require_free(self._urls[self._candidate])
        write_whole(self._file(self._candidate), release.model_dump_json().encode())
        self._runner.start(self._candidate, release)
        self._wait_until_ready(self._candidate)
        return self._urls[self._candidate]

    def switch(self) -> None:
        """Give the candidate all traffic."""
        self._proxy.switch(self._candidate)

    def traffic(self) -> Traffic:
        """As HAProxy has counted it."""
        return self._proxy.traffic()

    def switch_back(self) -> None:
        """Give the traffic to the place that had it before."""
        self._proxy.switch(self._before)

    def retire(self) -> None:
        """End the place that had the traffic before."""
        self.discard()

    def discard(self) -> None:
        """End whatever runs and has no traffic; the proxy, too, if there is none at all."""
        active = self._active()
        for colour in COLOURS:
            if colour != active:
                self._drain(colour)
                self._runner.end(colour)
        if active is None:
            self._runner.end_proxy()
            self._proxy.forget()

    def stop(self) -> None:
        """End all that runs here, after its last requests: it is as before the first deployment."""
        self._runner.end_proxy()
        for colour in COLOURS:
            self._runner.end(colour)
        # Last: while there is a configuration, `make clean` takes it that something may run.
        self._proxy.forget()

    def _drain(self, colour: Colour) -> None:
        if self._proxy.answers():
            _wait_for(lambda: not self._proxy.busy(colour), DRAIN_SECONDS)

    def _active(self) -> Colour | None:
        found = self._proxy.active() if self._proxy.answers() else None
        return found or self._proxy.configured()

    def _file(self, colour: Colour) -> Path:
        return self._folder / f"{colour}.json"

    def _wait_until_ready(self, colour: Colour) -> None:
        """Wait until a place says that it is ready.

        Raises:
            UserError: it ended, or is not in time; with the end of its log.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not _is_ready(self._urls[colour]):
            ended = not self._runner.runs(colour)
            if ended or time.monotonic() > deadline:
                what = "ended at its start" if ended else f"is not ready after {READY_SECONDS} s"
                raise UserError(f"The candidate {what}. Its log ends:\n{self._tail(colour)}")
            time.sleep(PAUSE)

    def _tail(self, name: Name) -> str:
        return "\n".join(self._runner.log(name).splitlines()[-LOG_LINES:])


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition is met; False if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
