"""The cut of texts into batches: complete, bounded, and the cheapest there is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from retrieval.embedding.batches import MAX_BATCH_TEXTS, length_sorted_batches

LENGTHS = st.lists(st.integers(1, 256), max_size=80)


def cost(batches: list[list[int]], lengths: list[int], call_tokens: float) -> float:
    return sum(max(lengths[row] for row in batch) * len(batch) + call_tokens for batch in batches)


@given(LENGTHS, st.floats(1, 3000))
def test_every_text_is_in_one_batch_and_every_batch_in_bounds(lengths: list[int], most: float) -> None:
    batches = length_sorted_batches(lengths, max_tokens=most, call_tokens=30)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= MAX_BATCH_TEXTS
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= most
    longest_first = [lengths[row] for batch in batches for row in batch]
    assert all(before >= after for before, after in pairwise(longest_first))


@given(st.lists(st.integers(1, 256), min_size=1, max_size=10), st.floats(0, 200))
def test_no_other_cut_of_the_sorted_texts_is_cheaper(lengths: list[int], call_tokens: float) -> None:
    batches = length_sorted_batches(lengths, max_tokens=700, call_tokens=call_tokens)
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    best = cost(batches, lengths, call_tokens)
    for cuts in range(2 ** (len(order) - 1)):
        other: list[list[int]] = [[order[0]]]
        for place, row in enumerate(order[1:]):
            if cuts >> place & 1:
                other.append([])
            other[-1].append(row)
        allowed = all(len(b) == 1 or max(lengths[row] for row in b) * len(b) <= 700 for b in other)
        assert not allowed or cost(other, lengths, call_tokens) >= best - 1e-6


def test_one_costly_call_takes_all() -> None:
    assert len(length_sorted_batches([250, 10, 10, 10], max_tokens=1e6, call_tokens=1e6)) == 1


def test_free_calls_pad_nothing() -> None:
    lengths = [5, 9, 5, 9]
    for batch in length_sorted_batches(lengths, max_tokens=1e6, call_tokens=0):
        assert len({lengths[row] for row in batch}) == 1
