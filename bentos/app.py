"""The service's HTTP: four paths around a bundle, and one form for every error (RFC 9457)."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from millrace.bundle import CARD, CARD_MARKDOWN, METRICS, PROVENANCE, Bundle
from millrace.card import shown
from millrace.requests import InvalidRequest, RequestReader, write
from millrace.scoring import Scorer

log = logging.getLogger(__name__)
PATHS = "/v1/predict, /v1/model, /v1/schema and /v1/card"
# In bytes.
BODY_LIMIT = 16 * 2**20
# A larger body, of more than some hundred rows, is answered in a thread, so that others need not wait.
INLINE_LIMIT = 16 * 2**10


def make_app(bundle: Bundle, facts: dict[str, str]) -> Starlette:
    """The ASGI application that serves a bundle.

    `facts` is what the bundle does not know of itself: the `name` and `version` it is served under.
    """
    reader, scorer = RequestReader(bundle.problem), Scorer(bundle.fitted)
    model = {"name": facts["name"], "version": facts["version"], "digest": bundle.digest}

    def answer(body: bytes) -> bytes:
        try:
            asked = reader.read(body)
            answers = write(bundle.fitted, scorer.predict(asked.matrix), asked.interval)
            return msgspec.json.encode({"predictions": answers, "model": model})
        except InvalidRequest:
            raise
        except Exception:
            log.exception("A request failed.")
            raise HTTPException(500, "The service failed at this request; its log says why.") from None

    async def predict(request: Request) -> Response:
        body = await _body(request)
        inline = len(body) <= INLINE_LIMIT
        return _json(answer(body) if inline else await run_in_threadpool(answer, body))

    return Starlette(
        routes=[
            Route("/v1/predict", predict, methods=["POST"]),
            Route("/v1/model", _constant({**model, **_about(bundle)})),
            Route("/v1/schema", _constant(reader.schema())),
            Route("/v1/card", _card(bundle)),
        ],
        exception_handlers={InvalidRequest: _invalid, HTTPException: _refused},
    )


def _about(bundle: Bundle) -> dict[str, Any]:
    provenance = bundle.read(PROVENANCE)
    evaluation = bundle.read(METRICS)["evaluation"]
    return {
        "title": bundle.problem.title,
        "task": bundle.problem.task,
        "target": bundle.problem.target.model_dump(include={"name", "unit", "meaning"}),
        **({"threshold": bundle.fitted.threshold} if bundle.problem.task == "binary" else {}),
        "synthetic": bundle.problem.synthetic,
        "trained": {name: provenance[name] for name in ("created", "data", "git_revision", "run")},
        "evaluation": {name: evaluation[name] for name in ("metric_name", "rows", "metrics")},
    }


def _constant(content: Any) -> Callable[[Request], Awaitable[Response]]:
    encoded = msgspec.json.encode(content)

    async def get(_: Request) -> Response:
        return _json(encoded)

    return get


def _card(bundle: Bundle) -> Callable[[Request], Awaitable[Response]]:
    """The model card: HTML, or Markdown for those who name it in `Accept`."""
    page, text = shown(bundle.folder, CARD), shown(bundle.folder, CARD_MARKDOWN)
    # The page loads nothing; a browser is told to see to it.
    headers = {
        "Vary": "Accept",
        "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    }

    async def get(request: Request) -> Response:
        if "text/markdown" in request.headers.get("accept", "").lower():
            return Response(text, 200, headers, "text/markdown")
        return Response(page, 200, headers, "text/html")

    return get


async def _body(request: Request) -> bytes:
    """Read the body, and no more of it than is allowed."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "Send the rows as JSON, with the header 'Content-Type: application/json'.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise HTTPException(413, f"A body may have {BODY_LIMIT:,} bytes; send fewer rows at once.")
    except ClientDisconnect:
        raise HTTPException(400, "The connection was closed before the whole body had come.") from None
    return bytes(body)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidRequest)
    fault = {"row": error.row, "field": error.field, "rule": error.rule, "value": error.value}
    return _problem(error.status, error.message, errors=[fault])


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404:
        detail = f"There is no '{request.url.path}'; there are {PATHS}."
    if error.status_code == 405:
        detail = f"'{request.url.path}' takes {(error.headers or {})['Allow']}, not {request.method}."
    return _problem(error.status_code, detail, error.headers)


def _problem(status: int, detail: str, headers: Any = None, **more: Any) -> Response:
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return Response(msgspec.json.encode(content), status, headers, "application/problem+json")


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
