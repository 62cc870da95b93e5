"""How well an edition finds what is known to be the answer: what a gate measures before a switch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from ingestion.clock import SystemClock
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from retrieval.answers import cleaned
from retrieval.embedding.port import Vectors
from retrieval.fenced import Asked, find
from retrieval.index.port import Index
from retrieval.stopwatch import Stopwatch

TOP_K = 10

Questions = Sequence[tuple[str, Sequence[str]]]


def recall(
    ledger: Ledger,
    index: Index,
    embed_query: Callable[[str], Vectors],
    edition: Edition,
    questions: Questions,
    *,
    top_k: int = TOP_K,
) -> float:
    """The mean, over the questions, of the share of expected documents among the first ``top_k`` passages.

    Expected documents are ``source/uri``, or ``uri`` in whatever source. Searches as users' do, by words and
    vector, whether or not the edition is live. 1.0 without questions. Raises what searching and embedding
    raise: a question that falls back to words says nothing of the model.
    """
    if not questions:
        return 1.0
    shares = []
    for text, expected in questions:
        question = cleaned(text)
        vector = embed_query(question)
        asked = Asked(question, functools.partial(_same, vector), top_k, ledger.fence.active_sources())
        found = find(ledger, index, asked, lambda _: True, Stopwatch(SystemClock()), within=edition)
        shown = {(one.admitted.source, one.admitted.uri) for one in found.passages}
        names = {uri for _, uri in shown} | {f"{source}/{uri}" for source, uri in shown}
        shares.append(len(names.intersection(expected)) / len(set(expected)))
    return sum(shares) / len(shares)


def _same(vector: Vectors, _edition: Edition) -> Vectors:
    return vector
