"""The words part of one search of the embedded index, inside the transaction that the caller opened."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable

import numpy as np

from retrieval.index.codes import Snapshot
from retrieval.index.embedded_schema import State, Tables
from retrieval.index.words import (
    HEADING_WEIGHT,
    QueryReader,
    QueryTerm,
    Statistics,
    bm25,
    choose_words,
    match_any,
)

COMMON = 1_000  # counting a term reads every chunk that holds it: counts above this are remembered
REMEMBERED_TERMS = 10_000
_AVERAGES = 1  # FTS5's record of totals in its %_data table


class TermCounts:
    """How many chunks hold a term, remembered between searches for common terms. Safe for threads."""

    def __init__(self) -> None:
        self._remembered: dict[tuple[int, str], tuple[int, int]] = {}  # -> count, chunks held then

    def count(self, connection: sqlite3.Connection, state: State, stem: str) -> int:
        """For common terms roughly: from when the edition had up to a quarter more or fewer chunks."""
        count, held_then = self._remembered.get((state.id, stem), (0, 0))
        if count and abs(state.held - held_then) <= held_then // 4:
            return min(count, state.held)
        query = f"SELECT doc FROM {Tables(state.id).terms} WHERE term = ?"
        found = connection.execute(query, (stem,)).fetchone()
        count = found[0] if found else 0
        if count > COMMON:
            if len(self._remembered) >= REMEMBERED_TERMS:
                self._remembered.clear()
            self._remembered[(state.id, stem)] = (count, state.held)
        return count


class WordSearch:
    """The words of one question. ``must_find`` if nothing but its words can find anything."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: State,
        snapshot: Snapshot,
        reader: QueryReader,
        counts: TermCounts,
        text: str,
        *,
        must_find: bool,
    ) -> None:
        self._connection = connection
        self._state = state
        self._tables = Tables(state.id)
        self._snapshot = snapshot
        self._reader = reader
        self._frequencies = {term: counts.count(connection, state, term.stem) for term in reader.terms(text)}
        self._looked_up, self._only_counted = choose_words(
            self._frequencies.items(), state.held, must_find=must_find
        )
        self._must_find = must_find

    def best(self, limit: int, allowed: frozenset[int] | None) -> dict[int, float]:
        """BM25 by row, higher is better, of the best ``limit`` rows of the ``allowed`` sources."""
        found = self._matching(self._looked_up, limit, allowed)
        if self._must_find and len(found) < limit and self._only_counted:
            found = self._matching(self._looked_up + self._only_counted, limit, allowed)
        return found

    def completed(self, scores: dict[int, float], rows: Iterable[int]) -> dict[int, float]:
        """``scores`` with those of ``rows`` by all words, the common ones too."""
        if not self._only_counted:
            return scores
        wanted = ", ".join(map(str, sorted(rows)))
        chunks = self._connection.execute(
            f"SELECT rowid, heading, text FROM {self._tables.words} WHERE rowid IN ({wanted})"
        )
        stems = [term.stem for term in self._looked_up + self._only_counted]
        return scores | bm25(self._statistics(), self._reader.counts(chunks, stems), self._lengths(wanted))

    def _matching(
        self, terms: list[QueryTerm], limit: int, allowed: frozenset[int] | None
    ) -> dict[int, float]:
        if not terms:
            return {}
        table = self._tables.words
        query = (
            f"SELECT rowid, -bm25({table}, {HEADING_WEIGHT}, 1.0) AS score FROM {table} WHERE {table} MATCH ?"
        )
        if allowed is None:
            query += f" ORDER BY score DESC, rowid LIMIT {limit}"
        found = self._connection.execute(query, (match_any(terms),)).fetchall()
        if allowed is None or not found:
            return dict(found)
        # The sources are in memory: looking them up in the file costs more than all the rest.
        inside = self._snapshot.among(np.array([row for row, _ in found]), allowed)
        kept = [pair for pair, shown in zip(found, inside.tolist(), strict=True) if shown]
        return dict(heapq.nsmallest(limit, kept, key=lambda pair: (-pair[1], pair[0])))

    def _statistics(self) -> Statistics:
        found = self._connection.execute(
            f"SELECT block FROM {self._tables.words}_data WHERE id = {_AVERAGES}"
        ).fetchone()
        held, *lengths = _varints(found[0])
        frequencies = {term.stem: count for term, count in self._frequencies.items()}
        return Statistics(held, sum(lengths) / held, frequencies)

    def _lengths(self, wanted: str) -> dict[int, int]:
        found = self._connection.execute(
            f"SELECT id, sz FROM {self._tables.words}_docsize WHERE id IN ({wanted})"
        )
        return {row: sum(_varints(sizes)) for row, sizes in found}


def _varints(record: bytes) -> list[int]:
    """SQLite's variable-length integers, below 2**56 (https://sqlite.org/fileformat2.html#varint)."""
    numbers, number = [], 0
    for byte in record:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    return numbers
