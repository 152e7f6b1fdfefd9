"""Whether what answers at a URL is the release that it should be, and answers as it did when it was made."""

import math
from typing import Any

import httpx
import msgspec
import numpy as np

from millrace.bundle import SELFTEST, Bundle
from millrace.errors import UserError
from millrace.requests import write

TIMEOUT = 10.0
# Another processor sums in another order.
TOLERANCE = 1e-6


class Smoke:
    """A few requests whose answers are known: the rows of the bundle's self-test."""

    def __init__(self, bundle: Bundle, api_key: str | None = None) -> None:
        recorded = bundle.read(SELFTEST)
        self._digest = bundle.digest
        self._rows = recorded["rows"]
        self._answers = write(bundle.fitted, np.array(recorded["predictions"]))
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    @property
    def rows(self) -> int:
        """How many rows are asked for."""
        return len(self._rows)

    def check(self, url: str) -> None:
        """See that the release is ready at a URL, is the bundle it should be, predicts all rows as
        recorded, and refuses a request without rows.

        Raises:
            UserError: it does not, with what it answered instead.
        """
        with self._client(url) as client:
            _expect(client.get("/readyz"), 200)
            digest = _decode(_expect(client.get("/v1/model"), 200)).get("digest")
            if digest != self._digest:
                raise UserError(f"{url}: serves the bundle {digest}, not {self._digest}.")
            self._predict(client)
            _expect(client.post("/v1/predict", content=b'{"rows": []}', headers=self._headers), 422)

    def ask(self, url: str) -> bool:
        """Whether one request for predictions is answered rightly now."""
        try:
            with self._client(url) as client:
                self._predict(client)
        except UserError:
            return False
        return True

    def _predict(self, client: "_Client") -> None:
        body = msgspec.json.encode({"rows": self._rows})
        told = _decode(_expect(client.post("/v1/predict", content=body, headers=self._headers), 200))
        answers = told.get("predictions")
        if not isinstance(answers, list) or len(answers) != len(self._answers):
            raise UserError(f"{client.url}: did not answer the {self.rows} self-test rows one by one.")
        for row, (found, recorded) in enumerate(zip(answers, self._answers, strict=True)):
            if not same(found, recorded):
                raise UserError(
                    f"{client.url}: predicts {found} for self-test row {row}, where {recorded} was recorded."
                )

    def _client(self, url: str) -> "_Client":
        return _Client(url, self._headers)


class _Client:
    """HTTP to one URL, by the machine's own network and not its proxy; no answer is a UserError."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT, headers=headers, trust_env=False)

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._ask("POST", path, **options)

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise UserError(f"{self.url}{path}: no answer ({type(error).__name__}).") from None


def same(found: Any, recorded: Any) -> bool:
    """Whether an answer is the recorded one, numbers up to rounding."""
    if isinstance(recorded, dict):
        return (
            isinstance(found, dict)
            and found.keys() == recorded.keys()
            and all(same(found[key], value) for key, value in recorded.items())
        )
    if isinstance(recorded, float):
        return isinstance(found, int | float) and math.isclose(
            found, recorded, rel_tol=TOLERANCE, abs_tol=TOLERANCE
        )
    return bool(found == recorded)


def _expect(response: httpx.Response, status: int) -> httpx.Response:
    if response.status_code != status:
        raise UserError(
            f"{response.request.url}: answers {response.status_code}, not {status}: {response.text[:200]}"
        )
    return response


def _decode(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{response.request.url}: does not answer in JSON: {response.text[:200]}")
    return found
