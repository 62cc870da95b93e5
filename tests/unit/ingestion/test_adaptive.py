"""What looks teach of a document's rate of change, and where the next ones go."""

from __future__ import annotations

import numpy as np
import pytest

from ingestion.adaptive import (
    MOST_SHAPE,
    PRIOR_SHAPE,
    PRIOR_SPAN_S,
    Floats,
    best,
    learnt,
    mean_age,
    worth,
)

DAY_S = 86_400.0


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def taught(intervals_s: Floats, rate: float, seed: int = 1) -> float:
    """The rate that is learnt of a document of that rate, looked at so."""
    random = np.random.default_rng(seed)
    shape, span = floats(PRIOR_SHAPE), floats(PRIOR_SPAN_S)
    for interval in intervals_s:
        changed = np.array([random.random() < -np.expm1(-rate * interval)])
        shape, span = learnt(shape, span, floats(interval), changed)
    return float((shape / span)[0])


@pytest.mark.parametrize("changes_a_day", [0.05, 0.5, 2.0])
def test_the_rate_is_learnt_whatever_the_intervals(changes_a_day: float) -> None:
    rate = changes_a_day / DAY_S
    intervals = np.random.default_rng(2).exponential(DAY_S / 2, 2000)
    assert taught(intervals, rate) == pytest.approx(rate, rel=0.5)


def test_no_change_is_learnt_from_exactly_and_a_change_by_its_moments() -> None:
    shape, span = learnt(floats(2.0), floats(100.0), floats(50.0), np.array([False]))
    assert (shape[0], span[0]) == (2.0, 150.0)
    shape, span = learnt(floats(2.0), floats(100.0), floats(50.0), np.array([True]))
    rates = np.linspace(1e-6, 0.6, 400_000)
    likely = rates * np.exp(-100 * rates) * (1 - np.exp(-50 * rates))
    mean = (rates * likely).sum() / likely.sum()
    variance = (rates**2 * likely).sum() / likely.sum() - mean**2
    assert shape[0] / span[0] == pytest.approx(mean, rel=1e-3)
    assert shape[0] / span[0] ** 2 == pytest.approx(variance, rel=1e-3)


def test_what_is_known_stays_within_bounds() -> None:
    shape, span = floats(PRIOR_SHAPE), floats(PRIOR_SPAN_S)
    for number in range(5000):
        elapsed = floats((0.0, 1.0, 1e9)[number % 3])
        shape, span = learnt(shape, span, elapsed, np.array([number % 7 != 0]))
        assert np.isfinite(shape[0])
        assert 0 < shape[0] <= MOST_SHAPE * 1.000001
        assert np.isfinite(span[0])
        assert span[0] > 0


@pytest.mark.parametrize("interval_s", [60.0, DAY_S, 100 * DAY_S])
@pytest.mark.parametrize("changes_a_day", [1e-6, 1e-3, 0.1, 1.0, 100.0])
def test_the_worth_of_a_look_is_the_slope_of_the_mean_age(interval_s: float, changes_a_day: float) -> None:
    rate, step = floats(changes_a_day / DAY_S), interval_s * 1e-3
    slope = (mean_age(rate, floats(interval_s + step)) - mean_age(rate, floats(interval_s - step))) / (
        2 * step
    )
    assert worth(rate, floats(interval_s))[0] == pytest.approx(interval_s**2 * slope[0], rel=1e-3)


def test_no_other_sharing_of_the_looks_makes_things_younger() -> None:
    """Where the worth is the same everywhere, moving looks from one to another makes the sum worse."""
    rates = floats(5.0, 0.1) / DAY_S
    budget = 2 / DAY_S
    shares = np.linspace(0.02, 0.98, 971)
    ages = [
        mean_age(rates, floats(1 / (share * budget), 1 / ((1 - share) * budget))).sum() for share in shares
    ]
    share = shares[int(np.argmin(ages))]
    first, second = worth(rates, floats(1 / (share * budget), 1 / ((1 - share) * budget)))
    assert first == pytest.approx(second, rel=0.02)


def test_the_best_ones_come_first_and_nothing_is_left_for_ever() -> None:
    shape, span = floats(1, 1, 1, 1), floats(1, 10, 100, 1e9) * DAY_S
    since = floats(1, 1, 1, 1) * DAY_S
    assert best(shape, span, since, 2).tolist() == [0, 1]
    assert best(shape, span, since, 9).tolist() == [0, 1, 2, 3]
    assert best(shape, span, floats(1, 1, 1, 10_000) * DAY_S, 1).tolist() == [3]
    assert best(floats(), floats(), floats(), 3).tolist() == []
