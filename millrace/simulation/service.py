"""A running service, asked by HTTP, one request after the other."""

import os
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from millrace.errors import UserError

# Seconds for an answer, between tries, and until a service that is away is given up.
TIMEOUT, PAUSE, PATIENCE = 30.0, 0.5, 60.0
# The environment variable with an API key, for services that ask for one.
API_KEY = "MILLRACE_API_KEY"


@dataclass(frozen=True)
class Answer:
    """What came of a request: the status, the content, the id that it is known by, and seconds it took."""

    status: int
    content: Any
    request: str
    seconds: float


@dataclass
class Service:
    """A service at a URL. While it is away it is waited for, `patience` seconds at most.

    A request whose answer was lost on the way is sent again, so the service may have had it twice.
    `away` is how often it was waited for, and `waited` how many seconds in all.
    """

    url: str
    patience: float = PATIENCE
    away: int = 0
    waited: float = 0.0
    client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Open the connection, by the machine's own network and not its proxy."""
        key = os.environ.get(API_KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self.client = httpx.Client(base_url=self.url, timeout=TIMEOUT, headers=headers, trust_env=False)
        except (httpx.InvalidURL, ValueError) as error:
            raise UserError(f"--url {self.url}: is no URL ({error}).") from None

    def about(self) -> dict[str, Any]:
        """What the service says of its model.

        Raises:
            UserError: nobody answers there, or not a service of Millrace.
        """
        try:
            response = self.client.get("/v1/model")
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise UserError(
                f"{self.url}: no service answers there ({type(error).__name__}). Start it with: make serve"
            ) from None
        try:
            found = response.json()
        except ValueError:
            found = None
        if response.status_code != 200 or not isinstance(found, dict) or "digest" not in found:
            raise UserError(f"{self.url}: what answers there is no service of Millrace.")
        return found

    def predict(self, body: bytes) -> Answer:
        """Ask for predictions.

        Raises:
            UserError: the service was away for too long.
        """
        return self._post("/v1/predict", body)

    def learn(self, outcomes: list[dict[str, Any]]) -> Answer:
        """Tell what turned out to be true.

        Raises:
            UserError: the service was away for too long.
        """
        return self._post("/v1/feedback", msgspec.json.encode({"outcomes": outcomes}))

    def _post(self, path: str, body: bytes) -> Answer:
        missed = None
        while True:
            began = time.perf_counter()
            try:
                response = self.client.post(path, content=body, headers={"Content-Type": "application/json"})
            except httpx.TransportError as error:
                if missed is None:
                    missed, self.away = time.monotonic(), self.away + 1
                if time.monotonic() - missed > self.patience:
                    self.waited += time.monotonic() - missed
                    raise UserError(
                        f"{self.url}: the service has been away for {self.patience:g} s "
                        f"({type(error).__name__})."
                    ) from None
                time.sleep(PAUSE)
                continue
            if missed is not None:
                self.waited += time.monotonic() - missed
            seconds = time.perf_counter() - began
            request = response.headers.get("x-request-id", "")
            return Answer(response.status_code, _json(response), request, seconds)


def _json(response: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return None
