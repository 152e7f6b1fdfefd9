"""The scheduler's HTTP: Alertmanager's webhook, metrics, and a sign of life. Errors are problem documents."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from millrace.contract import problem_names
from scheduler import token
from scheduler.alerts import Alert, Notification, Unwanted, order_of
from scheduler.metrics import Metrics
from scheduler.queue import Queue
from scheduler.settings import Alerts
from stacks.environment import ROOT

log = logging.getLogger("scheduler")
PROBLEMS = ROOT / "configs" / "problems"
PROBLEM_DOCUMENT = "application/problem+json"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
# Of a body: bytes, and seconds within which it comes.
BODY_LIMIT = 2**20
BODY_SECONDS = 10.0
UNAVAILABLE = "The queue cannot be written at present; send it again."


class Refused(Exception):  # noqa: N818 - as HTTP says it
    """A request that gets an error."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


class Result(msgspec.Struct, omit_defaults=True):
    """What became of an alert."""

    cause: str
    outcome: str
    job: int | None = None
    why: str | None = None


class Receiver:
    """Queues what alerts ask for, as the settings say."""

    def __init__(self, queue: Queue, metrics: Metrics, folder: Path, settings: Alerts, awake: Event) -> None:
        """`folder` has the token; `awake` is set when something was queued."""
        self._queue = queue
        self._metrics = metrics
        self._folder = folder
        self._settings = settings
        self._awake = awake

    def application(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/v1/alerts", _refusing(self._alerts), methods=["POST"]),
                Route("/metrics", _refusing(self._render)),
                Route("/livez", _alive),
            ],
            exception_handlers={HTTPException: _unknown},
        )

    async def _alerts(self, request: Request) -> Response:
        self._admit(request.headers.get("authorization", ""))
        notification = _parsed(await _body(request))
        results = await run_in_threadpool(self._take, notification.alerts)
        self._awake.set()
        refused = [result.why for result in results if result.outcome == "refused"]
        if refused:
            log.warning("%d of %d alerts are refused; the first: %s", len(refused), len(results), refused[0])
        if refused and len(refused) == len(results):
            raise Refused(422, f"No alert is of use here; of the first, {refused[0]}.")
        return Response(msgspec.json.encode({"alerts": results}), 202, media_type=JSON)

    async def _render(self, _: Request) -> Response:
        return Response(await run_in_threadpool(self._metrics.render), media_type=METRICS)

    def _admit(self, authorization: str) -> None:
        """See that who rings may.

        Raises:
            Refused: 401, or 503 where there is no token.
        """
        expected = token.known(self._folder)
        if not expected:
            raise Refused(
                503,
                f"The webhook is closed, as it has no token: set {token.TOKEN} or {token.TOKEN_FILE}.",
                {"Retry-After": "60"},
            )
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.is_known(shown.strip(), expected):
            detail = "Send the webhook's token as 'Authorization: Bearer TOKEN'."
            raise Refused(401, detail, {"WWW-Authenticate": "Bearer"})

    def _take(self, alerts: list[Alert]) -> list[Result]:
        """Queue what alerts ask for; when this returns, it is on the disk.

        Raises:
            Refused: 503, if the queue cannot be written: Alertmanager sends all of them again.
        """
        problems = problem_names(PROBLEMS)
        results = []
        for alert in alerts:
            try:
                results.append(self._take_one(alert, problems))
            except sqlite3.Error as error:
                self._metrics.received("unavailable", len(alerts) - len(results))
                log.error("An alert could not be queued: %s", error)
                raise Refused(503, UNAVAILABLE, {"Retry-After": "5"}) from None
            self._metrics.received(results[-1].outcome)
        return results

    def _take_one(self, alert: Alert, problems: list[str]) -> Result:
        if alert.status == "resolved":
            return Result(alert.cause, "resolved")
        try:
            order = order_of(alert, problems, self._settings)
        except Unwanted as error:
            return Result(alert.cause, "refused", why=str(error))
        taken, job = self._queue.add(order, time.time())
        if taken != "repeated":
            log.info("an alert: job %d %s for %s", job, taken, order.cause)
        return Result(alert.cause, taken, job)


def _parsed(body: bytes) -> Notification:
    try:
        return msgspec.json.decode(body, type=Notification)
    except msgspec.ValidationError as error:
        raise Refused(422, f"This is not what Alertmanager sends: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}.") from None


async def _body(request: Request) -> bytes:
    """The whole body.

    Raises:
        Refused: 415, 413 over the limit, 408 when it comes too slowly, 400 when the client left.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Refused(415, f"Send a body of the type '{JSON}', named by the header 'Content-Type'.")
    too_large = Refused(413, f"A body may have {BODY_LIMIT:,} bytes.", {"Connection": "close"})
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > BODY_LIMIT:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > BODY_LIMIT:
                    raise too_large
    except TimeoutError:
        detail = f"The body has not come within {BODY_SECONDS:g} seconds."
        raise Refused(408, detail, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refused(400, "The connection was closed before the whole body had come.") from None
    return bytes(body)


Handler = Callable[[Request], Awaitable[Response]]


def _refusing(handler: Handler) -> Handler:
    """Errors of a handler as problem documents; Starlette would answer them and raise them all the same."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return _refused(refused)
        except sqlite3.Error as error:
            log.error("The queue cannot be read: %s", error)
            return _refused(Refused(503, "The queue cannot be read at present."))
        except Exception:
            log.exception("A request failed.")
            return _refused(Refused(500, "The scheduler failed at this request; its log says why."))

    return handle


async def _alive(_: Request) -> Response:
    return Response(b'{"status":"alive"}', media_type=JSON)


async def _unknown(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: a path that there is not, or another method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {})["Allow"]
        return _refused(Refused(405, f"'{path}' takes {allowed}, not {request.method}.", {"Allow": allowed}))
    return _refused(Refused(404, f"There is no '{path}'; there are /v1/alerts, /metrics and /livez."))


def _refused(refused: Refused) -> Response:
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    return Response(msgspec.json.encode(content), refused.status, dict(refused.headers), PROBLEM_DOCUMENT)
