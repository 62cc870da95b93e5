"""Ages, verdicts and watermarks: tables of values."""

from __future__ import annotations

import dataclasses

import pytest

from ingestion.ledger.values import Admitted, SourceState
from ingestion.records import PublicationState, Standing
from retrieval.freshness import Age, age, fresh_as_of, is_awaited, is_stale

ADMITTED = Admitted(
    chunk_id="c",
    document_id=1,
    source="handbook",
    uri="a.md",
    ordinal=0,
    start=0,
    end=5,
    heading_path=(),
    standing=Standing.PRESENT,
    state=PublicationState.LIVE,
    wanted=7,
    generation=7,
    published_tick=3,
    changed_at=100.0,
    published_at=101.0,
    pending_since=None,
)
PENDING = dataclasses.replace(ADMITTED, state=PublicationState.PENDING, wanted=8, pending_since=110.0)


@pytest.mark.parametrize(
    ("admitted", "stale", "awaited"),
    [
        (ADMITTED, False, False),
        (PENDING, True, True),
        (dataclasses.replace(PENDING, state=PublicationState.FAILED), True, False),
        (dataclasses.replace(PENDING, standing=Standing.HELD), True, False),
        # Held: nobody has seen a newer revision.
        (dataclasses.replace(ADMITTED, standing=Standing.HELD), False, False),
        # To be made again by another chunker: the same revision.
        (dataclasses.replace(ADMITTED, state=PublicationState.PENDING), False, False),
    ],
)
def test_stale_is_what_has_a_newer_revision(admitted: Admitted, stale: bool, awaited: bool) -> None:
    assert is_stale(admitted) is stale
    assert is_awaited(admitted) is awaited


@pytest.mark.parametrize(
    ("admitted", "now", "expected"),
    [
        (ADMITTED, 130.0, Age(30.0, False, None)),
        (PENDING, 130.0, Age(30.0, True, 20.0)),
        (PENDING, 90.0, Age(0.0, True, 0.0)),  # the clock was set back
        (dataclasses.replace(PENDING, pending_since=None), 130.0, Age(30.0, True, 0.0)),
    ],
)
def test_ages_count_from_the_change_and_are_never_negative(
    admitted: Admitted, now: float, expected: Age
) -> None:
    assert age(admitted, now) == expected


def _state(name: str, listed_at: float | None, heartbeat_at: float | None) -> SourceState:
    return SourceState(name, "files", "/", True, {"": 1}, listed_at, 1, heartbeat_at, None)


@pytest.mark.parametrize(
    ("states", "oldest_pending", "expected"),
    [
        ([], {}, None),
        ([_state("a", None, None)], {}, None),
        ([_state("a", 10.0, None)], {}, 10.0),
        ([_state("a", 10.0, 20.0)], {}, 20.0),
        ([_state("a", 10.0, 20.0)], {"a": 15.0}, 15.0),
        ([_state("a", 10.0, 20.0)], {"b": 15.0}, 20.0),
        ([_state("a", 10.0, 20.0), _state("b", 12.0, None)], {}, 12.0),
        ([_state("a", 10.0, 20.0), _state("b", None, None)], {}, None),
    ],
)
def test_an_answer_is_as_fresh_as_its_least_fresh_source(
    states: list[SourceState], oldest_pending: dict[str, float], expected: float | None
) -> None:
    assert fresh_as_of(states, oldest_pending) == expected
