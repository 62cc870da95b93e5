"""The port of an index: where chunks are found by words and by vectors.

An index is told what to hold and finds it again. It knows nothing of documents, revisions or
freshness: the ledger decides what may be served, by the fence in ``retrieval.search``. Chunk ids are
minted by the ledger (UUIDs), never here, and an id that was deleted never comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingestion.buckets import Tally


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """What the index keeps of a chunk. ``vector``: shape (dimensions,), float32, of length one."""

    chunk_id: str
    source: str
    digest: str
    heading: str
    text: str
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """A hybrid query. ``vector`` None searches words only, ``text`` '' searches vectors only.

    ``sources`` None means all; an empty tuple finds nothing.
    """

    text: str
    vector: NDArray[np.float32] | None
    limit: int
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class IndexHit:
    """One chunk found. ``score`` is the fused score, higher is better; the parts are None where that
    part did not find it."""

    chunk_id: str
    score: float
    vector_score: float | None = None
    text_score: float | None = None


class Index(Protocol):
    """Holds chunks by edition. Safe to call from several threads and processes.

    Every call either has taken effect when it returns, durably and for every later search, or raises
    IndexUnavailable (it may or may not have taken effect: repeat it), IndexRejected (it never will), or
    IndexRefused (it may yet, for chunks that the error names; others it took).
    An edition that was never made, or was dropped, is unavailable, not empty: EditionMissing, but from
    ``delete`` and ``drop``, which have nothing to do there.
    """

    def create(self, edition: str, dimensions: int) -> None:
        """Make room for an edition. Idempotent. Raises WrongEdition if it has other dimensions."""

    def drop(self, edition: str) -> None:
        """Remove an edition and all it holds. Idempotent; an unknown edition is fine."""

    def upsert(self, edition: str, chunks: Sequence[IndexedChunk]) -> None:
        """Hold these chunks; an id already held is replaced. Idempotent. All or an error."""

    def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
        """Hold them no longer. Idempotent; unknown ids are fine."""

    def present(self, edition: str, chunk_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are held, and that every later search can find."""

    def texts(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        """``text`` by id; ids that are not held are left out."""

    def vectors(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Vector by id, as it is held; ids that are not held are left out."""

    def vectors_by_digest(
        self, edition: str, digests: Sequence[str], *, without: Sequence[str] = ()
    ) -> Mapping[str, NDArray[np.float32]]:
        """A vector held under each digest, as it was given; unknown digests are left out.

        Chunks whose ids are in ``without`` (marked for repair) are not used.
        """

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        """The best ``query.limit`` chunks, best first, each once, ties in a fixed order.

        Sees every upsert and delete that was acknowledged, to any process, before the call. Fewer
        hits than the limit mean that there are no more.
        """

    def ids(self, edition: str) -> Iterator[tuple[str, str]]:
        """(chunk_id, digest) of everything held, in any order, each held throughout exactly once."""

    def buckets(self, edition: str) -> Mapping[int, Tally]:
        """What ``ids`` lists, counted by ``ingestion.buckets.tallied``."""

    def count(self, edition: str) -> int:
        """How many chunks are held."""

    def check(self, edition: str | None = None) -> None:
        """Raises IndexUnavailable, with the reason, when searches of the edition would fail now; without
        one, when the index as a whole is away."""

    def close(self) -> None:
        """Let go of files and connections. Idempotent."""
