"""An embedding endpoint that misbehaves as it is told, on loopback, in threads of the test's process."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from retrieval.embedding.hashing import HashingEmbedder

KEY = "sk-a-key-nobody-may-see"
DIMENSIONS = 32

Json = dict[str, Any]


@dataclass
class Asked:
    """One request as it came."""

    path: str
    key: str | None
    body: Json
    at: float

    @property
    def texts(self) -> list[str]:
        texts: list[str] = self.body.get("input") or self.body.get("texts") or []
        return texts


@dataclass
class Said:
    """One reply: ``body`` is sent as it is."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    cut: bool = False  # the connection ends in the middle of the body


Script = Callable[[Asked], Said | None]


class Endpoint:
    """Speaks as OpenAI does, and as Cohere under ``/v2/embed``, with vectors of the hashing embedder.

    Replies in ``next`` are given first, one a request; then ``script``, where it says something.
    """

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.embedder = HashingEmbedder(dimensions=dimensions)
        self.asked: list[Asked] = []
        self.next: deque[Said | Script] = deque()
        self.script: Script | None = None
        self.under_way = 0
        self.most_under_way = 0
        self.lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def texts(self) -> list[str]:
        """Every text of every request so far."""
        return [text for asked in self.asked for text in asked.texts]

    def twice(self, *, but: Sequence[str] = ()) -> dict[str, int]:
        """Texts that were sent more than once."""
        return {text: n for text, n in Counter(self.texts()).items() if n > 1 and text not in but}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply(self, asked: Asked) -> Said:
        with self.lock:
            self.asked.append(asked)
            prepared = self.next.popleft() if self.next else None
        if callable(prepared):
            prepared = prepared(asked)
        return prepared or (self.script and self.script(asked)) or self.right(asked)

    def right(self, asked: Asked) -> Said:
        """What a sound endpoint says."""
        if asked.key != f"Bearer {KEY}":
            return Said(401, b'{"error": {"message": "wrong: %s", "code": "invalid_api_key"}}' % KEY.encode())
        vectors = self.embedder.embed_documents(asked.texts)
        if asked.path.endswith("/v2/embed"):
            return as_json(
                {
                    "embeddings": {"float": vectors.tolist()},
                    "meta": {"billed_units": {"input_tokens": len(asked.texts) * 3}},
                }
            )
        packed = asked.body.get("encoding_format") == "base64"
        data: list[Json] = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.tobytes()).decode() if packed else row.tolist(),
            }
            for index, row in enumerate(vectors)
        ]
        return as_json({"data": data, "usage": {"prompt_tokens": len(asked.texts) * 3}})


def as_json(answer: object, status: int = 200, **headers: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, json.dumps(answer).encode(), named)


@contextlib.contextmanager
def endpoint(dimensions: int = DIMENSIONS) -> Iterator[Endpoint]:
    one = Endpoint(dimensions)
    try:
        yield one
    finally:
        one.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, said: Endpoint) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.said = said

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = self.server.said
        asked = Asked(self.path, self.headers["Authorization"], json.loads(body), time.monotonic())
        with said.lock:
            said.under_way += 1
            said.most_under_way = max(said.most_under_way, said.under_way)
        try:
            reply = said.reply(asked)
            time.sleep(reply.wait_s)
            self._send(reply)
        finally:
            with said.lock:
                said.under_way -= 1

    def _send(self, reply: Said) -> None:
        if reply.status == 0:  # a reset: the kernel sends it where a socket is closed without lingering
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        self.send_response_only(reply.status)  # without a Date: some tests send their own
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
        if reply.cut:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass
