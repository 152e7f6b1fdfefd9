"""A service around a real bundle with every route that the page asks, and the page."""

import csv
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos.app import make_app
from bentos.pages import File, page_files
from millrace.bundle import Bundle
from millrace.contract import NUMERIC
from millrace.explanation import explain
from millrace.form import read_form
from millrace.requests import RequestReader, write

KEY = "a key"


def make_service(bundle: Bundle, **about: Any) -> Starlette:
    """The application; `about` is added to what it says of its model."""
    app = make_app(bundle, {"name": bundle.problem.name, "version": "3"})
    reader, fitted = RequestReader(bundle.problem), bundle.fitted
    known = {route.path: route for route in app.routes if isinstance(route, Route)}
    model = {"name": bundle.problem.name, "version": "3", "digest": bundle.digest}

    async def predict(request: Request) -> Response:
        if "csv" not in request.headers["content-type"]:
            question = reader.read(await request.body())
            answers = write(fitted, fitted.predict(question.columns), question.interval)
            return JSONResponse({"predictions": answers, "model": model})
        rows = list(csv.DictReader(io.StringIO((await request.body()).decode())))
        sent = [{name: _typed(bundle, name, cell) for name, cell in row.items()} for row in rows]
        level = float(request.query_params["interval"])
        question = reader.read(msgspec.json.encode({"rows": sent, "interval": level}))
        columns = fitted.columns(fitted.predict(question.columns), question.interval)
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([*rows[0], *columns])
        writer.writerows(
            [*row.values(), *values] for row, *values in zip(rows, *columns.values(), strict=True)
        )
        return Response(out.getvalue(), media_type="text/csv")

    async def explained(request: Request) -> Response:
        question = reader.read(await request.body())
        matrix = fitted.state.transform(question.columns)
        found = explain(fitted, matrix)
        rows = [found.for_row(row).model_dump() for row in range(len(matrix))]
        return JSONResponse({"explanations": rows, "model": model})

    async def described(request: Request) -> Response:
        told = await known["/v1/model"].endpoint(request)
        return JSONResponse({**msgspec.json.decode(told.body), **about})

    async def form(_: Request) -> Response:
        return JSONResponse(read_form(bundle).model_dump(mode="json"))

    async def openapi(_: Request) -> Response:
        return JSONResponse(_openapi(bundle, reader))

    return Starlette(
        routes=[
            Route("/v1/predict", predict, methods=["POST"]),
            Route("/v1/explain", explained, methods=["POST"]),
            Route("/v1/model", described),
            Route("/v1/form", form),
            Route("/openapi.json", openapi),
            known["/v1/schema"],
            known["/v1/card"],
            *(_page_route(file) for file in page_files()),
        ],
        exception_handlers=app.exception_handlers,
    )


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application on a free port of the loopback from a thread; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def guarded(app: Any, paths: tuple[str, ...]) -> Any:
    """The application, with what begins with one of `paths` for those alone who send the key."""

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if scope["path"].startswith(paths) and headers.get(b"authorization") != f"Bearer {KEY}".encode():
            problem = {"title": "Unauthorized", "status": 401, "detail": "Send an API key."}
            await JSONResponse(problem, 401)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return asked


def _page_route(file: File) -> Route:
    async def get(_: Request) -> Response:
        return Response(file.content, headers=file.headers)

    return Route(file.path, get)


def _typed(bundle: Bundle, name: str, cell: str) -> Any:
    column = bundle.problem.features.get(name)
    if cell == "":
        return None
    if column and name != bundle.problem.key and column.type in NUMERIC:
        try:
            return float(cell)
        except ValueError:
            return cell
    if column and column.type == "boolean":
        return {"true": True, "false": False}.get(cell, cell)
    return cell


def _openapi(bundle: Bundle, reader: RequestReader) -> dict[str, Any]:
    schema = msgspec.json.decode(
        msgspec.json.encode(reader.schema()).replace(b"#/$defs/", b"#/components/schemas/")
    )
    schemas = schema.pop("$defs")
    schemas["Problem"] = {
        "type": "object",
        "description": "What is wrong, as RFC 9457 has it.",
        "required": ["title", "status"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "a sentence"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"row": {"type": ["integer", "null"]}, "rule": {"enum": ["type", "range"]}},
                },
            },
        },
    }
    row = {field.name: field.example for field in read_form(bundle).fields if field.role == "input"}
    asked = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": schema["$ref"]},
                "example": {"rows": [row], "interval": 0.9},
            },
            "text/csv": {"schema": {"type": "string"}},
        },
    }
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    answer = {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"predictions": {"type": "array", "items": {"type": "object"}}},
            }
        }
    }

    def posted(summary: str) -> dict[str, Any]:
        return {
            "post": {
                "summary": summary,
                "description": "Strict: a number in quotes is not a number.",
                "requestBody": asked,
                "responses": {
                    "200": {"description": "One answer a row.", "content": answer},
                    "422": {"description": "A row breaks the contract.", **problem},
                },
            }
        }

    def got(summary: str, kind: str = "application/json") -> dict[str, Any]:
        return {
            "get": {"summary": summary, "responses": {"200": {"description": summary, "content": {kind: {}}}}}
        }

    level = {
        "name": "interval",
        "in": "query",
        "description": "of CSV",
        "schema": {"type": "number", "minimum": 0.5, "maximum": 0.99},
    }
    predict = posted("Predict rows")
    predict["post"]["parameters"] = [level]
    return {
        "openapi": "3.1.0",
        "info": {"title": bundle.problem.title, "version": "3", "description": bundle.problem.description},
        "paths": {
            "/v1/predict": predict,
            "/v1/explain": posted("Explain rows"),
            "/v1/model": got("What the model is"),
            "/v1/card": got("The model card", "text/html"),
        },
        "components": {"schemas": schemas},
    }
