"""One look at one URL: bounded in time, bytes and redirects, to judged addresses alone.

It never tries twice and never decides what an answer means for a document. Proxies and credentials of the
environment are not used, and no cookie is kept.
"""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urljoin

import httpcore
import httpx

from ingestion.clock import Clock, SystemClock
from ingestion.sources.web.addresses import AddressRefused, CheckedBackend, Resolve, resolved
from ingestion.sources.web.hosts import TOO_MANY_S, Hosts, LeftAlone
from ingestion.sources.web.packing import Unpacking
from ingestion.sources.web.urls import fault_of, normal, place_of
from ingestion.tls import certificate_fault_of

CONNECT_S = 10.0
READ_S = 15.0
WHOLE_S = 60.0
PATIENCE_S = 15.0  # with a host that wants a pause between requests
MAX_REDIRECTS = 5
CONNECTIONS = 16
IDLE_S = 30.0
DRAINED_BYTES = 64 * 1024
PACKED_MORE_BYTES = 64 * 1024  # than unpacked, at most
MAX_VALIDATOR_CHARACTERS = 1000
RACY_S = 2.0  # a page may have changed twice within the second that Last-Modified names
_PERMANENT = (301, 308)
_REDIRECTS = (*_PERMANENT, 302, 303, 307)
_MISSING = (404, 410)
_LATER = (429, 503)


@dataclass(frozen=True, slots=True)
class Page:
    """A body, whole. ``url`` is where it was found; ``moved``: every redirect on the way there was
    permanent. ``validators`` are what a later look is conditional on; ``modified``: when it changed, as the
    server says."""

    url: str
    moved: bool
    body: bytes
    media_type: str | None
    validators: Mapping[str, str]
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """As it was at the look that the validators are from. ``url`` and ``moved`` as of a page."""

    url: str
    moved: bool


@dataclass(frozen=True, slots=True)
class Missing:
    evidence: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """``size_bytes`` is what the server says, or as much as was read."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The document is not to be looked at."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing is known of the document. ``place``: whether the whole server is the reason. ``status``: what
    was answered, if anything."""

    reason: str
    place: bool = False
    status: int | None = None


Answer = Page | Unchanged | Missing | TooLarge | Refused | Failed
Validators = Callable[[str], Mapping[str, str]]
"""The conditional headers for a URL."""
Gate = Callable[[str], Refused | Failed | None]
"""Why a URL is not to be asked for, or None."""


def unconditional(_url: str) -> Mapping[str, str]:
    return {}


