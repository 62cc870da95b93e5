"""The embedder without a model: never a zero vector, near where words are shared, quick."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.errors import Misconfigured
from retrieval.embedding.hashing import HashingEmbedder

ANY_TEXT = st.text(st.characters(), max_size=200)  # lone surrogates included


@given(st.lists(ANY_TEXT, max_size=8))
def test_every_row_has_length_one(texts: list[str]) -> None:
    vectors = HashingEmbedder(dimensions=16).embed_documents(texts)
    assert vectors.shape == (len(texts), 16)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_words_that_cancel_each_other_out_still_give_a_vector() -> None:
    embedder = HashingEmbedder(dimensions=1)
    words = [f"{number:08}" for number in range(64)]
    signs = {word: embedder.embed_query(word)[0] for word in words}
    up = next(word for word in words if signs[word] > 0)
    down = next(word for word in words if signs[word] < 0)
    assert np.linalg.norm(embedder.embed_query(f"{up} {down}")) == 1.0


def test_texts_that_share_words_are_nearer() -> None:
    leave, notice, ferry = HashingEmbedder().embed_documents(
        [
            "Annual leave is granted by the manager within a week.",
            "The manager decides about annual leave.",
            "Ferries cross from the northern harbour at dawn.",
        ]
    )
    assert leave @ notice > 0.4
    assert abs(leave @ ferry) < 0.2


def test_a_vector_is_the_same_whatever_is_embedded_beside_it() -> None:
    texts = [f"passage number {number}" for number in range(1100)]  # several blocks of rows
    together = HashingEmbedder().embed_documents(texts)
    for row in (0, 511, 512, 1099):
        assert np.array_equal(together[row], HashingEmbedder().embed_query(texts[row]))


@given(ANY_TEXT, ANY_TEXT)
def test_a_count_never_shrinks_with_more_text_nor_exceeds_its_parts(left: str, right: str) -> None:
    first, second, whole = HashingEmbedder().count_tokens([left, right, left + right])
    assert max(first, second) <= whole <= first + second


def test_text_without_spaces_counts() -> None:
    assert HashingEmbedder().count_tokens(["x" * 16_000, "two words", ""]) == [2002, 4, 2]


def test_the_fingerprint_follows_what_moves_a_vector() -> None:
    assert HashingEmbedder(64).fingerprint == HashingEmbedder(64, max_tokens=100).fingerprint
    assert HashingEmbedder(64).fingerprint != HashingEmbedder(65).fingerprint


@pytest.mark.parametrize(("dimensions", "max_tokens"), [(0, 256), (8, 2)])
def test_sizes_that_cannot_work_are_refused(dimensions: int, max_tokens: int) -> None:
    with pytest.raises(Misconfigured):
        HashingEmbedder(dimensions, max_tokens)


def test_twenty_thousand_texts_take_about_a_second_of_one_core() -> None:
    words = [f"word{number}" for number in range(5000)]
    texts = [" ".join(words[start % 4900 : start % 4900 + 100]) for start in range(20_000)]
    embedder = HashingEmbedder()
    started = time.process_time()
    embedder.embed_documents(texts)
    assert time.process_time() - started < 3.0  # 0.7 s measured; slower machines are let through
