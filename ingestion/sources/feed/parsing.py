"""A feed's bytes to its entries. Pure, and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.sources.feed.entry import Entry, NoFeed
from ingestion.sources.feed.json_feed import entries_of_json
from ingestion.sources.feed.xml_feed import entries_of_xml

MAX_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 50_000


@dataclass(frozen=True, slots=True)
class Feed:
    """``entries``: each URI once; ``nameless``: how many have neither id nor link."""

    entries: Sequence[Entry]
    nameless: int = 0


def parse_feed(body: bytes, url: str, media_type: str | None = None) -> Feed:
    """``url``: where it was found, for links that are relative to it. Raises NoFeed."""
    head = body[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        raise NoFeed("it is empty")
    found = entries_of_json(body, url) if head.startswith(b"{") else entries_of_xml(body, url, media_type)
    entries: dict[str, Entry] = {}
    nameless = 0
    for number, entry in enumerate(found):
        if number >= MAX_ENTRIES:
            raise NoFeed(f"it has more than {MAX_ENTRIES:,} entries")
        if entry is None:
            nameless += 1
        elif entry.uri not in entries or _is_newer(entry, entries[entry.uri]):
            entries[entry.uri] = entry
    return Feed(list(entries.values()), nameless)


def _is_newer(entry: Entry, other: Entry) -> bool:
    """Of two with one id. Where they do not say, the first one stays: feeds begin with the latest."""
    if entry.changed_at is None or other.changed_at is None:
        return False
    return entry.changed_at > other.changed_at
