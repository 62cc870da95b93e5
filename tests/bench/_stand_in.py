"""A stand-in for a provider: answers each request after 50 ms, within limits, and notes what it was sent.

    python -m tests.bench._stand_in --at-once 4 --texts 16 [--busy-every 25 --retry-after 0.3]

Prints its address on the first line. ``GET /report`` answers with what happened so far. Written on asyncio's
protocols, so that it takes little of the cores that it is measured on: each text gets one of a thousand
vectors, made once. With a single one an index would have nothing to tell apart.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from retrieval.embedding.remote.endpoint import PROBE

CALL_S = 0.05
KNOWN_S = 0.025  # after which a refusal has surely been read by a client on busy cores
DIMENSIONS = 384
VECTORS = 1024


@dataclass
class Report:
    """``early``: requests while all had been asked to wait. ``twice``: texts answered more than once, and
    texts sent more than once although no request with them had been refused. The time begins with the first
    text of a document."""

    requests: int = 0
    texts: int = 0
    most_at_once: int = 0
    refused: int = 0
    too_many_texts: int = 0
    early: int = 0
    answered_twice: int = 0
    sent_needlessly: int = 0
    first_at: float = 0.0
    last_at: float = 0.0


@dataclass
class Provider:
    at_once: int
    most_texts: int
    busy_every: int
    retry_after_s: float
    report: Report = field(default_factory=Report)
    closed_until: float = 0.0
    told_at: float = 0.0
    under_way: int = 0
    sent: dict[bytes, int] = field(default_factory=dict)
    refused: dict[bytes, int] = field(default_factory=dict)
    answered: set[bytes] = field(default_factory=set)
    vectors: list[str] = field(init=False)

    def __post_init__(self) -> None:
        rows = np.random.default_rng(7).standard_normal((VECTORS, DIMENSIONS)).astype("<f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.vectors = [base64.b64encode(row.tobytes()).decode() for row in rows]

    async def answer(self, body: bytes) -> tuple[str, bytes, str]:
        now = time.monotonic()
        texts = json.loads(body)["input"]
        digests = [hashlib.blake2b(text.encode(), digest_size=12).digest() for text in texts]
        report = self.report
        report.requests += 1
        if texts != [PROBE]:
            report.first_at = report.first_at or now
        # A request may have been on its way when another was refused: a refusal is known a moment later.
        if self.told_at and self.told_at + KNOWN_S < now < self.closed_until - 0.002:
            report.early += 1
        report.sent_needlessly += sum(self.sent.get(one, 0) > self.refused.get(one, 0) for one in digests)
        for one in digests:
            self.sent[one] = self.sent.get(one, 0) + 1
        if len(texts) > self.most_texts:
            report.too_many_texts += 1
            return "413 Payload Too Large", b"{}", ""
        busy = now < self.closed_until or (self.busy_every and report.requests % self.busy_every == 0)
        if busy or self.under_way >= self.at_once:
            return self._refuse(digests, now)
        self.under_way += 1
        report.most_at_once = max(report.most_at_once, self.under_way)
        await asyncio.sleep(CALL_S)
        self.under_way -= 1
        report.texts += len(texts)
        report.last_at = time.monotonic()
        if texts != [PROBE]:  # which every process sends
            report.answered_twice += sum(one in self.answered for one in digests)
        self.answered.update(digests)
        drawn = [self.vectors[int.from_bytes(one[:4], "big") % VECTORS] for one in digests]
        rows = ",".join(f'{{"index":{n},"embedding":"{vector}"}}' for n, vector in enumerate(drawn))
        return "200 OK", f'{{"data":[{rows}],"usage":{{"prompt_tokens":{len(texts)}}}}}'.encode(), ""

    def _refuse(self, digests: list[bytes], now: float) -> tuple[str, bytes, str]:
        self.report.refused += 1
        for one in digests:
            self.refused[one] = self.refused.get(one, 0) + 1
        if now >= self.closed_until:
            self.told_at, self.closed_until = now, now + self.retry_after_s
        return "429 Too Many Requests", b"{}", f"Retry-After: {self.closed_until - now:.3f}\r\n"


class Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as one known client needs."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._received = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not separator:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self._received.clear()
        if head.startswith(b"GET"):
            self._send("200 OK", json.dumps(asdict(self._provider.report)).encode(), "")
            return
        task = asyncio.get_running_loop().create_task(self._answer(rest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, body: bytes) -> None:
        self._send(*await self._provider.answer(body))

    def _send(self, status: str, body: bytes, headers: str) -> None:
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(provider: Provider) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(provider), "127.0.0.1", 0)
    address: Any = server.sockets[0].getsockname()
    print(f"http://127.0.0.1:{address[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--at-once", type=int, required=True)
    arguments.add_argument("--texts", type=int, required=True)
    arguments.add_argument("--busy-every", type=int, default=0)
    arguments.add_argument("--retry-after", type=float, default=0.3)
    given = arguments.parse_args()
    asyncio.run(serve(Provider(given.at_once, given.texts, given.busy_every, given.retry_after)))
