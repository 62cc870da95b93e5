"""The size of a batch follows what was measured."""

from __future__ import annotations

import pytest

from retrieval.embedding.pace import Pace


@pytest.mark.parametrize("tokens_per_s", [8_000, 20_000, 100_000])
def test_batches_settle_at_the_time_they_may_take(tokens_per_s: int) -> None:
    pace = Pace(0.08)
    for _ in range(20):
        tokens = int(pace.batch_tokens)
        pace.observe(tokens, 0.003 + tokens / tokens_per_s)
    assert pace.batch_tokens / tokens_per_s == pytest.approx(0.077, rel=0.05)
    assert pace.call_tokens == pytest.approx(0.003 * tokens_per_s, rel=0.05)


def test_an_embedder_without_a_model_gets_large_batches_but_not_endless_ones() -> None:
    pace = Pace(0.08)
    for _ in range(10):
        pace.observe(3_200, 0.0003)
    assert pace.batch_tokens == 65_536


def test_one_batch_that_was_held_up_changes_little() -> None:
    pace = Pace(0.12)
    before = pace.batch_tokens
    pace.observe(800, 30.0)
    assert before * 0.65 < pace.batch_tokens < before


def test_a_slow_machine_still_gets_batches() -> None:
    pace = Pace(0.08)
    for _ in range(20):
        pace.observe(int(pace.batch_tokens), 2.0)
    assert pace.batch_tokens == 512


def test_no_time_at_all_is_no_fault() -> None:
    pace = Pace(0.08)
    pace.observe(10, 0.0)
    assert pace.batch_tokens > 0
