"""One look at one URL: bounded in time, bytes and redirects, to judged addresses alone.

It never tries twice and never decides what an answer means for a document. Proxies and credentials of the
environment are not used, and no cookie is kept.
"""

from __future__ import annotations

import ssl
import threading
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from ingestion.sources.web.addresses import AddressRefused, CheckedBackend, Resolve, resolved

CONNECT_S = 10.0
READ_S = 15.0
WHOLE_S = 60.0
MAX_REDIRECTS = 5
MAX_URL_CHARACTERS = 2000
CONNECTIONS = 16
IDLE_S = 30.0
DRAINED_BYTES = 64 * 1024
_PERMANENT = (301, 308)
_REDIRECTS = (*_PERMANENT, 302, 303, 307)
_MISSING = (404, 410)


@dataclass(frozen=True, slots=True)
class Page:
    """A body, whole. ``url`` is where it was found; ``moved``: every redirect on the way there was
    permanent. ``validators`` are what a later look is conditional on."""

    url: str
    moved: bool
    body: bytes
    media_type: str | None
    validators: Mapping[str, str]


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
class Failed:
    """Nothing is known of the document. ``place``: whether the whole server is the reason."""

    reason: str
    place: bool = False


_GZIP = 31  # zlib's word for gzip with its header

Answer = Page | Unchanged | Missing | TooLarge | Failed
Validators = Callable[[str], Mapping[str, str]]
"""The conditional headers for a URL."""


def unconditional(_url: str) -> Mapping[str, str]:
    return {}


class Fetcher:
    """Safe to call from several threads; opens its connections when used. ``allowed``: hosts that may have
    private addresses; ``per_host``: requests to one host at once."""

    def __init__(
        self, *, user_agent: str, allowed: Collection[str], per_host: int, resolve: Resolve = resolved
    ) -> None:
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
        self._per_host = per_host
        self._lock = threading.Lock()
        self._hosts: dict[str, threading.Semaphore] = {}

    def fetch(self, url: str, most_bytes: int, validators: Validators = unconditional) -> Answer:
        """Follows redirects, each to be judged like the first."""
        ends, moved = time.monotonic() + WHOLE_S, True
        self._backend.give_up_at(ends)
        for _ in range(MAX_REDIRECTS + 1):
            if fault := _fault_of(url):
                return Failed(fault)
            try:
                with self._turn(url):
                    found = self._once(url, most_bytes, validators(url), ends, moved)
            except AddressRefused as refused:
                return Failed(f"{refused}; allow_private_hosts of the source allows a host")
            except httpx.TimeoutException:
                return Failed("it did not answer in time", place=True)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
                return Failed(f"it cannot be reached ({_first_line(error)})", place=True)
            if not isinstance(found, tuple):
                return found
            url, permanent = found
            moved = moved and permanent
        return Failed(f"it redirects more than {MAX_REDIRECTS} times")

    def _once(
        self, url: str, most_bytes: int, headers: Mapping[str, str], ends: float, moved: bool
    ) -> Answer | tuple[str, bool]:
        """An answer, or where it redirects to, and whether for good."""
        with self._client.stream("GET", url, headers=dict(headers)) as response:
            status = response.status_code
            if status != 200:
                _drain(response)
            if status in _REDIRECTS and "location" in response.headers:
                return urljoin(url, response.headers["location"]), status in _PERMANENT
            if status == 304 and headers:
                return Unchanged(url, moved)
            if status in _MISSING:
                return Missing(f"HTTP {status}")
            if status != 200:
                return Failed(f"HTTP {status}", place=status >= 500 or status == 429)
            told = response.headers.get("content-length", "")
            if told.isascii() and told.isdigit() and int(told) > most_bytes:
                return TooLarge(int(told))
            body = _body(response, most_bytes, ends)
            if not isinstance(body, bytes):
                return body
            return Page(
                url,
                moved,
                body,
                response.headers.get("content-type"),
                _validators(response.headers),
            )

    def _turn(self, url: str) -> AbstractContextManager[object]:
        host = urlsplit(url).netloc.lower()
        with self._lock:
            return self._hosts.setdefault(host, threading.Semaphore(self._per_host))

    def close(self) -> None:
        self._client.close()


def _body(response: httpx.Response, most_bytes: int, ends: float) -> bytes | TooLarge | Failed:
    """Unpacked here and not by httpx, which unpacks all of a piece, as often as the server says, before
    anybody can look at its size."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        return Failed("it is packed in another way than was asked for")
    unpacking = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body = bytearray()
    for piece in response.iter_raw():
        try:
            body += piece if unpacking is None else unpacking.decompress(piece, most_bytes + 1 - len(body))
        except zlib.error as error:
            return Failed(f"it cannot be unpacked ({_first_line(error)})")
        if len(body) > most_bytes:
            return TooLarge(len(body))
        if time.monotonic() > ends:
            return Failed("it did not end in time", place=True)
    if unpacking is not None and not unpacking.eof:
        return Failed("it was cut off")
    return bytes(body)


def _drain(response: httpx.Response) -> None:
    """Read what belongs to no page, if it is little: its connection can be used again then."""
    size_bytes = 0
    for piece in response.iter_raw():
        size_bytes += len(piece)
        if size_bytes > DRAINED_BYTES:
            return


def _fault_of(url: str) -> str | None:
    if len(url) > MAX_URL_CHARACTERS or "\0" in url:
        return "its URL is none that may be"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "its URL is none that may be"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "it is, or redirects to, something else than http and https"
    if parts.username or parts.password:
        return "its URL holds a name or a password"
    return None


def _validators(headers: httpx.Headers) -> dict[str, str]:
    found = {"If-None-Match": headers.get("etag"), "If-Modified-Since": headers.get("last-modified")}
    return {name: value for name, value in found.items() if value}


def moment(value: str | None) -> float | None:
    """A time as in HTTP's headers."""
    try:
        return None if value is None else parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
