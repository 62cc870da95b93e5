"""Embeds what a group of drafts adds and brings it into the index, slice by slice, invisibly.

Order within a slice: embed, write the intent rows, upsert. A crash loses at most the slice under way;
what was staged is adopted by the next attempt.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingestion.errors import EmbedderRejected, HeadwaterError, IndexRefused, IndexRejected, Superseded
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Claim, Edition, Placed, Publishing, Staging, Work
from ingestion.records import Chunk, Lane
from retrieval.embedding.port import Vectors
from retrieval.index.port import Index, IndexedChunk
from workers.diffing import Diff, placed
from workers.drafting import Draft

SLICE_TEXTS = 32  # embedded between two commits where nobody says otherwise: what a crash may cost
SLICE_REUSED = 256
Vector = NDArray[np.float32]
Embed = Callable[[Sequence[str], Lane, Sequence[int]], Vectors]


@dataclass(slots=True)
class Revision:
    """A draft on its way: what of it is staged so far."""

    draft: Draft
    diff: Diff
    added: list[Placed] = field(default_factory=list)
    embedded: int = 0
    reused: int = 0
    error: HeadwaterError | None = None

    @property
    def claim(self) -> Claim:
        return self.draft.claim

    @property
    def complete(self) -> bool:
        return self.error is None and len(self.added) == len(self.diff.added)

    def publishing(self, staged_at: float) -> Publishing:
        total = len(self.diff.kept) + len(self.diff.added)
        return Publishing(
            claim=self.claim,
            digest=self.draft.digest,
            pipeline=self.draft.pipeline,
            look=self.draft.look,
            kept=self.diff.kept,
            moved=self.diff.moved,
            added=self.added,
            skipped=self.draft.skipped,
            work=Work(total, self.embedded, self.reused, staged_at),
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """One chunk that one revision adds. ``known``: an earlier attempt has written its intent row."""

    revision: Revision
    chunk: Chunk
    chunk_id: str
    known: bool


class Stager:
    """Brings additions into the index under the claims of their revisions."""

    def __init__(self, ledger: Ledger, index: Index, embed: Embed, slice_texts: int = SLICE_TEXTS) -> None:
        self._ledger = ledger
        self._index = index
        self._embed = embed
        self._slice_texts = slice_texts

    def stage(
        self, edition: Edition, revisions: Sequence[Revision], lane: Lane, *, keep: Callable[[], None]
    ) -> None:
        """Stage everything that the revisions add, or note in ``error`` why one cannot be.

        ``keep`` is called before each slice: it keeps the leases, also of documents not yet begun.

        Raises Transient errors of ledger, index and embedder: those concern all of them.
        """
        pieces = [
            _Piece(revision, one.chunk, one.chunk_id or _new_id(), one.chunk_id is not None)
            for revision in revisions
            for one in revision.diff.added
        ]
        if not pieces:
            return
        pieces = self._adopt(edition, pieces)
        digests = list({piece.chunk.digest for piece in pieces})
        vectors = self._index.vectors_by_digest(
            edition.name, digests, without=self._ledger.publications.distrusted(edition, digests)
        )
        reused = [piece for piece in pieces if piece.chunk.digest in vectors]
        for start in range(0, len(reused), SLICE_REUSED):
            keep()
            some = reused[start : start + SLICE_REUSED]
            self._bring(edition, some, vectors)
            for piece in some:
                piece.revision.reused += 1
        missing = [piece for piece in pieces if piece.chunk.digest not in vectors]
        for some in _slices(missing, self._slice_texts):
            keep()
            self._bring(edition, some, self._embedded(some, lane))

    def _adopt(self, edition: Edition, pieces: Sequence[_Piece]) -> list[_Piece]:
        """Count as done what an earlier attempt staged and the index holds; returns the rest."""
        held = self._index.present(edition.name, [piece.chunk_id for piece in pieces if piece.known])
        for piece in pieces:
            if piece.chunk_id in held:
                piece.revision.added.append(placed(piece.chunk_id, piece.chunk))
                piece.revision.reused += 1
        return [piece for piece in pieces if piece.chunk_id not in held]

    def _embedded(self, pieces: Sequence[_Piece], lane: Lane) -> dict[str, Vector]:
        """Vectors by digest, each distinct text embedded once.

        If the texts are refused, revision by revision, so that only the one to blame carries the error.
        """
        chunks = {piece.chunk.digest: piece.chunk for piece in pieces if piece.revision.error is None}
        first_user = {piece.chunk.digest: piece.revision for piece in reversed(pieces)}
        try:
            vectors = self._vectors(list(chunks.values()), lane)
        except EmbedderRejected as refusal:
            revisions = _revisions(pieces)
            if len(revisions) == 1:
                revisions[0].error = refusal
                return {}
            vectors = {}
            for revision in revisions:
                vectors |= self._embedded([piece for piece in pieces if piece.revision is revision], lane)
            return vectors
        for digest in vectors:
            first_user[digest].embedded += 1
        return vectors

    def _vectors(self, chunks: Sequence[Chunk], lane: Lane) -> dict[str, Vector]:
        if not chunks:
            return {}
        vectors = self._embed(
            [chunk.embedded_text for chunk in chunks], lane, [chunk.tokens for chunk in chunks]
        )
        return {chunk.digest: vector for chunk, vector in zip(chunks, vectors, strict=True)}

    def _bring(self, edition: Edition, pieces: Sequence[_Piece], vectors: Mapping[str, Vector]) -> None:
        """Intents, then the index. Revisions whose claim is lost, or whose chunks are refused, drop out."""
        pieces = [piece for piece in pieces if piece.revision.error is None and piece.chunk.digest in vectors]
        self._write_intents(pieces)
        self._upsert(edition, [piece for piece in pieces if piece.revision.error is None], vectors)
        for piece in pieces:
            if piece.revision.error is None:
                piece.revision.added.append(placed(piece.chunk_id, piece.chunk))

    def _upsert(self, edition: Edition, pieces: Sequence[_Piece], vectors: Mapping[str, Vector]) -> None:
        """If the index refuses without saying what, revision by revision: only the one to blame fails."""
        if not pieces:
            return
        try:
            self._index.upsert(edition.name, [_indexed(piece, vectors) for piece in pieces])
        except (IndexRejected, IndexRefused) as refusal:
            revisions = _revisions(pieces)
            named = _revisions([piece for piece in pieces if piece.chunk_id in refusal.chunk_ids])
            for revision in named or (revisions if len(revisions) == 1 else []):
                revision.error = refusal
            for revision in revisions:
                if revision.error is None:
                    own = [piece for piece in pieces if piece.revision is revision]
                    self._upsert(edition, own, vectors)

    def _write_intents(self, pieces: Sequence[_Piece]) -> None:
        lost = self._ledger.publications.stage(
            [
                Staging(
                    piece.revision.claim,
                    placed(piece.chunk_id, piece.chunk),
                    piece.chunk.digest,
                    known=piece.known,
                )
                for piece in pieces
            ]
        )
        for piece in pieces:
            if piece.revision.claim.document_id in lost:
                piece.revision.error = superseded(piece.revision.claim)


def _new_id() -> str:
    """A UUID of version 7 (RFC 9562): 74 random bits, so that not even a restored ledger mints it again.

    Its beginning is the time, so that the rows of a slice lie side by side under every key that holds
    it; with random ids a first index wrote half as much again.
    """
    fields = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return str(uuid.UUID(int=fields & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62))


def superseded(claim: Claim) -> HeadwaterError:
    return Superseded(f"A newer claim holds {claim.name}.")


def _revisions(pieces: Sequence[_Piece]) -> list[Revision]:
    """Whose pieces these are, each once, in order."""
    return list({id(piece.revision): piece.revision for piece in pieces}.values())


def _slices(pieces: Sequence[_Piece], texts: int) -> Iterator[list[_Piece]]:
    """Slices of at most so many distinct texts, longest texts together: padding costs time."""
    by_digest: dict[str, list[_Piece]] = {}
    for piece in pieces:
        by_digest.setdefault(piece.chunk.digest, []).append(piece)
    groups = sorted(by_digest.values(), key=lambda group: -group[0].chunk.tokens)
    for start in range(0, len(groups), texts):
        yield [piece for group in groups[start : start + texts] for piece in group]


def _indexed(piece: _Piece, vectors: Mapping[str, Vector]) -> IndexedChunk:
    return IndexedChunk(
        chunk_id=piece.chunk_id,
        source=piece.revision.claim.source,
        digest=piece.chunk.digest,
        heading=" > ".join(piece.chunk.heading_path),
        text=piece.chunk.text,
        vector=vectors[piece.chunk.digest],
    )
