"""URLs: which may be one of a page, and the one way in which each is written. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit, urlunsplit

MAX_BYTES = 2000
_USUAL_PORTS = {"http": 80, "https": 443}
_NEVER = re.compile(
    r"[\x00-\x20\x7f\\\ud800-\udfff]"
)  # what programs disagree about, or leave out without a word


def fault_of(url: str) -> str | None:
    """Why it can be no page's."""
    parts = _parts(url)
    if parts is None:
        return "its URL is none that may be"
    if parts.scheme not in _USUAL_PORTS or not parts.hostname:
        return "it is, or redirects to, something else than http and https"
    if parts.username is not None or parts.password is not None:
        return "its URL holds a name or a password"
    return None


def normal(url: str) -> str:
    """As it is asked for: host in small letters, no usual port, no fragment. One with a fault stays."""
    parts = _parts(url)
    if parts is None or fault_of(url) is not None:
        return url
    return urlunsplit((parts.scheme, _place(parts), parts.path or "/", parts.query, ""))


def place_of(url: str) -> str:
    """Host, and port where it is not the usual one: what is asked gently, and has one robots.txt."""
    parts = _parts(url)
    return "" if parts is None else _place(parts)


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = parts.port in (None, _USUAL_PORTS.get(parts.scheme))
    return host if usual else f"{host}:{parts.port}"


@lru_cache(maxsize=1024)  # each is asked for several times, one after the other
def _parts(url: str) -> SplitResult | None:
    if len(url) > MAX_BYTES or _NEVER.search(url) or len(url.encode()) > MAX_BYTES:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