def unguarded(_url: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """``moved``: for good."""

    url: str
    moved: bool


class Fetcher:
    """Safe to call from several threads; opens its connections when used. ``allowed``: hosts that may have
    private addresses; ``per_host``: requests to one host at once."""

    def __init__(
        self,
        *,
        user_agent: str,
        allowed: Collection[str],
        per_host: int,
        clock: Clock | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self._clock = clock or SystemClock()
        self.hosts = Hosts(per_host, self._clock)
        context = ssl.create_default_context()
        self._backend = CheckedBackend(allowed, resolve)
        transport = httpx.HTTPTransport(verify=context, trust_env=False)
        transport._pool.close()
        transport._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=self._backend,
        )
        self._client = httpx.Client(
            transport=transport,
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S, pool=WHOLE_S),
        )

    def fetch(
        self,
        url: str,
        most_bytes: int,
        validators: Validators = unconditional,
        gate: Gate = unguarded,
        *,
        proves: bool = True,
    ) -> Answer:
        """Follows redirects, each to be judged like the first, and its host to be asked as gently.

        ``proves``: whether an answer means that a host is no longer in trouble.
        """
        moved, left_s, url = True, WHOLE_S, normal(url)
        for hop in range(MAX_REDIRECTS + 1):
            if fault := fault_of(url):
                return Failed(fault)
            if (refused := gate(url)) is not None:
                if hop and isinstance(refused, Refused):  # of where it leads, not of the document
                    return Failed(f"it redirects to {place_of(url)}: {refused.reason}")
                return refused
            began = time.monotonic()
            found = self._politely(url, most_bytes, validators(url), left_s, moved, proves)
            if not isinstance(found, _Elsewhere):
                return found
            left_s -= time.monotonic() - began
            url, moved = normal(found.url), moved and found.moved
        return Failed(f"it redirects more than {MAX_REDIRECTS} times")

    def _politely(
        self,
        url: str,
        most_bytes: int,
        headers: Mapping[str, str],
        left_s: float,
        moved: bool,
        proves: bool,
    ) -> Answer | _Elsewhere:
        """One request, when it is its host's turn; the host's faults are remembered."""
        host, asks_s = place_of(url), None
        try:
            with self.hosts.turn(host, PATIENCE_S):
                ends = time.monotonic() + left_s
                self._backend.give_up_at(ends)
                with self._client.stream("GET", url, headers=dict(headers)) as response:
                    found = self._answer(response, url, most_bytes, bool(headers), ends, moved)
                    asks_s = self._asks_s(response)
        except LeftAlone as alone:
            return Failed(str(alone), place=True)
        except (AddressRefused, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            found = _fault(error, host)
        if isinstance(found, Failed) and found.place:
            self.hosts.failed(host, found.reason, asks_s)
        elif proves:
            self.hosts.answered(host)
        return found

    def _answer(
        self,
        response: httpx.Response,
        url: str,
        most_bytes: int,
        conditional: bool,
        ends: float,
        moved: bool,
    ) -> Answer | _Elsewhere:
        status = response.status_code
        if status != 200:
            _drain(response)
        if status in _REDIRECTS and "location" in response.headers:
            return _Elsewhere(urljoin(url, response.headers["location"]), status in _PERMANENT)
        if status == 304 and conditional:
            return Unchanged(url, moved)
        if status in _MISSING:
            return Missing(f"HTTP {status}")
        if status != 200:
            return Failed(f"HTTP {status}", place=status >= 500 or status == 429, status=status)
        told = response.headers.get("content-length", "")
        if told.isascii() and told.isdigit() and int(told[:20]) > most_bytes:
            return TooLarge(int(told[:20]))
        body = _body(response, most_bytes, ends)
        if not isinstance(body, bytes):
            return body
        media_type = response.headers.get("content-type")
        modified = moment(response.headers.get("last-modified"))
        return Page(url, moved, body, media_type, _validators(response.headers), modified)

    def _asks_s(self, response: httpx.Response) -> float | None:
        """How long a host asks to be left alone, in seconds or until a time."""
        if response.status_code not in _LATER:
            return None
        told = response.headers.get("retry-after", "").strip()
        if told.isascii() and told.isdigit():
            return float(told[:9])
        at = moment(told)
        if at is not None:
            return max(0.0, at - self._clock.now())
        return TOO_MANY_S if response.status_code == 429 else None

    def close(self) -> None:
        self._client.close()


def _body(response: httpx.Response, most_bytes: int, ends: float) -> bytes | TooLarge | Failed:
    """Unpacked here and not by httpx, which unpacks all of a piece, as often as the server says, before
    anybody can look at its size."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        return Failed("it is packed in another way than was asked for")
    unpacking = Unpacking() if encoding == "gzip" else None
    body, received_bytes = bytearray(), 0
    for piece in response.iter_raw():
        received_bytes += len(piece)
        try:
            body += piece if unpacking is None else unpacking.add(piece, most_bytes + 1 - len(body))
        except zlib.error as error:
            return Failed(f"it cannot be unpacked ({_first_line(error)})")
        if len(body) > most_bytes:
            return TooLarge(len(body))
        if received_bytes > most_bytes + PACKED_MORE_BYTES:
            return TooLarge(received_bytes)
        if time.monotonic() > ends:
            return Failed("it did not end in time", place=True)
    if unpacking is not None and not unpacking.ended:
        return Failed("it was cut off")
    return bytes(body)


def _drain(response: httpx.Response) -> None:
    """Read what belongs to no page, if it is little: its connection can be used again then."""
    size_bytes = 0
    for piece in response.iter_raw():
        size_bytes += len(piece)
        if size_bytes > DRAINED_BYTES:
            return


def _fault(error: Exception, host: str) -> Failed:
    if isinstance(error, AddressRefused):
        return Failed(f"{error}; allow_private_hosts of the source allows a host", place=True)
    if isinstance(error, httpx.TimeoutException):
        return Failed("it did not answer in time", place=True)
    if (fault := certificate_fault_of(error)) is not None:
        return Failed(f"the certificate of {host} will not do ({fault.rstrip('.')}); {_TO_DO}", place=True)
    return Failed(f"it cannot be reached ({_first_line(error)})", place=True)


_TO_DO = (
    "have it mended, or where an authority of your own has signed it, put that into the file that "
    "SSL_CERT_FILE names"
)


def _validators(headers: httpx.Headers) -> dict[str, str]:
    """A time alone says little of what is changed within the second that it names (RFC 9110, 8.8.2.2)."""
    etag, modified = headers.get("etag", ""), headers.get("last-modified", "")
    found = {"If-None-Match": etag, "If-Modified-Since": modified}
    if modified and not etag:
        changed, sent = moment(modified), moment(headers.get("date"))
        if changed is None or sent is None or sent - changed < RACY_S:
            return {}
    return {name: value for name, value in found.items() if value and _can_be_sent(value)}


def _can_be_sent(value: str) -> bool:
    return len(value) <= MAX_VALIDATOR_CHARACTERS and value.isascii() and value.isprintable()


def moment(value: str | None) -> float | None:
    """A time as in HTTP's headers."""
    try:
        at = parsedate_to_datetime(value or "")
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
