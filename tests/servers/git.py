"""Git repositories served over HTTP or HTTPS on loopback, by git's own program for that."""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.certificates import Tls


class GitServer:
    """Serves the repositories below a folder. ``asked`` are the requests, as method and path."""

    def __init__(self, folder: Path, *, tls: Tls | None = None, password: str | None = None) -> None:
        """``password``: what is asked for, with any name."""
        self._folder = folder
        self._password = password
        self.asked: list[str] = []
        self.stalls = threading.Event()  # while it is set, what is fetched stops half-way
        self.stalled = threading.Event()
        self._ended = threading.Event()
        git = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                git._answer(self, b"")

            def do_POST(self) -> None:
                git._answer(self, _body(self))

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests say what went wrong."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that leaves, or does not trust it, is no fault of the server's."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.asked.append(f"{handler.command} {handler.path}")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self._password is not None and not self._is_let_in(handler):
                handler.send_response(401)
                handler.send_header("WWW-Authenticate", 'Basic realm="git"')
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            head, _, answer = self._backend(handler, body).partition(b"\r\n\r\n")
            lines = [line.partition(": ")[::2] for line in head.decode("ascii").split("\r\n")]
            status = next((value for name, value in lines if name == "Status"), "200")
            handler.send_response(int(status.split()[0]))
            for name, value in lines:
                if name != "Status":
                    handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            if self.stalls.is_set() and handler.path.endswith("git-upload-pack") and b"PACK" in answer:
                handler.wfile.write(answer[: len(answer) // 2])
                handler.wfile.flush()
                self.stalled.set()
                while self.stalls.is_set() and not self._ended.wait(0.01):
                    pass
                return
            handler.wfile.write(answer)

    def _is_let_in(self, handler: BaseHTTPRequestHandler) -> bool:
        given = handler.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode().partition(":")[2] == self._password

    def _backend(self, handler: BaseHTTPRequestHandler, body: bytes) -> bytes:
        parts = urlsplit(handler.path)
        environment = {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "PATH": os.environ["PATH"],
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": handler.command,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
        }
        command = ["git", "http-backend"]
        done = subprocess.run(
            command, input=body, capture_output=True, env=environment, timeout=60, check=False
        )
        return done.stdout


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
    pieces = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        pieces.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(pieces)
