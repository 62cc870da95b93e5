"""One ranking out of two: what the vectors found and what the words found.

Relative score fusion: each part is brought to a common scale and the two are averaged with a weight.
Fox and Shaw ("Combination of Multiple Searches", TREC-2, 1994) sum scores so; Bruch, Gai and Ingber ("An
Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023) find such a convex combination to order
better than reciprocal ranks, as Cranfield does here (tests/bench/cranfield.py).

The scale must not depend on how many hits were asked for, because a search asks again for more when
some of its hits were fenced out, and its order must not change by that: so similarities are measured
from the best to the one at a fixed depth, whatever the model's habitual range, and word scores from
the best to zero, the score of a chunk that holds none of the words.
"""

from __future__ import annotations

from collections.abc import Mapping

from retrieval.index.port import IndexHit

VECTOR_WEIGHT = 0.5
DEPTH = 100  # the rank whose similarity counts as nothing found


def fuse(vector_scores: Mapping[str, float], text_scores: Mapping[str, float]) -> list[IndexHit]:
    """All chunks of either part, best first, ties by chunk id.

    ``score = w * (v - v_depth) / (v_best - v_depth) + (1 - w) * t / t_best``, where t is 0 for a chunk
    that the words did not find. A chunk beyond the depth may score below zero. ``vector_scores`` should
    hold at least DEPTH of the nearest chunks, if there are so many, and the similarities of those that
    the words found. A part that is empty is left out: the other's scores are then the result.
    """
    if not text_scores:
        hits = [IndexHit(chunk_id, score, score, None) for chunk_id, score in vector_scores.items()]
    elif not vector_scores:
        hits = [IndexHit(chunk_id, score, None, score) for chunk_id, score in text_scores.items()]
    else:
        hits = _combined(vector_scores, text_scores)
    return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))


def _combined(vector_scores: Mapping[str, float], text_scores: Mapping[str, float]) -> list[IndexHit]:
    ranked = sorted(vector_scores.values(), reverse=True)
    best, floor = ranked[0], ranked[min(DEPTH, len(ranked)) - 1]
    best_text = max(text_scores.values())
    hits = []
    for chunk_id in vector_scores.keys() | text_scores.keys():
        vector_score, text_score = vector_scores.get(chunk_id), text_scores.get(chunk_id)
        nearness = _share(vector_score - floor, best - floor) if vector_score is not None else 0.0
        matching = _share(text_score, best_text) if text_score is not None else 0.0
        score = VECTOR_WEIGHT * nearness + (1 - VECTOR_WEIGHT) * matching
        hits.append(IndexHit(chunk_id, score, vector_score, text_score))
    return hits


def _share(part: float, whole: float) -> float:
    """``part / whole``; where the whole is nothing, all that reach it are equally good."""
    return part / whole if whole > 0 else float(part >= whole)
