"""Answers of servers that mean no good: without end, without sense, or much larger than they look."""

from __future__ import annotations

import gzip
import itertools
import socket
import time
import zlib
from collections.abc import Callable

SLOWLY_S = 0.1
_HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
_PIECE = b"<p>again and again</p>" * 1000


def _raw(*pieces: bytes) -> Callable[[socket.socket, str], None]:
    return lambda connection, _path: connection.sendall(b"".join(pieces))


def _endless(head: bytes, piece: bytes) -> Callable[[socket.socket, str], None]:
    def answer(connection: socket.socket, _path: str) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return answer


def _slowly(head: bytes, letters: bytes) -> Callable[[socket.socket, str], None]:
    def answer(connection: socket.socket, _path: str) -> None:
        connection.sendall(head)
        for letter in itertools.cycle(letters):
            connection.sendall(bytes([letter]))
            time.sleep(SLOWLY_S)

    return answer


def _hang(connection: socket.socket, _path: str) -> None:
    connection.recv(1)  # until it is given up


def _onward(connection: socket.socket, path: str) -> None:
    number = int(path.strip("/") or 0) + 1
    connection.sendall(b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nConnection: close\r\n")
    connection.sendall(b"Location: /%d\r\n\r\n" % number)


def _whole(body: bytes, *headers: bytes, media_type: bytes = b"text/html") -> bytes:
    lines = [
        b"Content-Type: " + media_type,
        b"Content-Length: %d" % len(body),
        b"Connection: close",
        *headers,
    ]
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _empty_blocks() -> bytes:
    """gzip that goes on without a byte in it."""
    packing = zlib.compressobj(wbits=31)
    return packing.compress(b"") + b"".join(packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2000))


def _bomb(megabytes: int, wbits: int = 31) -> bytes:
    packing = zlib.compressobj(9, wbits=wbits)
    return b"".join(packing.compress(bytes(10**6)) for _ in range(megabytes)) + packing.flush()


_GZIP = b"Content-Encoding: gzip"
_MOVED = b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nConnection: close\r\n"

ANSWERS: dict[str, Callable[[socket.socket, str], None]] = {
    "endless": _endless(_HTML + b"\r\n", _PIECE),
    "endless-chunks": _endless(_HTML + b"Transfer-Encoding: chunked\r\n\r\n", b"8\r\n<p>again\r\n"),
    "endless-gzip": _endless(_HTML + _GZIP + b"\r\n\r\n" + _empty_blocks(), b"\0\0\0\xff\xff" * 5000),
    "endless-missing": _endless(b"HTTP/1.1 404 x\r\nConnection: close\r\n\r\n", _PIECE),
    "endless-headers": _endless(_HTML, b"X-Again: and again\r\n" * 100),
    "endless-header": _endless(_HTML + b"X: ", b"x" * 10_000),
    "endless-cookies": _endless(_HTML, b"Set-Cookie: a=b; Domain=test\r\n" * 100),
    "endless-continue": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    "endless-status": _endless(b"HTTP/1.1 200 ", b"OK" * 1000),
    "endless-redirects": _onward,
    "round": _raw(_MOVED + b"Location: /\r\n\r\n"),
    "slow-body": _slowly(_HTML + b"Content-Length: 100000\r\n\r\n", b"<p>words "),
    "slow-headers": _slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "slow-missing": _slowly(b"HTTP/1.1 404 x\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "hang": _hang,
    "nothing": _raw(),
    "noise": _raw(bytes(range(256)) * 100),
    "old": _raw(b"<html><body>as in 1991</body></html>"),
    "short": _raw(_HTML + b"Content-Length: 100000\r\n\r\n<p>half of it"),
    "negative": _raw(_HTML + b"Content-Length: -1\r\n\r\n<p>x"),
    "two-lengths": _raw(_HTML + b"Content-Length: 4\r\nContent-Length: 9\r\n\r\n<p>x</p>"),
    "huge-length": _raw(_HTML + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n<p>x"),
    "bad-chunks": _raw(_HTML + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n<p>x\r\n0\r\n\r\n"),
    "huge-chunk": _raw(_HTML + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n<p>x"),
    "bomb": _raw(_whole(_bomb(200), _GZIP)),
    "bomb-of-pieces": _raw(_whole(gzip.compress(b"") * 40_000, _GZIP)),
    "bomb-twice": _raw(_whole(gzip.compress(_bomb(50)), _GZIP + b", gzip")),
    "bomb-unasked": _raw(_whole(_bomb(50, 15), b"Content-Encoding: deflate")),
    "deep": _raw(_whole(b"<div>" * 190_000)),
    "wide": _raw(_whole(b"<b>" * 300_000 + b"</b>")),
    "attributes": _raw(_whole(b"<p " + b"a=b " * 200_000 + b">x")),
    "entities": _raw(_whole(b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><p>&a;</p>")),
    "zeros": _raw(_whole(bytes(900_000))),
    "charset": _raw(_whole(b"<p>+ADw-script", media_type=b"text/html; charset=utf-7")),
    "charset-of-none": _raw(_whole(b"<p>caf\xe9" * 50_000, media_type=b"text/html; charset=idna")),
    "no-location": _raw(_MOVED + b"\r\n"),
    "empty-location": _raw(_MOVED + b"Location: \r\n\r\n"),
    "broken-location": _raw(_MOVED + b"Location: http://[::1\r\n\r\n"),
    "bytes-location": _raw(_MOVED + b"Location: http://\xff\xfe\x80/\r\n\r\n"),
    "long-location": _raw(_MOVED + b"Location: /" + b"a" * 50_000 + b"\r\n\r\n"),
    "retry-never": _raw(b"HTTP/1.1 503 x\r\nRetry-After: " + b"9" * 4000 + b"\r\nContent-Length: 0\r\n\r\n"),
    "retry-nonsense": _raw(b"HTTP/1.1 429 x\r\nRetry-After: Mon, 99 Foo 99999\r\nContent-Length: 0\r\n\r\n"),
    "dated": _raw(_whole(b"<p>x", b"Last-Modified: Fri, 31 Dec 9999 23:59:59 -2359", b"Date: never")),
    "etag": _raw(_whole(b"<p>x", b'ETag: "' + b"e" * 60_000 + b'"')),
    "etag-bytes": _raw(_whole(b"<p>x", b'ETag: "\xff\xfe\x80"')),
    "switch": _raw(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + _PIECE),
    "status": _raw(b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n"),
}
