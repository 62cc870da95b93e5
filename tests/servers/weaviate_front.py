"""Stands before a real Weaviate as a proxy does: speaks TLS for it, or says that it is of another version."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import httpx

from tests.servers.certificates import Tls
from tests.servers.weaviate import Weaviate

CALL_S = 60.0
_PASSED_ON = ("authorization", "content-type")


@contextlib.contextmanager
def fronted(weaviate: Weaviate, *, tls: Tls | None = None, version: str | None = None) -> Iterator[Weaviate]:
    """The same server at another address. Without ``tls`` its gRPC port stays what it is."""
    rest = _Rest(weaviate, version)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        rest.socket = context.wrap_socket(rest.socket, server_side=True)
    threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    scheme = "http" if tls is None else "https"
    with contextlib.ExitStack() as undo:
        undo.callback(rest.end)
        port = weaviate.grpc_port if tls is None else undo.enter_context(_grpc(weaviate.grpc_port, tls))
        yield replace(weaviate, url=f"{scheme}://127.0.0.1:{rest.server_port}", grpc_port=port, server=None)


class _Rest(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, weaviate: Weaviate, version: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _PassOn)
        self.version = version
        self.behind = httpx.Client(base_url=weaviate.url, timeout=CALL_S, trust_env=False)

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        self.behind.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody who does not trust the certificate hangs up."""


class _PassOn(BaseHTTPRequestHandler):
    server: _Rest

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        answer = self.server.behind.request(self.command, self.path, content=body, headers=headers)
        content = answer.content
        if self.path == "/v1/meta" and answer.is_success and self.server.version is not None:
            content = json.dumps({**answer.json(), "version": self.server.version}).encode()
        self.send_response(answer.status_code)
        self.send_header("content-type", answer.headers.get("content-type", "application/json"))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass_on  # noqa: N815  (its base class's names)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no types
    """Every call of one answer, passed on as it is."""

    def __init__(self, behind: grpc.Channel) -> None:
        self._behind = behind

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method: str = handler_call_details.method

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = [pair for pair in context.invocation_metadata() if pair[0] == "authorization"]
            answer: bytes = self._behind.unary_unary(method)(request, metadata=metadata, timeout=CALL_S)
            return answer

        return grpc.unary_unary_rpc_method_handler(call)


@contextlib.contextmanager
def _grpc(port: int, tls: Tls) -> Iterator[int]:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    server = grpc.server(ThreadPoolExecutor(8), handlers=(_Calls(channel),))
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    secured = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield secured
    finally:
        server.stop(0).wait()
        channel.close()
