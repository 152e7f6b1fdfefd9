"""The one form of every error: a problem document (RFC 9457), and one line in the log."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from bentos.access import Denied
from millrace.requests import InvalidRequest

log = logging.getLogger("millrace.service")
MEDIA_TYPE = "application/problem+json"
FAILED = "The service failed at this request; its log says why."


class Refused(Exception):  # noqa: N818 - as HTTP says it
    """A request that gets an error: `kind` is its name in the metrics, one of few."""

    def __init__(
        self,
        status: int,
        detail: str,
        kind: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = headers or {}
        self.errors = errors

    @property
    def body(self) -> bytes:
        """The problem document."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = self.errors
        return msgspec.json.encode(content)


def refusal(error: Exception) -> Refused:
    """The error that a request gets for what happened; what nobody foresaw is logged whole."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, InvalidRequest):
        fault = {"row": error.row, "field": error.field, "rule": error.rule, "value": error.value}
        return Refused(error.status, error.message, error.rule, errors=[fault])
    if isinstance(error, Denied):
        return Refused(error.status, error.message, "rate" if error.status == 429 else "auth", error.headers)
    log.error("A request failed.", exc_info=error)
    return Refused(500, FAILED, "internal")


def not_allowed(path: str, allowed: str, method: str) -> Refused:
    """405: a path that takes other methods."""
    return Refused(405, f"'{path}' takes {allowed}, not {method}.", "method", {"Allow": allowed})
