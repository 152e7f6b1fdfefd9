"""What a request brings: its media type, and its body, of which no more is read than is allowed."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

from bentos.refusals import Refused

# In bytes.
BODY_LIMIT = 16 * 2**20
# Unless the settings say otherwise: 16 MB at four megabits a second.
BODY_SECONDS = 30.0
JSON = "application/json"
Headers = Mapping[bytes, bytes]


def media_type(headers: Headers) -> str:
    """What a body is said to be, without parameters; empty where nothing is said."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")


def need(given: str, known: tuple[str, ...]) -> None:
    """See that a body is of a known type.

    Raises:
        Refused: 415.
    """
    if given not in known:
        listed = " or ".join(f"'{name}'" for name in known)
        raise Refused(
            415, f"Send a body of the type {listed}, named by the header 'Content-Type'.", "media_type"
        )


class BodyReader:
    """Reads bodies, each of which its client has so many seconds to send.

    Who is late is looked for from time to time: a clock for each request would cost more than reading it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Any, float] = {}
        self._looking = False

    async def read(self, headers: Headers, receive: Any) -> bytes:
        """The whole body.

        Raises:
            Refused: 413 over the limit, if it is announced before any of it is read; 408 when it comes too
                slowly; 400 when the client left.
        """
        task = asyncio.current_task()
        self._since[task] = monotonic()
        if not self._looking:
            self._look()
        try:
            return await _read(headers, receive)
        except asyncio.CancelledError:
            if task in self._since:
                raise
            raise self._too_slow() from None
        finally:
            self._since.pop(task, None)

    def _look(self) -> None:
        """Interrupt those who are late, as long as anybody is read from."""
        late = monotonic() - self._seconds
        for task in [task for task, since in self._since.items() if since <= late]:
            del self._since[task]
            task.cancel()
        self._looking = bool(self._since)
        if self._looking:
            asyncio.get_running_loop().call_later(self._seconds / 10, self._look)

    def _too_slow(self) -> Refused:
        detail = f"The body has not come within {self._seconds:g} seconds; send it faster, or less of it."
        return Refused(408, detail, "slow", {"Connection": "close"})


async def _read(headers: Headers, receive: Any) -> bytes:
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > BODY_LIMIT:
        raise _too_large()
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        if len(whole) > BODY_LIMIT:
            raise _too_large()
        return whole
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise Refused(400, "The connection was closed before the whole body had come.", "closed")
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def _too_large() -> Refused:
    # The rest of the body is not read, so the connection cannot carry another request.
    return Refused(
        413,
        f"A body may have {BODY_LIMIT:,} bytes; send fewer rows at once.",
        "body_limit",
        {"Connection": "close"},
    )
