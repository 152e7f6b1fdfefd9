"""The routes that are not in a hurry, as a Starlette application."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.bodies import JSON, media_type, need
from bentos.live import Document
from bentos.pages import PAGES, File, page_files
from bentos.refusals import MEDIA_TYPE, Refused, not_allowed
from millrace.service_metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from bentos.app import Application

Handler = Callable[[Request], Awaitable[Response]]
DOCUMENTS = ("/v1/model", "/v1/schema", "/v1/form", "/openapi.json")
# The paths that metrics name; all others are one.
PATHS = (
    *DOCUMENTS,
    *PAGES,
    "/v1/predict",
    "/v1/explain",
    "/v1/feedback",
    "/v1/card",
    "/metrics",
    "/livez",
    "/readyz",
)


def make_routes(service: "Application") -> Starlette:
    """Everything but predictions asked as JSON. What a route does is the application's; this is its HTTP."""

    async def document(request: Request) -> Response:
        return _constant(service.live.documents[request.url.path])

    async def card(request: Request) -> Response:
        as_text = "text/markdown" in request.headers.get("accept", "").lower()
        return _constant(service.live.card_text if as_text else service.live.documents["/v1/card"])

    async def explain(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        service.admit(headers, "predict")
        need(media_type(headers), (JSON,))
        body = await service.bodies.read(headers, request.receive)
        return Response(await run_in_threadpool(service.explain, body), media_type=JSON)

    async def feedback(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        service.admit(headers, "feedback")
        need(media_type(headers), (JSON,))
        body = await service.bodies.read(headers, request.receive)
        return Response(await run_in_threadpool(service.learn_outcomes, body), 202, media_type=JSON)

    async def metrics(request: Request) -> Response:
        service.admit(dict(request.scope["headers"]), "admin")
        if service.records is None:
            raise Refused(503, "This process keeps no metrics.", "other")
        rendered = await run_in_threadpool(service.records.exposition)
        return Response(rendered, media_type=CONTENT_TYPE)

    def refusing(handler: Handler) -> Handler:
        """Errors of a handler as refusals; Starlette would answer them and raise them all the same."""

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                return _refused(service.refuse(error))

        return handle

    async def unknown(request: Request, error: Exception) -> Response:
        return _refused(service.refuse(_http(request, error)))

    async def livez(_: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type=JSON)

    async def readyz(_: Request) -> Response:
        return Response(b'{"status":"ready"}', media_type=JSON)

    return Starlette(
        routes=[
            *(Route(path, document) for path in DOCUMENTS),
            *(Route(file.path, _file(file)) for file in page_files()),
            Route("/v1/card", card),
            Route("/v1/explain", refusing(explain), methods=["POST"]),
            Route("/v1/feedback", refusing(feedback), methods=["POST"]),
            Route("/metrics", refusing(metrics)),
            Route("/livez", livez),
            Route("/readyz", readyz),
        ],
        exception_handlers={HTTPException: unknown},
    )


def _file(file: File) -> Handler:
    async def get(_: Request) -> Response:
        return Response(file.content, headers=file.headers)

    return get


def _constant(document: Document) -> Response:
    return Response(document.content, 200, dict(document.headers), document.media_type)


def _http(request: Request, error: Exception) -> Refused:
    """What Starlette itself refuses: a path that there is not, or another method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        return not_allowed(path, (error.headers or {})["Allow"], request.method)
    return Refused(404, f"There is no '{path}'; /openapi.json tells what there is.", "path")


def _refused(refused: Refused) -> Response:
    return Response(refused.body, refused.status, dict(refused.headers), MEDIA_TYPE)
