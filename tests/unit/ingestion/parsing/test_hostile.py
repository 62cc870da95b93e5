"""Spoiled documents of every format in real children: each ends in a named state, and reaches nothing."""

from __future__ import annotations

import pytest

from tests.hostile import parse_all


def test_whatever_a_document_does_it_ends_in_a_named_state() -> None:
    became = parse_all(300, every=4)
    assert became.total() == 300
    assert set(became) >= {"read", "refused", "skipped"}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_many_more_of_them(seed: int) -> None:
    assert parse_all(2500, seed).total() == 2500
