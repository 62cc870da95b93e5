"""Documents that others hand over: what the ledger keeps of them is the source.

Nothing changes here but through the ledger, so nothing can be missed, and a deletion is one that somebody
asked for. What is in no row may have been another source's of that name: that is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, NotIndexable
from ingestion.ledger.kept import Kept, KeptBody, KeptLook
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.sources.port import Read, Watch
from ingestion.sources.read_ahead import ReadAhead, may_be_kept
from ingestion.sources.settling import Dirty
from ingestion.sources.survey import too_large
from ingestion.sources.unwatched import Unwatched

KIND = "push"


class PushSource:
    """The kept documents of one source. Safe to call from any thread."""

    kind = KIND

    def __init__(
        self, name: str, kept: Kept, *, location: str, max_document_bytes: int, clock: Clock
    ) -> None:
        """``location``: where its documents are taken."""
        self.name = name
        self.location = location
        self.max_document_bytes = max_document_bytes
        self._kept = kept
        self._clock = clock

    def root(self) -> Root:
        return Root(present=True, device=None)

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        started_at = self._clock.now()
        sightings = [self._seen(look, started_at) for look in self._kept.below(self.name, prefix)]
        return Listing(sightings, self.root(), started_at=started_at, finished_at=self._clock.now())

    def look(self, uri: str) -> Observation:
        return self.looks([uri])[uri]

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        at = self._clock.now()
        known = self._kept.find(self.name, [uri for uri in uris if may_be_kept(uri)])
        return {uri: self._observed(uri, known.get(uri), at) for uri in uris}

    def read(self, uri: str) -> Content:
        return self._content(uri, self._kept.body(self.name, uri) if may_be_kept(uri) else None)

    def reading(self, uris: Sequence[str]) -> Read:
        return ReadAhead(self._kept, self.name, uris, self._content)

    def _content(self, uri: str, found: KeptBody | None) -> Content:
        if found is None:
            raise DocumentGone(f"{uri} is not kept.", source=self.name, uri=uri)
        look, body = found
        seen = self._seen(look, self._clock.now())
        if isinstance(seen, Skipped):
            raise NotIndexable(seen.reason, source=self.name, uri=uri)
        return Content(body, seen, look.media_type, look.title)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Unwatched(sees_all=True)

    def _observed(self, uri: str, look: KeptLook | None, at: float) -> Observation:
        if look is None:
            return Gone(uri, "it was never pushed", at)
        if look.digest is None:
            return Gone(uri, "it was deleted by whoever pushes", at, definite=True)
        return self._seen(look, at)

    def _seen(self, look: KeptLook, at: float) -> Seen | Skipped:
        if look.size_bytes > self.max_document_bytes:
            reason = too_large(look.size_bytes, self.max_document_bytes, "max_document_bytes")
            return Skipped(look.uri, reason, at, look.size_bytes)
        return Seen(look.uri, look.fingerprint, None, look.size_bytes, look.changed_at, at, judged=True)
