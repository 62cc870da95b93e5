"""One connection to the endpoint, and one request after the other on it, each with a moment to end by.

The standard library's own parser reads the answers. Every wait for the network, however many there are in
a call, ends with the call: a limit for each would begin again with every byte that drips in.
"""

from __future__ import annotations

import io
import selectors
import socket
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# poll() wherever there is one: select() cannot watch a socket beyond the 1024th of the process.
_Selector: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
_IN_PATHS = "/%:@!$&'()*+,;="


class TooLong(Exception):
    """The answer is longer than it may be."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests go. ``named``: as the Host header has it."""

    host: str
    port: int
    named: str
    path: str

    @staticmethod
    def of(url: str) -> Place:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
        usual = 443 if parts.scheme == "https" else 80
        named = f"[{host}]" if ":" in host else host
        if parts.port not in (None, usual):
            named += f":{parts.port}"
        return Place(host, parts.port or usual, named, quote(parts.path or "/", safe=_IN_PATHS))


class Connection:
    """Opened when made, and for one thread at a time. ``ends`` are moments of ``time.monotonic``.

    Making it and ``exchange`` raise TimeoutError at that moment, OSError for what is wrong with the network,
    UnicodeError for a host that cannot be looked up, and HTTPException for an answer that is no HTTP. After
    any of these it can only be closed.
    """

    def __init__(self, place: Place, context: ssl.SSLContext | None, *, ends: float) -> None:
        opened = socket.create_connection((place.host, place.port), timeout=_left_s(ends))
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                opened.settimeout(_left_s(ends))
                opened = context.wrap_socket(opened, server_hostname=place.host)
        except BaseException:
            opened.close()
            raise
        self._socket = opened
        self._used_at = time.monotonic()
        self.keeps = True  # whether the other end lets it be used again

    def usable(self, idle_s: float) -> bool:
        """Whether another request may be sent: not idle for longer, and not closed at the other end."""
        if not self.keeps or time.monotonic() - self._used_at > idle_s:
            return False
        with _Selector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            return not selector.select(0)  # an end, or bytes that belong to no request of ours

    def exchange(self, request: bytes, *, ends: float, most_bytes: int) -> tuple[HTTPResponse, bytes]:
        """Status and headers of the answer, and its body. Raises TooLong for more than ``most_bytes``."""
        self._send(request, ends)
        with HTTPResponse(_Timed(self._socket, ends), method="POST") as response:  # type: ignore[arg-type]
            response.begin()
            body = response.read(most_bytes + 1)
            if len(body) > most_bytes:
                raise TooLong
            if response.length:  # with a limit, read() does not mind that something is missing
                raise IncompleteRead(body, response.length)
        self.keeps = self.keeps and not response.will_close
        self._used_at = time.monotonic()
        return response, body

    def close(self) -> None:
        """Idempotent."""
        self.keeps = False
        self._socket.close()

    def _send(self, request: bytes, ends: float) -> None:
        rest = memoryview(request)
        try:
            while rest:
                self._socket.settimeout(_left_s(ends))
                rest = rest[self._socket.send(rest) :]
        except (BrokenPipeError, ConnectionResetError):
            self.keeps = False  # a server may refuse what it has not read to its end: there may be an answer


class _Timed(io.RawIOBase):
    """What the parser reads from a socket until a moment."""

    def __init__(self, connected: socket.socket, ends: float) -> None:
        self._connected = connected
        self._ends = ends

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the parser asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._connected.settimeout(_left_s(self._ends))
        return self._connected.recv_into(buffer)


def _left_s(ends: float) -> float:
    """Raises TimeoutError when nothing is left."""
    left_s = ends - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
