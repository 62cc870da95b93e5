"""What a role's process answers over HTTP: whether it lives, whether it can work, what it counted.

While it waits for what it needs it says for what. The ``api`` puts its own application in the place of this
one as soon as it can.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ops.settings import Settings
from retrieval.api.guard import AUTHENTICATED, Guard
from retrieval.api.problems import problem
from retrieval.api.server import Server

Reasons = Callable[[], Sequence[str]]
Render = Callable[[str], tuple[bytes, str]]

STARTING = ("it is starting",)


class Health:
    """The HTTP side of a process. Without a port it serves nothing, and its methods may be called all the
    same."""

    def __init__(self, settings: Settings, *, host: str, port: int | None) -> None:
        self._missing: Sequence[str] = STARTING
        self._faults: Reasons = lambda: ()
        self._render: Render | None = None
        self._app: ASGIApp = Guard(self._routes(), key_hashes=settings.api.keys, host=host)
        self._server = None if port is None else Server(self, host, port)

    @property
    def url(self) -> str:
        return "" if self._server is None else self._server.url

    def start(self) -> None:
        """Raises Misconfigured where the port cannot be had."""
        if self._server is not None:
            self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def wait_for(self, reasons: Sequence[str]) -> None:
        """What is missing before the work can begin. Once nothing is, it still has to be opened."""
        self._missing = reasons or STARTING

    def opened(self) -> None:
        self._missing = ()

    def serve(self, faults: Reasons, render: Render) -> None:
        """From now on: what stands in the way of working, and what was counted."""
        self._faults, self._render = faults, render

    def replace(self, app: ASGIApp) -> None:
        """Another application answers from now on."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application: whichever is to answer now."""
        await self._app(scope, receive, send)

    def _routes(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/healthz", self._healthz, methods=["GET"]),
                Route("/readyz", self._readyz, methods=["GET"]),
                Route("/metrics", self._metrics, methods=["GET"]),
                Route("/{path:path}", self._not_yet, methods=["GET", "POST"]),
            ]
        )

    async def _healthz(self, request: Request) -> Response:
        return _json({"alive": True})

    def _readyz(self, request: Request) -> Response:
        reasons = [*self._missing, *self._faults()]
        if not reasons:
            return _json({"ready": True})
        shown = reasons if request.scope.get(AUTHENTICATED) else ()
        return problem(503, "Not ready: " + (" ".join(shown) or "the log says why."))

    def _metrics(self, request: Request) -> Response:
        if self._render is None:
            return problem(503, "Nothing was counted yet: the process waits for what it needs.")
        body, content_type = self._render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    def _not_yet(self, request: Request) -> Response:
        if self._missing:
            return problem(503, "Not ready: it waits for what it needs. /readyz says for what.")
        return problem(404, "This process answers /healthz, /readyz and /metrics.")


def _json(content: dict[str, bool]) -> Response:
    return Response(json.dumps(content), media_type="application/json")
