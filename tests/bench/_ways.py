"""The ways to embed that ``embedding.py`` compares, and what it measures of one: in a process of its own.

    python -m tests.bench._ways WAY FOLDER

FOLDER holds ``texts.json``, and ``quality`` where Cranfield is to be embedded too. Prints a JSON line when
the first question is embedded, and another with the rest; vectors go into FOLDER.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import numpy as np
import psutil

from retrieval.embedding.digests import DigestCache
from retrieval.embedding.models import DEFAULT_MODEL, find_model, make_embedder
from retrieval.embedding.port import Vectors
from retrieval.embedding.verdicts import Verdicts

QUESTIONS = 60
RATE_ROUNDS = 2
QUESTION = "How do I borrow a mutable reference?"


class Way(Protocol):
    """As much of an embedder as is measured."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors: ...

    def embed_query(self, text: str) -> Vectors: ...


class AsItComes:
    """sentence-transformers with nothing set."""

    description = "float32, batches of 32"

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer

        self._model: Any = SentenceTransformer(str(find_model(DEFAULT_MODEL)), local_files_only=True)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors: Vectors = self._model.encode(list(texts), show_progress_bar=False)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        vector: Vectors = self._model.encode(text, show_progress_bar=False)
        return vector


def ours(caches: Path, runtime: str = "openvino", precision: str = "float") -> Way:
    return make_embedder(
        DEFAULT_MODEL,
        runtime,
        precision=precision,
        digests=DigestCache(caches / "digests.json"),
        verdicts=Verdicts(caches / "trials"),
    )


def without_bf16(caches: Path) -> Way:
    patch("retrieval.embedding.trusted.cpu_has_bf16", lambda: False).start()
    return ours(caches)


def without_openvino(caches: Path) -> Way:
    patch.dict(sys.modules, {"retrieval.embedding.openvino_runtime": None}).start()
    return ours(caches)


WAYS: dict[str, Callable[[Path], Way]] = {
    "sentence-transformers, as it comes": lambda _: AsItComes(),
    "sentence-transformers, length-sorted": lambda caches: ours(caches, "sentence-transformers"),
    "numpy": without_openvino,
    "openvino float32": without_bf16,
    "openvino bf16": ours,
    "openvino int8": lambda caches: ours(caches, precision="int8"),
}


def measure(name: str, place: Path) -> None:
    way = WAYS[name](place / "caches")
    way.embed_query(QUESTION)
    print(json.dumps({"started": True}), flush=True)
    texts: list[str] = json.loads((place / "texts.json").read_text())
    seconds, vectors = best_of(RATE_ROUNDS, lambda: way.embed_documents(texts))
    question_s = [best_of(1, partial(way.embed_query, question))[0] for question in questions(texts)]
    found = {
        "description": str(getattr(way, "description", "")),
        "texts_per_s": len(texts) / seconds,
        "query_ms": 1000 * statistics.median(question_s),
        "resident_mb": psutil.Process().memory_info().rss / 1e6,
    }
    np.save(place / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    if (place / "quality").exists():
        found["ndcg"] = quality(way)
    print(json.dumps(found), flush=True)


def questions(texts: Sequence[str]) -> list[str]:
    """Of three to twenty words, each another one: a runtime may remember shapes and answers."""
    words = [text.split()[-24:] for text in texts if len(text.split()) >= 24]
    return [" ".join(words[at % len(words)][: 3 + at % 18]) for at in range(QUESTIONS)]


def quality(way: Way) -> float:
    """nDCG@10 on Cranfield, by vectors alone."""
    from ingestion.database import Database
    from retrieval.index.embedded import EmbeddedIndex
    from retrieval.index.port import IndexQuery
    from tests.bench import cranfield

    collection = cranfield.read_collection()
    index = EmbeddedIndex(Database.in_memory())
    cranfield.fill(index, collection, way.embed_documents(collection.texts))
    queries = [
        IndexQuery("", way.embed_query(question), cranfield.LIMIT) for question in collection.questions
    ]
    return cranfield.measure(index, collection, queries)[0]


def best_of(times: int, call: Callable[[], Any]) -> tuple[float, Any]:
    best, found = float("inf"), None
    for _ in range(times):
        began = time.perf_counter()
        found = call()
        best = min(best, time.perf_counter() - began)
    return best, found


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2]))
