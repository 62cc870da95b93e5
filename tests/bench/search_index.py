"""Measures the embedded index: loading, small updates, searches, recall, opening.

    python tests/bench/search_index.py [CHUNKS ...]      (10000 and 100000 if none are given)

Vectors are seeded, clustered (one centre to about a hundred vectors) and of length one; texts have a
hundred words of a Zipf-distributed vocabulary, so that common words are as common as in real text. The
floor beside each figure is what the same machine needs for the bare part of the work: writing the same
bytes into a plain table, or multiplying the query with all vectors in memory.
"""

from __future__ import annotations

import argparse
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingestion.database import Database
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import IndexedChunk, IndexQuery

DIMENSIONS = 384
WORDS = 100
VOCABULARY = 30_000
QUERIES = 100
SLICE = 128


@dataclass(frozen=True)
class Corpus:
    """``vectors`` and ``queries``: (n, DIMENSIONS) float32 of length one."""

    chunks: Sequence[IndexedChunk]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    questions: Sequence[str]


def make_corpus(size: int, seed: int = 7) -> Corpus:
    generator = np.random.default_rng(seed)
    topics = _unit(generator.standard_normal((max(8, size // 100), DIMENSIONS)))
    vectors = _around(generator, topics, size)
    vocabulary = np.array(["".join(letters) for letters in _syllables(VOCABULARY)])
    weights = 1.0 / np.arange(1, VOCABULARY + 1)
    drawn = generator.choice(vocabulary, (size, WORDS), p=weights / weights.sum())
    chunks = [
        IndexedChunk(
            f"{place:08x}-0000-4000-8000-{0:012x}",
            f"s{place % 4}",
            f"d{place:063x}",
            "",
            " ".join(words),
            vector,
        )
        for place, (words, vector) in enumerate(zip(drawn, vectors, strict=True))
    ]
    questions = [" ".join(generator.choice(vocabulary, 8, p=weights / weights.sum())) for _ in range(QUERIES)]
    return Corpus(chunks, vectors, _around(generator, topics, QUERIES), questions)


def main(sizes: Sequence[int]) -> None:
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            measure(make_corpus(size), Path(folder))


def measure(corpus: Corpus, folder: Path) -> None:
    path = folder / "headwater.db"
    print(f"\n{len(corpus.chunks)} chunks, {DIMENSIONS} dimensions, SQLite {sqlite3.sqlite_version}")
    database = Database.file(path)
    index = EmbeddedIndex(database)
    index.create("bench", DIMENSIONS)
    _measure_load(index, corpus)
    floor = _timed(lambda: _write_plainly(corpus, folder / "plain.db"))
    print(f"  floor: the same bytes into one plain table {len(corpus.chunks) / floor:,.0f} chunks/s")
    print(f"  file {path.stat().st_size / 1e6:.0f} MB")
    _measure_updates(index, corpus)
    index.close()
    database.close()

    database = Database.file(path)
    index = EmbeddedIndex(database)
    first = IndexQuery(corpus.questions[0], corpus.queries[0], 10)
    print(f"  first search after opening {_timed(lambda: index.search('bench', first)) * 1e3:.0f} ms")
    _measure_searches(index, corpus)
    index.close()
    database.close()


def _measure_load(index: EmbeddedIndex, corpus: Corpus) -> None:
    took = [
        _timed(lambda slice_=slice_: index.upsert("bench", slice_))  # type: ignore[misc]
        for slice_ in _slices(corpus.chunks, SLICE)
    ]
    rate = len(corpus.chunks) / sum(took)
    print(f"  load in slices of {SLICE}: {rate:,.0f} chunks/s, one slice {_spread(took)}")


def _measure_updates(index: EmbeddedIndex, corpus: Corpus) -> None:
    upserts, deletes, seen = [], [], []
    for place, chunk in enumerate(corpus.chunks[:200]):
        new = IndexedChunk(f"new{place}", chunk.source, f"new{place}", "", chunk.text, chunk.vector)
        upserts.append(_timed(lambda: index.upsert("bench", [new])))  # noqa: B023 - called at once
        seen.append(_timed(lambda: index.search("bench", IndexQuery("", chunk.vector, 1))))  # noqa: B023
        deletes.append(_timed(lambda: index.delete("bench", [new.chunk_id])))  # noqa: B023
    print(f"  upsert of one chunk {_spread(upserts)}")
    print(f"  delete of one chunk {_spread(deletes)}")
    print(f"  vector search right after a write {_spread(seen)}")


def _measure_searches(index: EmbeddedIndex, corpus: Corpus) -> None:
    pairs = list(zip(corpus.questions, corpus.queries, strict=True))
    for name, queries in {
        "vector": [IndexQuery("", vector, 10) for _, vector in pairs],
        "text": [IndexQuery(question, None, 10) for question, _ in pairs],
        "hybrid": [IndexQuery(question, vector, 10) for question, vector in pairs],
        "hybrid, one source of four": [IndexQuery(q, vector, 10, ("s1",)) for q, vector in pairs],
        "hybrid, limit 1000": [IndexQuery(question, vector, 1000) for question, vector in pairs],
    }.items():
        took = [_timed(lambda query=query: index.search("bench", query)) for query in queries]  # type: ignore[misc]
        print(f"  {name} search {_spread(took)}")
    print(f"  recall@10 of the vector part {recall(index, corpus):.4f}")
    floor = [_timed(lambda vector=vector: corpus.vectors @ vector) for vector in corpus.queries]  # type: ignore[misc]
    print(f"  floor: one product with all vectors in memory {_spread(floor)}")


def recall(index: EmbeddedIndex, corpus: Corpus, limit: int = 10) -> float:
    """Share of the exact nearest ``limit`` that the vector part finds."""
    found = 0
    for vector in corpus.queries:
        exact = np.argsort(-(corpus.vectors @ vector), kind="stable")[:limit]
        wanted = {corpus.chunks[place].chunk_id for place in exact.tolist()}
        hits = index.search("bench", IndexQuery("", vector, limit))
        found += len(wanted & {hit.chunk_id for hit in hits})
    return found / (limit * len(corpus.queries))


def _write_plainly(corpus: Corpus, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE plain (row INTEGER PRIMARY KEY, id TEXT, text TEXT, vector BLOB)")
    for slice_ in _slices(corpus.chunks, SLICE):
        with connection:
            connection.executemany(
                "INSERT INTO plain (id, text, vector) VALUES (?, ?, ?)",
                [(chunk.chunk_id, chunk.text, chunk.vector.tobytes()) for chunk in slice_],
            )
    connection.close()


def _slices(chunks: Sequence[IndexedChunk], size: int) -> Iterator[Sequence[IndexedChunk]]:
    return (chunks[start : start + size] for start in range(0, len(chunks), size))


def _around(generator: np.random.Generator, topics: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Vectors scattered around randomly chosen topics, at a cosine of about 0.7 to them."""
    chosen = topics[generator.integers(0, len(topics), size)]
    return _unit(chosen + _unit(generator.standard_normal((size, DIMENSIONS))))


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _syllables(count: int) -> Iterator[tuple[str, ...]]:
    syllables = [a + b for a in "bdfgklmnprtvz" for b in "aeiou"]
    words = itertools.chain.from_iterable(itertools.product(syllables, repeat=n) for n in (1, 2, 3))
    return itertools.islice(words, count)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _spread(seconds: Sequence[float]) -> str:
    p50, p95 = np.percentile(seconds, (50, 95)) * 1e3
    return f"p50 {p50:.2f} ms, p95 {p95:.2f} ms, longest {max(seconds) * 1e3:.1f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("chunks", type=int, nargs="*", default=[10_000, 100_000])
    main(parser.parse_args().chunks)
