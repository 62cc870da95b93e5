"""How much is embedded between two commits, and by how many threads, for an endpoint of these limits."""

from __future__ import annotations

import pytest

from ops.equipping import slice_texts
from ops.wiring import bulk_threads
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.remote.making import RemoteModel, make_remote


@pytest.mark.parametrize(
    ("at_once", "texts", "a_slice", "threads"),
    [
        (3, 96, 96, 6),  # a call is enough
        (8, 1, 8, 2),  # of small ones as many as are made at once
        (2, 4, 8, 2),
        (64, 1, 32, 4),  # up to what is usual
        (4, 16, 32, 4),
        (1, 1, 1, 2),
    ],
)
def test_a_slice_holds_small_calls_together(at_once: int, texts: int, a_slice: int, threads: int) -> None:
    model = RemoteModel(
        "openai", "http://127.0.0.1:9/v1", "m", dimensions=8, concurrency=at_once, batch_texts=texts
    )
    embedder = make_remote(model)
    assert slice_texts(embedder) == a_slice
    assert bulk_threads(embedder) == threads
    assert a_slice * threads <= 2 * at_once * texts  # what a crash costs, as the reference says
    embedder.close()


def test_what_computes_here_has_the_usual_slice() -> None:
    assert slice_texts(HashingEmbedder()) == 32
