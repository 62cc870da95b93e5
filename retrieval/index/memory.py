"""The index's twin for tests: exact, in memory, gone with the process.

It keeps the port's promises with the least code and shares the fusion with the embedded index. Words are
found by equality, without stems; several processes cannot share it.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ingestion.buckets import Tally, tallied
from ingestion.errors import EditionMissing, IndexRejected, WrongEdition
from retrieval.index.fusion import fuse
from retrieval.index.port import IndexedChunk, IndexHit, IndexQuery
from retrieval.index.words import BM25_B, BM25_K1

_WORD = re.compile(r"\w+")


class _Edition:
    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.chunks: dict[str, IndexedChunk] = {}


class MemoryIndex:
    """Dictionaries behind a lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._editions: dict[str, _Edition] = {}

    def create(self, edition: str, dimensions: int) -> None:
        with self._lock:
            made = self._editions.setdefault(edition, _Edition(dimensions))
            if made.dimensions != dimensions:
                raise WrongEdition(
                    f"The edition {edition} holds vectors of length {made.dimensions}, not {dimensions}."
                )

    def drop(self, edition: str) -> None:
        with self._lock:
            self._editions.pop(edition, None)

    def upsert(self, edition: str, chunks: Sequence[IndexedChunk]) -> None:
        with self._lock:
            held = self._held(edition)
            bad = tuple(chunk.chunk_id for chunk in chunks if not _fits(chunk.vector, held.dimensions))
            if bad:
                raise IndexRejected(
                    f"The vectors of {len(bad)} chunks are not {held.dimensions} finite numbers.",
                    chunk_ids=bad,
                )
            held.chunks.update((chunk.chunk_id, chunk) for chunk in chunks)

    def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
        with self._lock:
            if edition in self._editions:
                for chunk_id in chunk_ids:
                    self._editions[edition].chunks.pop(chunk_id, None)

    def present(self, edition: str, chunk_ids: Sequence[str]) -> set[str]:
        with self._lock:
            return self._held(edition).chunks.keys() & set(chunk_ids)

    def texts(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        with self._lock:
            chunks = self._held(edition).chunks
            return {chunk_id: chunks[chunk_id].text for chunk_id in chunk_ids if chunk_id in chunks}

    def vectors(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        with self._lock:
            chunks = self._held(edition).chunks
            return {chunk_id: chunks[chunk_id].vector for chunk_id in chunk_ids if chunk_id in chunks}

    def vectors_by_digest(
        self, edition: str, digests: Sequence[str], *, without: Sequence[str] = ()
    ) -> Mapping[str, NDArray[np.float32]]:
        wanted, refused = set(digests), set(without)
        with self._lock:
            return {
                chunk.digest: chunk.vector
                for chunk in self._held(edition).chunks.values()
                if chunk.digest in wanted and chunk.chunk_id not in refused
            }

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        if query.limit <= 0:
            return []
        with self._lock:
            held = self._held(edition)
            chunks = list(held.chunks.values())
        if query.vector is not None and not _fits(query.vector, held.dimensions):
            raise IndexRejected(f"The question's vector is not {held.dimensions} finite numbers.")
        found = [chunk for chunk in chunks if query.sources is None or chunk.source in query.sources]
        hits = fuse(_by_vector(found, query), _by_words(found, chunks, query))
        return hits[: query.limit]

    def ids(self, edition: str) -> Iterator[tuple[str, str]]:
        with self._lock:
            chunks = list(self._held(edition).chunks.values())
        return ((chunk.chunk_id, chunk.digest) for chunk in chunks)

    def buckets(self, edition: str) -> Mapping[int, Tally]:
        return tallied(self.ids(edition))

    def count(self, edition: str) -> int:
        with self._lock:
            return len(self._held(edition).chunks)

    def check(self, edition: str | None = None) -> None:
        """Memory is always there."""
        if edition is not None:
            self.count(edition)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _held(self, edition: str) -> _Edition:
        if edition not in self._editions:
            raise EditionMissing(f"The index holds no edition {edition}.")
        return self._editions[edition]


def _fits(vector: NDArray[np.float32], dimensions: int) -> bool:
    return vector.shape == (dimensions,) and bool(np.isfinite(vector).all())


def _by_vector(chunks: Sequence[IndexedChunk], query: IndexQuery) -> dict[str, float]:
    vector = query.vector
    if vector is None:
        return {}
    return {chunk.chunk_id: round(float(np.sum(chunk.vector * vector)), 6) for chunk in chunks}


def _by_words(
    chunks: Sequence[IndexedChunk], everything: Sequence[IndexedChunk], query: IndexQuery
) -> dict[str, float]:
    """BM25 over heading and text, with an idf that is above zero for every word."""
    wanted = set(_words(query.text))
    counted = {chunk.chunk_id: Counter(_words(f"{chunk.heading} {chunk.text}")) for chunk in everything}
    average = sum(counts.total() for counts in counted.values()) / max(1, len(counted)) or 1.0
    scores: dict[str, float] = {}
    for word in sorted(wanted):
        frequency = sum(word in counts for counts in counted.values())
        idf = math.log(1 + (len(counted) - frequency + 0.5) / (frequency + 0.5))
        for chunk in chunks:
            counts = counted[chunk.chunk_id]
            if counts[word]:
                relative = 1 - BM25_B + BM25_B * counts.total() / average
                part = idf * counts[word] * (BM25_K1 + 1) / (counts[word] + BM25_K1 * relative)
                scores[chunk.chunk_id] = scores.get(chunk.chunk_id, 0.0) + part
    return scores


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
