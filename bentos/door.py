"""How HTTP comes to the application inside a BentoML service."""

from typing import Any

from bentos.app import Application


class Door:
    """Lets HTTP in before BentoML's own application, which keeps what is not HTTP: start and shutdown.

    BentoML puts it inside of its access log, its tracing and its timer, which make a task, a timer and a span
    of each request. At the start it therefore takes the place of the whole stack of middleware, which is an
    attribute of Starlette's application.
    """

    def __init__(self, app: Any, application: Application) -> None:
        self.app = app
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one connection on."""
        if scope["type"] == "lifespan":
            scope["app"].middleware_stack = self
        await (self.application if scope["type"] == "http" else self.app)(scope, receive, send)
