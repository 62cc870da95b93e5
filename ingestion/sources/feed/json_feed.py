"""Entries of a JSON Feed (jsonfeed.org, 1.0 and 1.1). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from ingestion.sources.feed.entry import Entry, NoFeed, entry, marked_up, moment, plain

VERSION = "https://jsonfeed.org/version/"
_MAX_VALUES = 2_000_000  # each takes some sixty bytes, and one may be two


def entries_of_json(body: bytes, url: str) -> Iterator[Entry | None]:
    """None for an entry that nothing names. Raises NoFeed."""
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise NoFeed(f"it may hold more than {_MAX_VALUES:,} values")
    try:
        feed = json.loads(body)
    except (ValueError, RecursionError):
        raise NoFeed("it is no JSON, or not all of it") from None
    entries = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(entries, list) or not str(feed.get("version")).startswith(VERSION):
        raise NoFeed("it is JSON, but no feed")
    return (_entry(one if isinstance(one, dict) else {}, url) for one in entries)


def _entry(one: dict[str, Any], url: str) -> Entry | None:
    link = _words(one, "url") or _words(one, "external_url")
    return entry(
        _words(one, "id"),
        _joined(url, link) if link else None,
        _words(one, "title"),
        marked_up(_words(one, "content_html"))
        or plain(_words(one, "content_text"))
        or plain(_words(one, "summary")),
        moment(_words(one, "date_modified")) or moment(_words(one, "date_published")),
    )


def _words(one: dict[str, Any], name: str) -> str | None:
    """Numbers, too: an id that is one is to be taken for a text. Without halves of surrogate pairs, which
    nothing but JSON can hold."""
    found = one.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    return str(found).encode("utf-8", "replace").decode()


def _joined(url: str, link: str) -> str | None:
    try:
        return urljoin(url, link)
    except ValueError:
        return None
