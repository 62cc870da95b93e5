"""Serves the API from a thread of its own, so that the process stays in charge of its signals."""

from __future__ import annotations

import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from ingestion.errors import Misconfigured

GRACE_S = 3  # for answers under way when it is stopped
_BACKLOG = 2048


class Server:
    """One HTTP server. Access is not logged: every search is measured instead."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        """``port`` 0 takes a free one. Nothing is bound yet."""
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                lifespan="off",
                server_header=False,
                ws="none",
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1]) if self._socket else self._port

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Bind and serve. Raises Misconfigured where the address cannot be had."""
        self._socket = _bound(self._host, self._port)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, let those under way end for up to ``GRACE_S``. Idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(GRACE_S + 1.0)
        if self._socket is not None:
            self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Misconfigured(
            f"{host} is no address to listen on ({error.strerror}).", hint="Set [daemon] host, or --host."
        ) from error
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
        # Listening from now on: who connects before the server runs waits instead of being refused.
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        raise Misconfigured(
            f"Port {port} of {host} cannot be listened on ({error.strerror}).",
            hint="Stop what uses it, or choose another with --port.",
        ) from error
    return one
