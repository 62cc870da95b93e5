from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.cutting import KEY_UNITS, WINDOW_LIMITS, boundary_keys, cut

LIMIT = 100
UNITS = st.lists(st.tuples(st.integers(1, 130), st.integers(0, 5)), min_size=1, max_size=60)
DISTINCT = st.lists(st.integers(1, 60), min_size=60, max_size=200)


def cut_units(units: Sequence[tuple[int, object]]) -> list[int]:
    """Cuts of (weight, content) units; content and weight together make the digest."""
    digests = [hashlib.blake2b(repr(unit).encode(), digest_size=8).digest() for unit in units]
    return cut([weight for weight, _ in units], boundary_keys([0] * len(units), digests), LIMIT)


def runs(units: Sequence[tuple[int, object]]) -> list[tuple[tuple[int, object], ...]]:
    cuts = cut_units(units)
    return [tuple(units[begin:end]) for begin, end in pairwise(cuts)]


@given(UNITS)
def test_runs_hold_every_unit_once_and_fit(units: list[tuple[int, int]]) -> None:
    made = runs(units)
    assert [unit for run in made for unit in run] == units
    assert all(len(run) == 1 or sum(weight for weight, _ in run) <= LIMIT for run in made)


@given(UNITS)
def test_what_fits_together_is_one_run(units: list[tuple[int, int]]) -> None:
    if sum(weight for weight, _ in units) <= LIMIT:
        assert len(runs(units)) == 1


@given(DISTINCT, st.data())
def test_an_edit_moves_no_cut_outside_of_the_window(weights: list[int], data: st.DataObject) -> None:
    units: list[tuple[int, object]] = [(weight, position) for position, weight in enumerate(weights)]
    at = data.draw(st.integers(0, len(units) - 1))
    replacement: list[tuple[int, object]] = [
        (weight, -1) for weight in data.draw(st.lists(st.integers(1, 60), max_size=2))
    ]
    edited = [*units[:at], *replacement, *units[at + 1 :]]
    if not edited:
        return
    known = set(runs(units))
    reach_before = [sum(weights[:position]) for position in range(len(units) + 1)]
    for run in runs(edited):
        kept = [position for _, position in run if isinstance(position, int) and position >= 0]
        if run in known or not kept:
            continue
        nearest = min(kept, key=lambda position: abs(position - at))
        first, last = sorted((nearest, at))
        units_of_key = sum(sorted(weights)[-KEY_UNITS:])
        assert reach_before[last] - reach_before[first] <= WINDOW_LIMITS * LIMIT + units_of_key


def test_an_edit_in_an_endless_repetition_changes_what_is_beside_it() -> None:
    units: list[tuple[int, object]] = [(12, "same")] * 500
    edited = [*units[:250], (13, "edited"), *units[251:]]
    known = set(runs(units))
    made = runs(edited)
    changed = [position for position, run in enumerate(made) if run not in known]
    place = next(position for position, run in enumerate(made) if (13, "edited") in run)
    assert place in changed
    assert len(changed) <= 3
    assert max(abs(position - place) for position in changed) <= 2


@pytest.mark.parametrize("period", [1, 2, 3, 7])
def test_repetitions_fill_their_runs(period: int) -> None:
    units = [(3 + number, number) for number in range(period)] * 400
    made = runs(units)
    assert sum(weight for weight, _ in units) / len(made) > 0.7 * LIMIT


def test_weak_boundaries_are_cut_last() -> None:
    digests = [bytes([number]) for number in range(40)]
    strengths = [0 if number % 4 == 0 else 9 for number in range(40)]
    cuts = cut([20] * 40, boundary_keys(strengths, digests), LIMIT)
    assert all(position % 4 == 0 for position in cuts)


@pytest.mark.parametrize("content", ["distinct", "equal", "rising", "falling"])
def test_time_is_linear(content: str) -> None:
    rng = random.Random(1)
    digests = {
        "distinct": [rng.randbytes(8) for _ in range(200_000)],
        "equal": [b"same"] * 200_000,
        "rising": [number.to_bytes(8, "big") for number in range(200_000)],
        "falling": [number.to_bytes(8, "big") for number in range(200_000, 0, -1)],
    }[content]
    start = time.process_time()
    cut([7] * len(digests), boundary_keys([0] * len(digests), digests), LIMIT)
    assert time.process_time() - start < 4  # 0.5 s measured
