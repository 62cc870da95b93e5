"""A web server on loopback that serves what it is given, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape

from tests.servers.certificates import Tls


@dataclass
class Answer:
    """What a path answers. ``etag`` None: made from the body; '': none. It waits for ``until``, and ``then``
    is set."""

    body: bytes = b""
    status: int = 200
    media_type: str | None = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None
    wait_s: float = 0.0
    until: threading.Event | None = None
    then: threading.Event | None = None


class WebServer:
    """``pages`` by path, query included. Its sitemap names all of them, unless it is given itself."""

    def __init__(self, tls: Tls | None = None) -> None:
        self.tls = tls  # from the next start on
        self.pages: dict[str, Answer] = {}
        self.asked: list[tuple[str, int]] = []
        self.agents: set[str] = set()
        self.conditions: set[str] = set()  # times since when something was asked for
        self.connections = 0
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """On the port it had before, if it had one."""
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                web.connections += 1
                with web._lock:
                    web._open.add(self.request)
                super().setup()

            def finish(self) -> None:
                with web._lock:
                    web._open.discard(self.request)
                super().finish()

            def do_GET(self) -> None:
                web._answer(self)

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests say what went wrong."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that leaves is no fault of the server's."""

        self._server = Quiet(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        if self.tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.tls.certificate, self.tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No connection that is kept is answered any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            kept = list(self._open)
        for connection in kept:
            with contextlib.suppress(OSError):  # its client has left
                connection.shutdown(socket.SHUT_RDWR)

    def paths(self, status: int | None = None) -> list[str]:
        """What was asked since this was last asked, with that answer."""
        with self._lock:
            asked, self.asked = self.asked, []
        return [path for path, code in asked if status in (None, code)]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.agents.add(handler.headers.get("User-Agent", ""))
            self.conditions |= set(handler.headers.get_all("If-Modified-Since", []))
        try:
            self._send(handler)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True
        finally:
            with self._lock:
                self._now -= 1

    def _send(self, handler: BaseHTTPRequestHandler) -> None:
        found = self.pages.get(handler.path)
        if found is None and handler.path == "/sitemap.xml":
            found = Answer(self._sitemap(), media_type="application/xml")
        found = found or Answer(b"nothing here", 404)
        time.sleep(found.wait_s)
        if found.until is not None:
            found.until.wait(30)
        if found.then is not None:
            found.then.set()
        etag = f'"{hashlib.sha256(found.body).hexdigest()[:16]}"' if found.etag is None else found.etag
        known = etag and found.status == 200 and handler.headers.get("If-None-Match") == etag
        status = 304 if known else found.status
        body = b"" if known else found.body
        with self._lock:
            self.asked.append((handler.path, status))
        handler.send_response(status)
        if found.media_type and not known:
            handler.send_header("Content-Type", found.media_type)
        if etag and found.status == 200:
            handler.send_header("ETag", etag)
        for name, value in found.headers.items():
            handler.send_header(name, value)
        if status != 304:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _sitemap(self) -> bytes:
        pages = list(self.pages)
        urls = "".join(f"<url><loc>{escape(self.url + path)}</loc></url>" for path in pages)
        head = '<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        return f"{head}{urls}</urlset>".encode()
