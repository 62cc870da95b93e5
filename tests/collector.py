"""A collector of spans as OpenTelemetry defines one: OTLP over HTTP, on loopback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it arrived. ``seconds`` are since the epoch; ``role`` is of the process that sent it."""

    name: str
    role: str
    trace_id: str
    span_id: str
    parent_id: str
    begun_at: float
    ended_at: float
    attributes: dict[str, object]
    failed: bool


@dataclass
class Collector:
    """Keeps what it was sent. May be read from any thread."""

    url: str = ""
    _spans: list[Span] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def spans(self, name: str | None = None) -> list[Span]:
        with self._turn:
            return [span for span in self._spans if name in (None, span.name)]

    def trace(self, trace_id: str) -> dict[str, list[Span]]:
        """The spans of one trace by name."""
        found: dict[str, list[Span]] = {}
        for span in self.spans():
            if span.trace_id == trace_id:
                found.setdefault(span.name, []).append(span)
        return found

    def keep(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._turn:
            for resource in request.resource_spans:
                about = _attributes(resource.resource)
                assert about["service.name"] == "headwater"
                role = str(about["headwater.role"])
                self._spans += [_span(one, role) for scope in resource.scope_spans for one in scope.spans]


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens until the end."""
    collector = Collector()

    class Receives(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf":
                collector.keep(body)
                self.send_response(200)
            else:
                self.send_response(404)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: a test has its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receives)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(one: Any, role: str) -> Span:
    return Span(
        name=one.name,
        role=role,
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_id=one.parent_span_id.hex(),
        begun_at=one.start_time_unix_nano / 1e9,
        ended_at=one.end_time_unix_nano / 1e9,
        attributes=_attributes(one),
        failed=one.status.code == 2,
    )


def _attributes(holder: Any) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in holder.attributes}
