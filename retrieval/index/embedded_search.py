"""One search of the embedded index, inside the transaction that the caller opened."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Mapping

import numpy as np

from retrieval.index.checked import checked_question
from retrieval.index.codes import Floats, Snapshot, Space
from retrieval.index.embedded_schema import State, Tables, source_numbers
from retrieval.index.embedded_words import TermCounts, WordSearch
from retrieval.index.fusion import DEPTH, fuse
from retrieval.index.port import IndexHit, IndexQuery
from retrieval.index.words import QueryReader

CANDIDATES = 300  # nearest codes compared exactly: recall@10 of 0.99 and more (tests/bench/search_index.py)
COMPLETED = 50  # the best of each part, whose common words are counted: 100 rank no better on Cranfield
SCORE_DECIMALS = 6  # float32 dot products differ beyond that by the order of summation


class Searching:
    """Both parts of one query, over the codes as of this transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: State,
        snapshot: Snapshot,
        space: Space,
        reader: QueryReader,
        counts: TermCounts,
    ) -> None:
        self._connection = connection
        self._state = state
        self._tables = Tables(state.id)
        self._snapshot = snapshot
        self._space = space
        self._reader = reader
        self._counts = counts

    def run(self, query: IndexQuery) -> list[IndexHit]:
        vector = self._checked(query)
        allowed = self._allowed(query)
        words = WordSearch(
            self._connection,
            self._state,
            self._snapshot,
            self._reader,
            self._counts,
            query.text,
            must_find=vector is None,
        )
        text_scores = words.best(max(DEPTH, query.limit), allowed)
        similarities: dict[int, float] = {}
        names: dict[int, str] = {}
        if vector is not None:
            question = self._space.question(vector)
            nearest = self._snapshot.nearest(question, max(CANDIDATES, 2 * query.limit), allowed)
            names, similarities = self._compared(vector, {*nearest.tolist(), *text_scores})
        text_scores = words.completed(text_scores, {*_best(similarities), *_best(text_scores)})
        names = names or self._named(text_scores)
        hits = fuse(
            {names[row]: score for row, score in similarities.items()},
            {names[row]: score for row, score in text_scores.items()},
        )
        return hits[: query.limit]

    def _checked(self, query: IndexQuery) -> Floats | None:
        if query.vector is None:
            return None
        return checked_question(query.vector, self._state.dimensions)

    def _allowed(self, query: IndexQuery) -> frozenset[int] | None:
        if query.sources is None:
            return None
        return frozenset(source_numbers(self._connection, set(query.sources), make=False).values())

    def _compared(self, vector: Floats, rows: Iterable[int]) -> tuple[dict[int, str], dict[int, float]]:
        """Chunk id and exact similarity by row."""
        wanted = ", ".join(map(str, sorted(rows)))
        found = self._connection.execute(
            f"SELECT row, chunk_id, vector FROM {self._tables.chunks} WHERE row IN ({wanted})"
        ).fetchall()
        if not found:
            return {}, {}
        numbers, chunk_ids, vectors = zip(*found, strict=True)
        matrix = np.frombuffer(b"".join(vectors), "<f4").reshape(len(numbers), -1)
        # Not "@": BLAS threads wait for each other when the cores are busy, and its sums depend on place.
        exact = np.einsum("ij,j->i", matrix, vector, dtype=np.float32).astype(np.float64)
        similarities = np.round(exact, SCORE_DECIMALS).tolist()
        return dict(zip(numbers, chunk_ids, strict=True)), dict(zip(numbers, similarities, strict=True))

    def _named(self, rows: Iterable[int]) -> dict[int, str]:
        wanted = ", ".join(map(str, sorted(rows)))
        found = self._connection.execute(
            f"SELECT row, chunk_id FROM {self._tables.chunks} WHERE row IN ({wanted})"
        )
        return dict(found.fetchall())


def _best(scores: Mapping[int, float]) -> list[int]:
    """The COMPLETED best rows; ties by row."""
    return heapq.nsmallest(COMPLETED, scores, key=lambda row: (-scores[row], row))
