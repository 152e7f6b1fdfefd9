"""Callers of a service, as many at once as are asked for, who count what they get."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

CALLERS = 4
# Between a caller's requests: what is tested needs some processor, too.
PAUSE = 0.01
TIMEOUT = 30.0


class Load:
    """What callers have got: `failures` in words, and how many answers of which version."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        self.failures: list[str] = []
        self.versions: Counter[str] = Counter()
        self._url = url
        self._body = body
        self._over = threading.Event()

    @property
    def requests(self) -> int:
        return sum(self.versions.values()) + len(self.failures)

    def wait_for(self, version: str, seconds: float = 60) -> None:
        """Wait until a version has answered somebody."""
        deadline = time.monotonic() + seconds
        while version not in self.versions:
            assert time.monotonic() < deadline, f"version {version} answers nobody: {self.versions}"
            time.sleep(0.05)

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=TIMEOUT, trust_env=False) as client:
            while not self._over.wait(PAUSE):
                try:
                    response = client.post("/v1/predict", json=self._body)
                except httpx.HTTPError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    continue
                if response.status_code == 200:
                    self.versions[response.json()["model"]["version"]] += 1
                else:
                    self.failures.append(f"{response.status_code}: {response.text[:100]}")

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Callers that call as long as the block takes."""
        callers = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield self
        finally:
            self._over.set()
            for caller in callers:
                caller.join(TIMEOUT)
