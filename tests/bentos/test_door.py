"""What a request passes on its way to the application."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from bentos.door import Door
from millrace.bundle import Bundle
from tests.bentos.serving import application, connect


class Outer:
    """Middleware of the framework's own, around the door."""

    def __init__(self, app: Any, passed: list[str]) -> None:
        self.app = app
        self.passed = passed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed.append(scope["type"])
        await self.app(scope, receive, send)


async def start_and_end(app: Starlette) -> None:
    """What a server tells an application before its first request and after its last."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(("started", "expected"), [(True, ["lifespan"]), (False, ["http"])])
def test_a_started_service_has_no_middleware_around_its_requests(
    houses_bundle: Bundle, started: bool, expected: list[str]
) -> None:
    passed: list[str] = []
    around = [Middleware(Outer, passed), Middleware(Door, application=application(houses_bundle))]
    app = Starlette(middleware=around)

    async def run() -> None:
        if started:
            await start_and_end(app)
        async with connect(app) as client:
            assert (await client.get("/v1/model")).json()["name"] == "served_houses"

    asyncio.run(run())
    assert passed == expected
