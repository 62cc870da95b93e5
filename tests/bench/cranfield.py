"""Measures how well the indexes rank, on the Cranfield collection with the default model.

    python -m tests.bench.cranfield [--vectors FILE] [--match-budget N]

Both in the same run: the embedded index, and the one in a real Weaviate where there is one.

The collection is read from ../shared/data/cranfield beside the repository: 1400 abstracts, 225 questions,
relevance judged by people. nDCG@10 has binary gains; recall@10 is the share of the relevant abstracts
among the first ten. ``--vectors`` keeps the vectors in a file, for comparing settings of the index;
``--match-budget`` searches as if words were as costly as in a larger collection.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingestion.database import Database
from retrieval.embedding.models import DEFAULT_MODEL, make_embedder
from retrieval.index import words
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import Index, IndexedChunk, IndexQuery
from retrieval.index.weaviate import WeaviateIndex
from tests.servers.process import NotInstalled
from tests.servers.weaviate import serving

DATA = Path(__file__).resolve().parents[2] / "../shared/data/cranfield"
LIMIT = 10
EDITION = "cranfield"


@dataclass(frozen=True)
class Abstract:
    number: str
    title: str
    text: str


@dataclass(frozen=True)
class Collection:
    """``relevant``: numbers of the relevant abstracts of each question, where there are any."""

    abstracts: Sequence[Abstract]
    questions: Sequence[str]
    relevant: dict[int, set[str]]

    @property
    def texts(self) -> list[str]:
        """Title and text, as the index embeds heading and text."""
        return [f"{abstract.title}\n{abstract.text}" for abstract in self.abstracts]


def read_collection(folder: Path = DATA) -> Collection:
    with gzip.open(folder / "cran.all.1400.xml.gz", "rt", encoding="utf-8") as file:
        found = re.findall(
            r"<docno>(\d+)</docno>\s*<title>(.*?)</title>.*?<text>(.*?)</text>", file.read(), re.DOTALL
        )
    abstracts = [
        Abstract(number, _flat(title), _flat(text).removeprefix(_flat(title)))
        for number, title, text in found
    ]
    questions = re.findall(
        r"<title>(.*?)</title>", (folder / "cran.qry.xml").read_text(encoding="utf-8"), re.DOTALL
    )
    relevant: dict[int, set[str]] = {}
    for line in (folder / "cranqrel.trec.txt").read_text(encoding="utf-8").splitlines():
        question, _, number, grade = line.split()
        if int(grade) > 0:
            relevant.setdefault(int(question) - 1, set()).add(number)
    return Collection(abstracts, [_flat(question) for question in questions], relevant)


def embed(collection: Collection, cache: Path | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of abstracts and of questions."""
    if cache and cache.is_file():
        kept = np.load(cache)
        return kept["abstracts"], kept["questions"]
    embedder = make_embedder(DEFAULT_MODEL)
    abstracts = embedder.embed_documents(collection.texts)
    questions = np.stack([embedder.embed_query(question) for question in collection.questions])
    if cache:
        np.savez(cache, abstracts=abstracts, questions=questions)
    return abstracts, questions


def fill(index: Index, collection: Collection, vectors: NDArray[np.float32]) -> None:
    index.create(EDITION, vectors.shape[1])
    index.upsert(
        EDITION,
        [
            IndexedChunk(
                _id(abstract.number), "cranfield", abstract.number, abstract.title, abstract.text, vector
            )
            for abstract, vector in zip(collection.abstracts, vectors, strict=True)
        ],
    )


def measure(index: Index, collection: Collection, queries: Sequence[IndexQuery]) -> tuple[float, float]:
    """nDCG@10 and recall@10, means over the questions that have relevant abstracts."""
    scores = []
    for place, numbers in collection.relevant.items():
        relevant = {_id(number) for number in numbers}
        hits = index.search(EDITION, queries[place])
        gains = [hit.chunk_id in relevant for hit in hits]
        ideal = _discounted([True] * min(LIMIT, len(relevant)))
        scores.append((_discounted(gains) / ideal, sum(gains) / len(relevant)))
    ndcg, recall = np.mean(scores, axis=0)
    return float(ndcg), float(recall)


def measure_all(collection: Collection, cache: Path | None = None) -> dict[str, tuple[float, float]]:
    """(nDCG@10, recall@10) of the embedded index by way of searching."""
    return measure_ways(EmbeddedIndex(Database.in_memory()), collection, *embed(collection, cache))


def measure_ways(
    index: Index, collection: Collection, abstracts: NDArray[np.float32], questions: NDArray[np.float32]
) -> dict[str, tuple[float, float]]:
    """(nDCG@10, recall@10) by way of searching, with these vectors."""
    fill(index, collection, abstracts)
    pairs = list(zip(collection.questions, questions, strict=True))
    return {
        "vector": measure(index, collection, [IndexQuery("", vector, LIMIT) for _, vector in pairs]),
        "text": measure(index, collection, [IndexQuery(text, None, LIMIT) for text, _ in pairs]),
        "hybrid": measure(index, collection, [IndexQuery(text, vector, LIMIT) for text, vector in pairs]),
    }


@contextlib.contextmanager
def indexes() -> Iterator[dict[str, Index]]:
    """By name; Weaviate only where it can be had."""
    with contextlib.ExitStack() as stack:
        made: dict[str, Index] = {"embedded": EmbeddedIndex(Database.in_memory())}
        try:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(serving(place))
            weaviate = WeaviateIndex(server.url, grpc_port=server.grpc_port, api_key=server.api_key)
            stack.callback(weaviate.close)
            made["weaviate"] = weaviate
        except NotInstalled as fault:
            print(f"without Weaviate: {fault}")
        yield made


def _id(number: str) -> str:
    return str(uuid.UUID(int=int(number)))


def _discounted(gains: Sequence[bool]) -> float:
    return float(sum(gain / np.log2(place + 2) for place, gain in enumerate(gains)))


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--match-budget", type=int, default=words.MATCH_BUDGET)
    arguments = parser.parse_args()
    words.MATCH_BUDGET = words.ONE_WORD_BUDGET = arguments.match_budget
    cranfield = read_collection()
    embedded = embed(cranfield, arguments.vectors)
    with indexes() as to_measure:
        for name, one in to_measure.items():
            for way, (ndcg, recall) in measure_ways(one, cranfield, *embedded).items():
                print(f"{name:8} {way:8} nDCG@10 {ndcg:.4f}  recall@10 {recall:.4f}")
