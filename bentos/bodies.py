"""What a request brings: its media type, and its body, of which no more is read than is allowed."""

from collections.abc import Mapping
from typing import Any

from bentos.refusals import Refused

# In bytes.
BODY_LIMIT = 16 * 2**20
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


async def read_body(headers: Headers, receive: Any) -> bytes:
    """The whole body.

    Raises:
        Refused: 413 over the limit, if it is announced before any of it is read; 400 when the client left.
    """
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
        "size",
        {"Connection": "close"},
    )
