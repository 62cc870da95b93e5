"""A small knowledge base on the real ledger: documents written, published, held and retired by hand.

What a worker does between claim and publish is done here in the fewest steps, in the same order.
"""

from __future__ import annotations

import hashlib
import itertools
import time
import uuid
from collections.abc import Callable, Sequence

from ingestion.clock import Clock, SystemClock
from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Claim, Edition, Look, ManifestChunk, Placed, Publishing, Staging
from ingestion.records import Lane, Seen
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.port import Vectors
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import Index, IndexedChunk

SOURCE = "handbook"


class Knowledge:
    """One ledger, one index, one edition. ``sources`` are listed once, so that there is a watermark."""

    def __init__(
        self,
        *,
        database: Database | None = None,
        index: Index | None = None,
        clock: Clock | None = None,
        sources: Sequence[str] = (SOURCE,),
    ) -> None:
        self.clock = clock or SystemClock()
        self.database = database or Database.in_memory()
        self.ledger = Ledger(self.database, self.clock)
        self.index: Index = index or MemoryIndex()
        self.embedder = HashingEmbedder(dimensions=64)
        self.edition = self.ledger.sources.edition(self.embedder.fingerprint, 64, "hashing")
        self.index.create(self.edition.name, 64)
        self.configure(sources)
        for name in sources:
            self.listing(name)
        self._looks = itertools.count()

    def configure(self, sources: Sequence[str]) -> None:
        """These are the sources in the settings now."""
        self.ledger.sources.configure([SourceRow(name, "files", f"/{name}") for name in sources])

    def listing(self, source: str = SOURCE) -> None:
        """A complete listing that began now."""
        generation = self.ledger.sources.begin_listing()
        self.ledger.sources.finish_listing(
            source, generation, started_at=self.clock.now(), device=1, fault=None
        )

    def write(self, uri: str, passages: Sequence[str], *, source: str = SOURCE) -> int:
        """A new revision, observed and published; returns the document's id."""
        document_id = self.observe(uri, source=source)
        self.publish(self.claim(document_id), passages)
        return document_id

    def observe(
        self,
        uri: str,
        *,
        source: str = SOURCE,
        lane: Lane = Lane.FRESH,
        changed_at: float | None = None,
        sent: bool = False,
    ) -> int:
        """A change was seen: the document is pending."""
        now = self.clock.now()
        when = now if changed_at is None else changed_at
        seen = Seen(uri, f"look {next(self._looks)}", None, 1, when, now)
        return self.ledger.documents.want(source, [Change(seen, when)], lane, sent=sent)[0]

    def embed_query(self, text: str, edition: Edition) -> Vectors:
        """As a Searcher asks for it."""
        assert edition == self.edition
        return self.embedder.embed_query(text)

    def claim(self, document_id: int) -> Claim:
        (claim,) = self.ledger.claims.claim(self.edition, [document_id])
        return claim

    def publish(self, claim: Claim, passages: Sequence[str]) -> None:
        """Passages whose text is the same keep their chunks, and move."""
        held = self.ledger.publications.manifests([claim]).get(claim.document_id, [])
        unused = {chunk.digest: chunk for chunk in held if chunk.born is not None}
        moved: list[Placed] = []
        added: list[tuple[Placed, str]] = []
        start = 0
        for ordinal, text in enumerate(passages):
            kept: ManifestChunk | None = unused.pop(_digest(text), None)
            chunk_id = kept.chunk_id if kept else uuid.uuid4().hex
            placed = Placed(chunk_id, ordinal, start, start + len(text), (claim.uri,))
            start += len(text) + 1
            if kept:
                moved.append(placed)
            else:
                added.append((placed, text))
        self._stage(claim, added)
        digest = _digest("\n".join(passages))
        self.ledger.publications.publish(
            [
                Publishing(
                    claim=claim,
                    digest=digest,
                    pipeline="by hand",
                    look=Look(digest, None, start, claim.changed_at, False),
                    kept=[placed.chunk_id for placed in moved],
                    moved=moved,
                    added=[placed for placed, _ in added],
                )
            ]
        )

    def fail(self, document_id: int) -> None:
        """The document's newest revision becomes a dead letter."""
        self.ledger.claims.fail(self.claim(document_id), "cannot be parsed", terminal=True)

    def retire(self, document_id: int) -> None:
        self.ledger.documents.retire({document_id: "deleted"})

    def hold(self, document_id: int) -> None:
        self.ledger.documents.hold([document_id], "the disk is not mounted")

    def sweep(self, after_s: float = -1.0) -> None:
        """Everything dead for so long leaves the index and the ledger; by default everything dead."""
        for name, chunk_ids in self.ledger.publications.sweepable(self.clock.now() - after_s).items():
            self.index.delete(name, chunk_ids)
            self.ledger.publications.forget(chunk_ids)

    def chunk_ids(self, document_id: int) -> list[str]:
        return [row.chunk_id for row in self.ledger.views.chunks_of(document_id)]

    def _stage(self, claim: Claim, added: Sequence[tuple[Placed, str]]) -> None:
        if not added:
            return
        texts = [text for _, text in added]
        self.ledger.publications.stage([Staging(claim, placed, _digest(text)) for placed, text in added])
        vectors = self.embedder.embed_documents(texts)
        self.index.upsert(
            self.edition.name,
            [
                IndexedChunk(placed.chunk_id, claim.source, _digest(text), claim.uri, text, vector)
                for (placed, text), vector in zip(added, vectors, strict=True)
            ],
        )


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def eventually(is_so: Callable[[], bool], deadline_s: float = 5.0) -> None:
    """Poll until ``is_so()`` is true; fail at the deadline."""
    ends = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < ends, "it did not come to be so in time"
        time.sleep(0.005)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
