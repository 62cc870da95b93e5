"""One search of a collection: the nearest vectors, the words, and both as one ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ingestion.errors import IndexRejected
from retrieval.embedding.port import Vectors
from retrieval.index.fusion import DEPTH, fuse
from retrieval.index.port import IndexHit, IndexQuery
from retrieval.index.weaviate_held import Held

MOST_HITS = 10_000  # Weaviate's QUERY_MAXIMUM_RESULTS as it comes; more than any search here asks for
COMPARED = 200  # the best that the words found, whose similarities count too
SCORE_DECIMALS = 6  # as in the embedded index


class Searching:
    """One query, its vector checked, its words as the stems that the collection holds."""

    def __init__(self, held: Held, query: IndexQuery, stems: str) -> None:
        from retrieval.index import weaviate_messages

        self._messages = weaviate_messages
        self._held = held
        self._query = query
        self._stems = stems
        self._wanted = None if query.sources is None else weaviate_messages.any_of("source", query.sources)
        self._depth = max(DEPTH, query.limit)

    def run(self) -> list[IndexHit]:
        if self._query.limit > MOST_HITS:
            raise IndexRejected(f"Weaviate gives at most {MOST_HITS} hits, not {self._query.limit}.")
        vector = self._query.vector
        words = self._begun_by_words() if self._stems else _nothing  # Weaviate looks for both at once
        similarities = self._by_vector(vector) if vector is not None else {}
        found = words()
        text_scores = {result.metadata.id: round(result.metadata.score, SCORE_DECIMALS) for result in found}
        if vector is not None:
            compared = self._compared_here if self._takes_vectors else self._compared
            similarities |= compared(vector, found, similarities)
        return fuse(similarities, text_scores)[: self._query.limit]

    @property
    def _takes_vectors(self) -> bool:
        """Whether what the words find comes with its vectors. Few do no harm, and save a question."""
        return self._query.vector is not None and self._depth <= COMPARED

    def _begun_by_words(self) -> Callable[[], Sequence[Any]]:
        """The best first."""
        begun = self._held.begin(
            "Search",
            self._messages.holding(
                self._held.name, self._depth, self._stems, self._wanted, with_vectors=self._takes_vectors
            ),
        )
        return lambda: sorted(
            begun().results, key=lambda result: (-result.metadata.score, result.metadata.id)
        )

    def _by_vector(self, vector: Vectors) -> dict[str, float]:
        """The nearest. If there are fewer than asked for, and should be more, all are compared one by one:
        a graph can lose sight of a part of itself."""
        found = self._near(vector, self._depth, self._wanted)
        if len(found) >= self._query.limit or len(found) >= self._count():
            return found
        return self._near(vector, self._depth, self._wanted or self._messages.everything())

    def _compared_here(
        self, vector: Vectors, found: Sequence[Any], known: Mapping[str, float]
    ) -> dict[str, float]:
        """As ``_compared``, by the vectors that came with what the words found. (One that a death of the
        server left without a vector, see ``weaviate_write``, is near nothing.)"""
        vectors = {
            result.metadata.id: self._messages.read_vector(result)
            for result in found
            if result.metadata.id not in known and result.metadata.vector_bytes
        }
        if not vectors:
            return {}
        products = np.stack(list(vectors.values())) @ vector
        return {
            one: round(float(product), SCORE_DECIMALS) for one, product in zip(vectors, products, strict=True)
        }

    def _compared(
        self, vector: Vectors, found: Sequence[Any], known: Mapping[str, float]
    ) -> dict[str, float]:
        """Similarities of what the words found, and found best, where the vectors did not."""
        ranked = [result.metadata.id for result in found[:COMPARED]]
        missing = [chunk_id for chunk_id in ranked if chunk_id not in known]
        if not missing:
            return {}
        return self._near(vector, len(missing), self._messages.any_of("_id", missing))

    def _near(self, vector: Vectors, limit: int, wanted: Any) -> dict[str, float]:
        request = self._messages.nearest(self._held.name, limit, vector, wanted)
        # Weaviate's distance by dot product is its negative.
        return {
            result.metadata.id: round(-result.metadata.distance, SCORE_DECIMALS)
            for result in self._results(request)
        }

    def _count(self) -> int:
        return count(self._held, self._wanted)

    def _results(self, request: Any) -> Iterable[Any]:
        results: Iterable[Any] = self._held.ask("Search", request).results
        return results


def _nothing() -> Sequence[Any]:
    return ()


def count(held: Held, wanted: Any = None) -> int:
    """How many chunks of the collection pass the filter."""
    from retrieval.index import weaviate_messages as messages

    reply = held.ask("Aggregate", messages.counting(held.name, wanted))
    counted: int = reply.single_result.objects_count
    return counted
