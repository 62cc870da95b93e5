"""A source held in memory: the twin of the real ones, for tests of everything that uses a source."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, DocumentUnreadable, NotIndexable, SourceUnavailable
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.sources.port import Read, Watch, one_by_one
from ingestion.sources.settling import Dirty
from ingestion.sources.unwatched import Unwatched


@dataclass(frozen=True, slots=True)
class _Held:
    body: bytes
    version: int
    number: int  # like an inode: kept by a rename, new for a new document
    changed_at: float


class MemorySource:
    """Documents put, renamed and deleted by hand; parts and the whole can be made to fail."""

    kind = "memory"
    location = "memory"

    def __init__(self, name: str, *, clock: Clock, max_bytes: int = 2**20, device: int = 1) -> None:
        self.name = name
        self.device = device
        self.machine = ""  # that looks
        self.max_bytes = max_bytes
        self.reads: builtins.list[str] = []
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[str, _Held] = {}
        self._counter = 0
        self._unavailable: str | None = None
        self._blind: set[str] = set()
        self._unreadable: set[str] = set()

    def put(self, uri: str, body: bytes, *, changed_at: float | None = None) -> None:
        """Write a document, as an edit where it exists. ``changed_at`` defaults to now."""
        with self._lock:
            known = self._held.get(uri)
            number = known.number if known else self._next()
            at = self._clock.now() if changed_at is None else changed_at
            self._held[uri] = _Held(body, self._next(), number, at)

    def delete(self, uri: str) -> None:
        with self._lock:
            del self._held[uri]

    def rename(self, old: str, new: str) -> None:
        """Over whatever is at ``new``, with an identity that stays and another fingerprint."""
        with self._lock:
            held = self._held.pop(old)
            self._held[new] = _Held(held.body, held.version, held.number, held.changed_at)

    def make_unavailable(self, reason: str = "made unavailable") -> None:
        self._unavailable = reason

    def make_available(self) -> None:
        self._unavailable = None

    def make_blind(self, *prefixes: str) -> None:
        """These parts (see records.Listing.blind) cannot be listed from now on; none restores sight."""
        self._blind = set(prefixes)

    def make_unreadable(self, *uris: str) -> None:
        """These documents are refused from now on; none restores them."""
        self._unreadable = set(uris)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Unwatched()

    def root(self) -> Root:
        if self._unavailable is not None:
            return Root(present=False, device=None, reason=self._unavailable)
        return Root(present=True, device=self.device, machine=self.machine, empty=not self._held)

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        started_at = self._clock.now()
        self._require_available()
        with self._lock:
            sightings = [
                self._sighted(uri, held)
                for uri, held in self._held.items()
                if uri.startswith(prefix) and not self._hidden(uri)
            ]
            blind = sorted(b for b in self._blind if b.startswith(prefix) or prefix.startswith(b))
        return Listing(
            sightings,
            Root(present=True, device=self.device, machine=self.machine),
            blind=blind,
            faults=[f"{part or 'everything'} could not be listed" for part in blind],
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def look(self, uri: str) -> Observation:
        self._require_available()
        held = self._held.get(uri)
        if held is None:
            return Gone(uri, "not held", self._clock.now())
        if self._hidden(uri):
            raise self._refused(uri)
        return self._sighted(uri, held)

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        return one_by_one(self.look, uris)

    def reading(self, uris: Sequence[str]) -> Read:
        return self.read

    def read(self, uri: str) -> Content:
        self._require_available()
        self.reads.append(uri)
        held = self._held.get(uri)
        if held is None:
            raise DocumentGone(f"{uri} is not held.", source=self.name, uri=uri)
        if uri in self._unreadable or self._hidden(uri):
            raise self._refused(uri)
        sighted = self._sighted(uri, held)
        if isinstance(sighted, Skipped):
            raise NotIndexable(sighted.reason, source=self.name, uri=uri)
        return Content(held.body, sighted)

    def _sighted(self, uri: str, held: _Held) -> Seen | Skipped:
        size = len(held.body)
        if size > self.max_bytes:
            reason = f"{size} bytes, over the limit of {self.max_bytes} bytes"
            return Skipped(uri, reason, self._clock.now(), size)
        identity = f"{held.number}:{held.version}"
        return Seen(uri, f"{identity}:{uri}", identity, size, held.changed_at, self._clock.now())

    def _hidden(self, uri: str) -> bool:
        return any(
            uri == part or ((part.endswith("/") or not part) and uri.startswith(part)) for part in self._blind
        )

    def _require_available(self) -> None:
        if self._unavailable is not None:
            raise SourceUnavailable(
                f"Source {self.name} cannot be looked at: {self._unavailable}.",
                hint="Make it available again.",
                source=self.name,
            )

    def _refused(self, uri: str) -> DocumentUnreadable:
        return DocumentUnreadable(
            f"{uri} cannot be read: it was made unreadable.",
            hint="Make it readable again.",
            source=self.name,
            uri=uri,
        )

    def _next(self) -> int:
        self._counter += 1
        return self._counter
