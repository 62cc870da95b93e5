"""Callers keep their place for a while, and nobody waits for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from retrieval.embedding.places import PLACE_TEXTS, Places


def test_a_caller_keeps_its_place_and_then_goes_to_the_end() -> None:
    places = Places()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:

        def take(caller: ThreadPoolExecutor, texts: int) -> int:
            return caller.submit(places.take, texts).result(10)

        assert take(one, 32) == 0
        assert take(other, 32) == 1
        assert [take(one, 32) for _ in range(3)] == [0, 0, 0]
        assert take(one, 32) == 2
        assert take(other, 32) == 1
        assert take(other, 10 * PLACE_TEXTS) == 1
        assert take(other, 1) == 3
