from __future__ import annotations

import pytest

from retrieval.index.fusion import DEPTH, VECTOR_WEIGHT, fuse


def ranked(vector_scores: dict[str, float], text_scores: dict[str, float]) -> list[str]:
    return [hit.chunk_id for hit in fuse(vector_scores, text_scores)]


def test_one_part_alone_keeps_its_scores() -> None:
    (hit,) = fuse({"a": 0.4}, {})
    assert (hit.score, hit.vector_score, hit.text_score) == (0.4, 0.4, None)
    (hit,) = fuse({}, {"a": 7.5})
    assert (hit.score, hit.vector_score, hit.text_score) == (7.5, None, 7.5)
    assert fuse({}, {}) == []


def test_the_best_of_both_scores_one() -> None:
    hits = fuse({"a": 0.9, "b": 0.1}, {"a": 12.0})
    assert [(hit.chunk_id, hit.score) for hit in hits] == [("a", 1.0), ("b", 0.0)]


def test_each_part_is_weighed() -> None:
    hits = fuse({"vector": 0.8, "words": 0.2, "none": 0.2}, {"words": 3.0})
    scores = {hit.chunk_id: hit.score for hit in hits}
    assert scores["vector"] == pytest.approx(VECTOR_WEIGHT)
    assert scores["words"] == pytest.approx(1 - VECTOR_WEIGHT)
    assert scores["none"] == 0


def test_a_models_habitual_range_does_not_matter() -> None:
    """Some models never give less than 0.7: that must not drown the words, nor the other way round."""
    text = {"c1": 5.0, "c3": 2.0}
    wide = {f"c{place}": 1 - place / 5 for place in range(6)}
    narrow = {name: 0.7 + score / 10 for name, score in wide.items()}
    assert [hit.score for hit in fuse(wide, text)] == pytest.approx([hit.score for hit in fuse(narrow, text)])


def test_asking_for_more_does_not_change_the_order() -> None:
    """A search asks again for more when hits are fenced out."""
    near = {f"n{place:04}": 0.9 - place / 1000 for place in range(DEPTH)}
    more = near | {f"z{place:04}": 0.7 - place / 1000 for place in range(200)}
    text = {"n0050": 9.0, "n0090": 4.0}
    assert ranked(more, text)[: len(near)] == ranked(near, text)


def test_beyond_the_depth_nearness_still_orders() -> None:
    far = {f"c{place:04}": -place / 1000 for place in range(3 * DEPTH)}
    assert ranked(far, {"c0000": 1.0}) == sorted(far)


def test_ties_are_broken_by_id() -> None:
    assert ranked({"b": 0.5, "a": 0.5, "c": 0.5}, {}) == ["a", "b", "c"]
    assert ranked({"b": 0.5, "a": 0.5}, {"b": 1.0, "a": 1.0}) == ["a", "b"]
    assert all(hit.score == 1.0 for hit in fuse({"b": 0.5, "a": 0.5}, {"b": 1.0, "a": 1.0}))
