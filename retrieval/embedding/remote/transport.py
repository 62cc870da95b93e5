"""One POST to the endpoint: bounded in time and in size, never sent anywhere else.

On kept connections of the standard library's, not through a client library: those take 2 to 4 ms of the
interpreter for each call, which every other call waits for.

Redirects are not followed, as the key would go where they point; proxies and credentials of the
environment are not used. It never tries twice and never judges what was answered.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.remote.connection import Connection, Place, TooLong
from retrieval.embedding.remote.faults import Late, Passing

CONNECT_S = 10.0
_IDLE_S = 30.0  # servers close what has been idle for a minute; a request on such a connection is lost


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """POSTs JSON to one address. Safe to call from several threads; opens its connections when used."""

    def __init__(self, url: str, key: str | None, *, connections: int) -> None:
        """``key`` goes into the Authorization header, and nowhere else; so many ``connections`` are kept."""
        self.url = url
        self._place = Place.of(url)
        self._head = _head(self._place, key)
        # The system's certificates, so that those of one's own authority count.
        self._context = ssl.create_default_context() if url.startswith("https:") else None
        if self._context is not None:
            self._context.set_alpn_protocols(["http/1.1"])
        self._connections = connections
        self._kept: list[Connection] = []  # the one used last at its end
        self._lock = threading.Lock()
        self._closed = False

    def post(self, body: bytes, *, timeout_s: float, most_bytes: int) -> Reply:
        """The reply, whatever its status, with all of its body within ``timeout_s``.

        Raises Late when there is none in time, Passing when the connection breaks, and
        EmbedderUnavailable for one of more than ``most_bytes``.
        """
        ends = time.monotonic() + timeout_s
        try:
            return self._exchanged(body, ends, most_bytes)
        except TimeoutError as error:
            raise self._late(timeout_s) from error
        except TooLong as error:
            raise self._too_long(most_bytes) from error
        except UnicodeError as error:  # a host that cannot even be looked up
            raise EmbedderUnavailable(
                f"The embedding endpoint {self.url} has an address that cannot be.",
                hint="Check embedding.url.",
            ) from error
        except (HTTPException, OSError) as error:
            raise Passing(
                f"The embedding endpoint {self.url} cannot be reached ({_reason(error)}).",
                hint="Check that it runs, and embedding.url; it is tried again.",
            ) from error

    def close(self) -> None:
        """Close its connections; those under way when they are done. Idempotent."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()

    def _exchanged(self, body: bytes, ends: float, most_bytes: int) -> Reply:
        connection = self._connection(ends)
        try:
            request = b"%s%d\r\n\r\n%s" % (self._head, len(body), body)
            response, received = connection.exchange(request, ends=ends, most_bytes=most_bytes)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return Reply(response.status, _plain(response), received)

    def _connection(self, ends: float) -> Connection:
        """One that is kept and still good, else a new one."""
        while True:
            with self._lock:
                kept = self._kept.pop() if self._kept else None
            if kept is None:
                return Connection(self._place, self._context, ends=min(ends, time.monotonic() + CONNECT_S))
            if kept.usable(_IDLE_S):
                return kept
            kept.close()

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            if connection.keeps and not self._closed and len(self._kept) < self._connections:
                self._kept.append(connection)
                return
        connection.close()

    def _late(self, timeout_s: float) -> Late:
        return Late(
            f"The embedding endpoint {self.url} did not answer within {timeout_s:g} s.",
            hint="If it is only slow, raise embedding.timeout_s or lower embedding.batch_texts.",
        )

    def _too_long(self, most_bytes: int) -> EmbedderUnavailable:
        return EmbedderUnavailable(
            f"The embedding endpoint {self.url} answered with more than {most_bytes:,} bytes, which "
            "is more than the vectors asked for can be.",
            hint="Check embedding.url, embedding.runtime and embedding.dimensions.",
        )


def _head(place: Place, key: str | None) -> bytes:
    """A request but for the length of its body, and the body."""
    lines = [
        f"POST {place.path} HTTP/1.1",
        f"Host: {place.named}",
        "User-Agent: headwater",
        "Accept: application/json",
        "Accept-Encoding: identity",
        *([f"Authorization: Bearer {key}"] if key else []),
        "Content-Type: application/json",
        "Content-Length: ",
    ]
    return "\r\n".join(lines).encode()


def _plain(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _reason(error: Exception) -> str:
    """The system's own words, or the kind of fault: other messages may quote what was sent."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return type(error).__name__
