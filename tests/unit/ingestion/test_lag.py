from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.lag import combined, index_lag, plausible_change, proof_of_sight, watermark

moments = st.floats(0, 4e9)
maybe = st.none() | moments


@pytest.mark.parametrize(
    ("says", "last_look", "expected"),
    [
        (150.0, 100.0, 150.0),
        (100.0, 100.0, 100.0),
        (200.0, 100.0, 200.0),
        (99.9, 100.0, 190.0),  # copied in with its old time
        (200.1, 100.0, 190.0),  # from the future
        (None, 100.0, 190.0),
        (150.0, None, 190.0),
    ],
)
def test_a_change_happened_when_its_source_says_if_that_can_be(
    says: float | None, last_look: float | None, expected: float
) -> None:
    assert plausible_change(says, last_look, now=200.0, noticed=190.0) == expected


@given(maybe, maybe, moments, moments)
def test_no_change_lies_in_the_future_nor_before_both_look_and_notice(
    says: float | None, last_look: float | None, now: float, noticed: float
) -> None:
    changed = plausible_change(says, last_look, now, noticed)
    assert changed <= now
    assert changed == says or changed == min(noticed, now)


@pytest.mark.parametrize(
    ("oldest", "seen", "expected"),
    [(None, None, None), (5.0, None, None), (None, 7.0, 7.0), (5.0, 7.0, 5.0), (9.0, 7.0, 7.0)],
)
def test_the_watermark_is_the_earlier_of_backlog_and_sight(
    oldest: float | None, seen: float | None, expected: float | None
) -> None:
    assert watermark(oldest, seen) == expected


def test_the_last_proof_of_sight_counts() -> None:
    assert proof_of_sight(None, None) is None
    assert proof_of_sight(3.0, None) == proof_of_sight(None, 3.0) == 3.0
    assert proof_of_sight(3.0, 5.0) == proof_of_sight(5.0, 3.0) == 5.0


def test_several_sources_are_as_fresh_as_the_stalest() -> None:
    assert combined([]) is None
    assert combined([5.0, None]) is None
    assert combined([5.0, 3.0]) == 3.0
    assert combined([0.0, 3.0]) == 0.0


@given(maybe, moments)
def test_index_lag_is_never_negative_and_zero_when_nothing_waits(oldest: float | None, now: float) -> None:
    lag = index_lag(oldest, now)
    assert lag >= 0.0
    if oldest is None:
        assert lag == 0.0
    elif oldest <= now:
        assert lag == now - oldest
