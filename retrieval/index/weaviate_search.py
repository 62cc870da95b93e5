"""One search of a collection: the nearest vectors, the words, and both as one ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ingestion.errors import IndexRejected
from retrieval.embedding.port import Vectors
from retrieval.index.fusion import DEPTH, fuse
from retrieval.index.port import IndexHit, IndexQuery
from retrieval.index.weaviate_held import Held

MOST_HITS = 10_000  # Weaviate's QUERY_MAXIMUM_RESULTS as it comes; more than any search here asks for
COMPARED = 200  # the best that the words found, whose similarities are asked for too
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
        text_scores = self._by_words() if self._stems else {}
        similarities: dict[str, float] = {}
        if self._query.vector is not None:
            similarities = self._by_vector(self._query.vector)
            similarities |= self._compared(self._query.vector, text_scores, similarities)
        return fuse(similarities, text_scores)[: self._query.limit]

    def _by_words(self) -> dict[str, float]:
        request = self._messages.holding(self._held.name, self._depth, self._stems, self._wanted)
        return {
            result.metadata.id: round(result.metadata.score, SCORE_DECIMALS)
            for result in self._results(request)
        }

    def _by_vector(self, vector: Vectors) -> dict[str, float]:
        """The nearest. If there are fewer than asked for, and should be more, all are compared one by one:
        a graph can lose sight of a part of itself."""
        found = self._near(vector, self._depth, self._wanted)
        if len(found) >= self._query.limit or len(found) >= self._count():
            return found
        return self._near(vector, self._depth, self._wanted or self._messages.everything())

    def _compared(
        self, vector: Vectors, text_scores: Mapping[str, float], known: Mapping[str, float]
    ) -> dict[str, float]:
        """Similarities of what the words found, and found best, where the vectors did not."""
        ranked = sorted(text_scores, key=lambda chunk_id: (-text_scores[chunk_id], chunk_id))
        missing = [chunk_id for chunk_id in ranked[:COMPARED] if chunk_id not in known]
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


def count(held: Held, wanted: Any = None) -> int:
    """How many chunks of the collection pass the filter."""
    from retrieval.index import weaviate_messages as messages

    reply = held.ask("Aggregate", messages.counting(held.name, wanted))
    counted: int = reply.single_result.objects_count
    return counted
