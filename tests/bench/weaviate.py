"""What the Weaviate index costs beside Weaviate's own client: inserting, and a hybrid query.

    python -m tests.bench.weaviate [--chunks N]

Both in the same run on a server of their own: 20,000 objects of 384 dimensions with the same properties, in
slices of 200, into two collections of one shape; then the same 200 questions, ten hits each, one at a time.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from retrieval.index.port import IndexedChunk, IndexQuery
from retrieval.index.weaviate import WeaviateIndex
from retrieval.index.weaviate_collections import collection_schema
from tests.bench._common import begin, row, small_files, workplace
from tests.servers.weaviate import Weaviate, serving

CHUNKS = 20_000
DIMENSIONS = 384
SLICE = 200
QUESTIONS = 200
HITS = 10


def chunks(number: int) -> list[IndexedChunk]:
    files = small_files(number)
    vectors = directions(number, seed=1)
    return [
        IndexedChunk(
            str(uuid.uuid5(uuid.NAMESPACE_URL, path)), "notes", f"{at:064x}", "Note", text, vectors[at]
        )
        for at, (path, text) in enumerate(files.items())
    ]


def directions(number: int, *, seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(number, DIMENSIONS)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def questions(held: Sequence[IndexedChunk]) -> list[tuple[str, NDArray[np.float32]]]:
    """Six words of a note, and a direction near its vector."""
    noise = directions(QUESTIONS, seed=2)
    step = len(held) // QUESTIONS
    asked = []
    for at in range(QUESTIONS):
        near = held[at * step].vector + noise[at]
        asked.append((" ".join(held[at * step].text.split()[10:16]), near / np.linalg.norm(near)))
    return asked


def connected(server: Weaviate) -> Any:
    """Weaviate's own client."""
    import weaviate
    from weaviate.auth import Auth

    at = urlsplit(server.url)
    assert at.hostname
    assert at.port
    return weaviate.connect_to_custom(
        http_host=at.hostname,
        http_port=at.port,
        http_secure=False,
        grpc_host=at.hostname,
        grpc_port=server.grpc_port,
        grpc_secure=False,
        auth_credentials=Auth.api_key(server.api_key or ""),
    )


def insert_bare(client: Any, held: Sequence[IndexedChunk]) -> Any:
    """As a script would: the client's objects, ``insert_many``, its errors looked at. It sends
    the text where ours sends stems."""
    from weaviate.classes.data import DataObject

    collection = client.collections.create_from_dict(collection_schema("Bare_e1", "e1", DIMENSIONS))
    for start in range(0, len(held), SLICE):
        objects = [
            DataObject(
                uuid=one.chunk_id,
                vector=one.vector.tolist(),
                properties={
                    "words": one.text,
                    "source": one.source,
                    "digest": one.digest,
                    "heading": one.heading,
                    "text": one.text,
                },
            )
            for one in held[start : start + SLICE]
        ]
        assert not collection.data.insert_many(objects).errors
    return collection


def insert_ours(index: WeaviateIndex, held: Sequence[IndexedChunk]) -> None:
    for start in range(0, len(held), SLICE):
        index.upsert("e1", held[start : start + SLICE])


def rate(number: int, insert: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    made = insert()
    return made, number / (time.perf_counter() - started)


def median_ms(ask: Callable[[str, NDArray[np.float32]], Any], asked: Sequence[Any]) -> float:
    for text, vector in asked[:20]:
        ask(text, vector)
    spent = []
    for text, vector in asked:
        started = time.perf_counter()
        ask(text, vector)
        spent.append(1000 * (time.perf_counter() - started))
    return statistics.median(spent)


def main(number: int) -> None:
    begin(f"weaviate: {number} chunks of {DIMENSIONS} dimensions, slices of {SLICE}")
    held = chunks(number)
    with workplace() as place, serving(place) as server, connected(server) as client:
        index = WeaviateIndex(server.url, grpc_port=server.grpc_port, api_key=server.api_key)
        index.create("e1", DIMENSIONS)
        collection, bare = rate(number, lambda: insert_bare(client, held))
        row("inserted by a bare script", f"{bare:.0f}/s")
        _, ours = rate(number, lambda: insert_ours(index, held))
        row("upserted by the index", f"{ours:.0f}/s")
        row("of the bare script's rate", f"{ours / bare:.0%}", ">= 50 %, all of the pipeline included")
        asked = questions(held)
        own = median_ms(
            lambda text, vector: collection.query.hybrid(
                text, vector=vector.tolist(), alpha=0.5, limit=HITS, query_properties=["words"]
            ),
            asked,
        )
        found = median_ms(lambda text, vector: index.search("e1", IndexQuery(text, vector, 30)), asked)
        row("the client's hybrid query, 10 hits, p50", f"{own:.1f} ms")
        row("the index's search, 30 hits as a question for 10 asks, p50", f"{found:.1f} ms")
        row("more than the client's", f"{found - own:+.1f} ms ({found / own:.2f} x)", "<= 5 ms over HTTP")
        index.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    main(parser.parse_args().chunks)
