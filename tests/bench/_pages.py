"""A web server for the bench of web pages, in a process of its own: it does as little as it can, so that what
asks it is what is measured.

    python -m tests.bench._pages NUMBER

Serves so many pages and a sitemap of them, prints its address, and counts what it answers (``/counts``). It
ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from tests.bench import _common

PAGE = "<!doctype html><title>Page {n}</title><nav>Home</nav><main><h1>Page {n}</h1><p>{text}</p></main>"


def body_of(number: int) -> bytes:
    return PAGE.format(n=number, text=f"Some words about the subject number {number}. " * 10).encode()


class Answering(asyncio.Protocol):
    """One connection."""

    counts: ClassVar[Counter[str]] = Counter()
    number = 0
    place = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end], self._received[end + 4 :]
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        path = head.split(b" ", 2)[1].decode()
        if path == "/sitemap.xml":
            urls = "".join(f"<url><loc>{self.place}/{n}</loc></url>" for n in range(self.number))
            return _answered(f"<urlset>{urls}</urlset>".encode(), "application/xml")
        if path == "/counts":
            return _answered(json.dumps(self.counts).encode(), "application/json")
        if not path[1:].isdigit():
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        etag = f'ETag: "{path[1:]}"'
        if f'"{path[1:]}"'.encode() in head:
            self.counts["304"] += 1
            return f"HTTP/1.1 304 Not Modified\r\n{etag}\r\n\r\n".encode()
        self.counts["200"] += 1
        return _answered(body_of(int(path[1:])), "text/html", etag)


def _answered(body: bytes, media_type: str, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def serving(number: int) -> Iterator[str]:
    """Its address, for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench._pages", str(number)],
        cwd=_common.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)


async def main(number: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    Answering.number = number
    Answering.place = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(Answering.place, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
