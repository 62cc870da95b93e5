"""An entry of a feed, and what becomes of its parts whatever they were written in. Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ingestion.ledger.names import MAX_URI_BYTES
from ingestion.sources.web.main_text import NoPage, main_part

MAX_TITLE = 500
_HTML = "text/html; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"


class NoFeed(ValueError):
    """The bytes are no feed, not all of one, or more than one may be."""


@dataclass(frozen=True, slots=True)
class Text:
    """What an entry says, as a document."""

    body: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Entry:
    """``uri``: its own id, or where it has none, its link. ``changed_at``: as it says, plausible or not."""

    uri: str
    title: str | None
    link: str | None
    text: Text
    changed_at: float | None


def entry(
    id_: str | None, link: str | None, title: str | None, text: Text | None, changed_at: float | None
) -> Entry | None:
    """None for one that nothing names. One without a text, as of a podcast, is its title alone."""
    uri = _naming(id_) or _naming(link)
    if uri is None:
        return None
    title = flat(title)[:MAX_TITLE] or None
    return Entry(uri, title, link, text or Text((title or "").encode(), _PLAIN), changed_at)


def plain(words: str | None) -> Text | None:
    """None where there are none."""
    return Text(words.encode(), _PLAIN) if words and words.strip() else None


def marked_up(markup: str | None) -> Text | None:
    """HTML without what changes beside its text (attributes, scripts, forms, pictures that count looks); None
    where that has no text."""
    if not markup or not markup.strip():
        return None
    try:
        body, text = main_part(markup.encode(), "utf-8")
    except NoPage:
        return None
    return Text(body, _HTML) if text else None


def flat(words: str | None) -> str:
    return " ".join((words or "").split())


def moment(words: str | None) -> float | None:
    """A time as of RFC 3339 or RFC 822; None for what is none. Without a zone, UTC."""
    said = flat(words)
    for read in (datetime.datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(said)
            return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None


def _naming(words: str | None) -> str | None:
    """A name that the ledger keeps whole."""
    name = flat(words)
    held = name and "\0" not in name and not any("\ud800" <= letter <= "\udfff" for letter in name)
    return name if held and len(name.encode()) <= MAX_URI_BYTES else None
