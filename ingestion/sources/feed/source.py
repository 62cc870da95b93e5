"""Feeds as a source: what several of them name, each entry a document under its id.

What an entry says is kept in the ledger, as a feed names it only for a while. One that a feed no longer names
stays, unless the settings say that it goes. A feed in trouble (out of reach, no feed, cut off, empty where it
was not before) says nothing about its entries: they stay as they were, and the others' go on.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, DocumentUnreadable, NotIndexable, SourceUnavailable
from ingestion.ledger.kept import Keep, Kept, KeptBody, KeptLook, digest_of
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.shown import without_secrets
from ingestion.sources.feed.entry import Entry, NoFeed
from ingestion.sources.feed.parsing import MAX_BYTES, parse_feed
from ingestion.sources.port import Read, Watch
from ingestion.sources.read_ahead import ReadAhead, may_be_kept
from ingestion.sources.settling import Dirty
from ingestion.sources.survey import too_large
from ingestion.sources.unwatched import Unwatched
from ingestion.sources.web.fetching import Failed, Fetcher, Missing, Page, Unchanged

THREADS = 8
READ_FOR_S = 5.0  # a look that follows a listing does not ask for the feeds again
WRITE_SLICE = 500
_FEED, _LINK, _CHANGED = "feed", "link", "changed"  # in the notes of a kept entry


@dataclass(frozen=True, slots=True)
class _Read:
    """What a feed said last. ``fault``: why it could not be read since; ``place``: whether its server is the
    reason. ``uris`` is None where it was not read yet."""

    uris: frozenset[str] | None = None
    validators: Mapping[str, str] | None = None
    found_at: str = ""  # whose validators they are
    nameless: int = 0
    fault: str | None = None
    place: bool = False


class FeedSource:
    """Safe to call from several threads."""

    kind = "feed"

    def __init__(
        self,
        name: str,
        kept: Kept,
        fetcher: Fetcher,
        *,
        urls: Sequence[str],
        retire_dropped: bool,
        max_document_bytes: int,
        clock: Clock,
    ) -> None:
        self.name = name
        self.location = without_secrets(", ".join(urls))[:500]
        self._kept = kept
        self._fetcher = fetcher
        self._urls = tuple(dict.fromkeys(urls))
        self._retire_dropped = retire_dropped
        self._most_bytes = max_document_bytes
        self._clock = clock
        self._lock = threading.Lock()  # of what was read, and one reading at a time
        self._reads: Mapping[str, _Read] = {url: _Read() for url in self._urls}
        self._read_at = float("-inf")

    def root(self) -> Root:
        """What cannot be reached is a fault of the listing."""
        return Root(present=True, device=None)

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        started_at = self._clock.now()
        reads = self._refreshed()
        kept = self._kept.below(self.name, prefix)
        looks = self._looks(kept, reads)
        return Listing(
            [look for look in looks.values() if isinstance(look, Seen | Skipped)],
            self.root(),
            unseen={uri for uri, look in looks.items() if look is None},
            faults=builtins.list(_told(reads)),
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def look(self, uri: str) -> Observation:
        found = self.looks([uri])
        if uri not in found:
            raise DocumentUnreadable(
                f"{uri} in source {self.name} cannot be looked at: its feed cannot be read.",
                hint="It is looked at again on schedule.",
                source=self.name,
                uri=uri,
            )
        return found[uri]

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        if not uris:
            return {}
        reads = self._refreshed(READ_FOR_S)
        known = self._kept.find(self.name, [uri for uri in uris if may_be_kept(uri)])
        looks = self._looks([look for look in known.values() if look.digest is not None], reads)
        at = self._clock.now()
        found = {uri: looks[uri] if uri in looks else Gone(uri, "no feed has named it", at) for uri in uris}
        return {uri: look for uri, look in found.items() if look is not None}

    def read(self, uri: str) -> Content:
        return self._content(uri, self._kept.body(self.name, uri) if may_be_kept(uri) else None)

    def reading(self, uris: Sequence[str]) -> Read:
        return ReadAhead(self._kept, self.name, uris, self._content)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Unwatched()

    def _content(self, uri: str, found: KeptBody | None) -> Content:
        if found is None and may_be_kept(uri):  # never seen yet
            self._refreshed(READ_FOR_S)
            found = self._kept.body(self.name, uri)
        if found is None:
            raise DocumentGone(f"{uri} is not kept.", source=self.name, uri=uri)
        look, body = found
        seen = self._seen(look)
        if isinstance(seen, Skipped):
            raise NotIndexable(seen.reason, source=self.name, uri=uri)
        return Content(body, seen, look.media_type, look.title)

    def _looks(
        self, kept: Sequence[KeptLook], reads: Mapping[str, _Read]
    ) -> dict[str, Seen | Skipped | Gone | None]:
        """What is known of kept entries after a reading of the feeds; None where nothing is."""
        named = _owners(reads)
        return {look.uri: self._judged(look, reads.get(str(look.notes.get(_FEED))), named) for look in kept}

    def _judged(
        self, look: KeptLook, read: _Read | None, named: Mapping[str, str]
    ) -> Seen | Skipped | Gone | None:
        feed = named.get(look.uri)
        if read is None and feed is None:
            return Gone(look.uri, "its feed is none of the source's any more", self._clock.now())
        if feed is None and read is not None and read.fault is None and self._retire_dropped:
            return Gone(look.uri, "its feed no longer names it", self._clock.now())
        if read is not None and read.fault is not None:
            return None
        return self._seen(look)

    def _seen(self, look: KeptLook) -> Seen | Skipped:
        at = self._clock.now()
        if look.size_bytes > self._most_bytes:
            reason = too_large(look.size_bytes, self._most_bytes, "max_document_bytes")
            return Skipped(look.uri, reason, at, look.size_bytes)
        return Seen(look.uri, look.fingerprint, None, look.size_bytes, look.notes.get(_CHANGED), at)

    def _refreshed(self, age_s: float = 0.0) -> Mapping[str, _Read]:
        """The feeds as of so many seconds ago or later, what is new in them kept.

        Raises SourceUnavailable where no server of theirs can be reached.
        """
        with self._lock:
            if self._clock.monotonic() - self._read_at > age_s or age_s <= 0:
                began = self._clock.monotonic()
                self._reads = self._read_all()
                self._read_at = began
            reads = self._reads
        if all(read.place for read in reads.values()):
            url, read = next(iter(reads.items()))
            raise SourceUnavailable(
                f"The feed source {self.name} cannot be looked at: {without_secrets(url)}: {read.fault}.",
                hint="What is indexed of it stays searchable. It is looked at again on schedule.",
                source=self.name,
            )
        return reads

    def _read_all(self) -> dict[str, _Read]:
        with ThreadPoolExecutor(min(THREADS, len(self._urls)), thread_name_prefix=self.name) as threads:
            found = builtins.list(threads.map(self._read_one, self._urls))
        reads = {url: read for url, (read, _) in zip(self._urls, found, strict=True)}
        named = _owners(reads)
        for url, (_, entries) in zip(self._urls, found, strict=True):
            self._keep(url, [one for one in entries if named[one.uri] == url])
        return reads

    def _read_one(self, url: str) -> tuple[_Read, Sequence[Entry]]:
        before = self._reads[url]

        def validators(at: str) -> Mapping[str, str]:
            """None after trouble: what was not kept then is read."""
            known = at == before.found_at and before.fault is None
            return (before.validators or {}) if known else {}

        answer = self._fetcher.fetch(url, MAX_BYTES, validators)
        if isinstance(answer, Unchanged):
            return before, ()
        if not isinstance(answer, Page):
            return _in_trouble(before, *_reason(answer)), ()
        try:
            feed = parse_feed(answer.body, answer.url, answer.media_type)
        except NoFeed as error:
            return _in_trouble(before, str(error)), ()
        if not feed.entries and self._had_entries(url, before):
            return _in_trouble(before, "it names no entry any more"), ()
        uris = frozenset(entry.uri for entry in feed.entries)
        return _Read(uris, answer.validators, answer.url, feed.nameless), feed.entries

    def _had_entries(self, url: str, before: _Read) -> bool:
        if before.uris is not None:
            return bool(before.uris)
        return any(look.notes.get(_FEED) == url for look in self._kept.below(self.name, ""))

    def _keep(self, url: str, entries: Sequence[Entry]) -> None:
        """What is new of them: most are as they were, and would be packed for nothing."""
        for start in range(0, len(entries), WRITE_SLICE):
            some = entries[start : start + WRITE_SLICE]
            known = self._kept.find(self.name, [entry.uri for entry in some])
            new = [_as_kept(url, entry) for entry in some if not _is_kept(url, entry, known.get(entry.uri))]
            if new:
                self._kept.keep(self.name, new)


def _owners(reads: Mapping[str, _Read]) -> dict[str, str]:
    """Which feed speaks for an entry: the first of those that name it, or did before their trouble."""
    found: dict[str, str] = {}
    for url, read in reads.items():
        for uri in read.uris or ():
            found.setdefault(uri, url)
    return found


def _as_kept(url: str, entry: Entry) -> Keep:
    return Keep(
        entry.uri, entry.text.body, entry.text.media_type, entry.title, entry.changed_at, _notes(url, entry)
    )


def _is_kept(url: str, entry: Entry, look: KeptLook | None) -> bool:
    if look is None:
        return False
    is_now = (look.digest, look.media_type, look.title, dict(look.notes))
    return is_now == (digest_of(entry.text.body), entry.text.media_type, entry.title, _notes(url, entry))


def _notes(url: str, entry: Entry) -> dict[str, object]:
    return {_FEED: url, _LINK: entry.link, _CHANGED: entry.changed_at}


def _in_trouble(before: _Read, fault: str, place: bool = False) -> _Read:
    return _Read(before.uris, fault=fault, place=place)


def _reason(answer: object) -> tuple[str, bool]:
    if isinstance(answer, Failed):
        return answer.reason, answer.place
    if isinstance(answer, Missing):
        return answer.evidence, False
    return f"it has more than {MAX_BYTES:,} bytes", False


def _told(reads: Mapping[str, _Read]) -> Iterator[str]:
    for url, read in reads.items():
        shown = without_secrets(url)
        if read.fault is not None:
            yield f"{shown}: {read.fault}"
        elif read.nameless:
            yield f"{shown}: {read.nameless:,} of its entries have neither id nor link, and are left out"
