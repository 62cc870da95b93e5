"""What an objective allows, and the arithmetic of quantiles and budgets."""

from __future__ import annotations

import random

import pytest

from ingestion.objectives import Kind, Objective, budget_left, quantile, size_of


def test_a_change_and_a_deletion_have_limits_of_their_own() -> None:
    promised = Objective(within_s=60.0, deletions_within_s=5.0)
    assert promised.is_met(Kind.CHANGE, 60.0) and not promised.is_met(Kind.CHANGE, 60.1)
    assert promised.is_met(Kind.DELETION, 5.0) and not promised.is_met(Kind.DELETION, 5.1)
    assert promised.is_met(Kind.UNJUDGED, 1e9)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_quantile_is_off_by_five_per_cent_at_most(share: float) -> None:
    rng = random.Random(7)
    times = sorted(rng.lognormvariate(0.0, 2.0) for _ in range(5000))
    sizes: dict[int, int] = {}
    for seconds in times:
        sizes[size_of(seconds)] = sizes.get(size_of(seconds), 0) + 1
    exact = times[round(share * len(times)) - 1]
    assert quantile(sizes, share) == pytest.approx(exact, rel=0.05)


def test_quantiles_of_little_are_what_there_is() -> None:
    assert quantile({}, 0.5) is None
    assert (
        quantile({size_of(3.0): 1}, 0.5) == quantile({size_of(3.0): 1}, 0.99) == pytest.approx(3.0, rel=0.05)
    )
    two = {size_of(1.0): 1, size_of(100.0): 1}
    assert quantile(two, 0.5) == pytest.approx(1.0, rel=0.05)
    assert quantile(two, 0.99) == pytest.approx(100.0, rel=0.05)


def test_any_time_has_a_size() -> None:
    assert size_of(-1.0) == size_of(0.0) == size_of(1e-9)
    assert size_of(1e12) == size_of(1e15)
    assert size_of(64.0) == 48
    assert size_of(64.0001) == 49


@pytest.mark.parametrize(
    ("met", "missed", "left"),
    [(0, 0, 1.0), (100, 0, 1.0), (990, 10, 0.0), (995, 5, 0.5), (980, 20, -1.0), (0, 1, -99.0)],
)
def test_the_budget_is_the_part_that_may_be_late(met: int, missed: int, left: float) -> None:
    assert budget_left(0.99, met, missed) == pytest.approx(left)
