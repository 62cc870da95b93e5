"""The book of canaries, on every database: whose round it is, and how the last one went."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion.database import Database
from ingestion.ledger.canaries import CanaryState
from ingestion.ledger.sources import SourceRow
from ingestion.own import canary_of
from tests.contract.desk import Desk

EVERY_S, LEASE_S, AGAIN_S = 30.0, 35.0, 65.0


@pytest.fixture
def desk(database: Database) -> Iterator[Desk]:
    made = Desk(database)
    made.ledger.sources.add([SourceRow(canary_of("files"), "files", "/canary")])
    yield made


def begin(desk: Desk) -> int | None:
    return desk.ledger.canaries.begin("files", every_s=EVERY_S, lease_s=LEASE_S)


def begun(desk: Desk) -> int:
    number = begin(desk)
    assert number is not None
    return number


def test_one_round_is_under_way_and_the_next_is_due_in_time(desk: Desk) -> None:
    first = begun(desk)
    assert begin(desk) is None
    desk.ledger.canaries.end("files", first, took={}, failed=None, again_s=AGAIN_S)
    desk.clock.at += EVERY_S - 1
    assert begin(desk) is None
    desk.clock.at += 1
    assert begin(desk) == first + 1


def test_whoever_falls_silent_gives_way_and_tells_nothing_any_more(desk: Desk) -> None:
    canaries = desk.ledger.canaries
    silent = begun(desk)
    desk.clock.at += LEASE_S - 1
    assert canaries.keep("files", silent, lease_s=LEASE_S)
    desk.clock.at += LEASE_S - 1
    assert begin(desk) is None
    desk.clock.at += 1
    number = begun(desk)
    assert not canaries.keep("files", silent, lease_s=LEASE_S)
    canaries.end("files", silent, took={}, failed="write", detail="late", again_s=AGAIN_S)
    canaries.leave("files", silent)
    assert canaries.latest() == []
    assert begin(desk) is None, "the other's lease stands"
    canaries.end("files", number, took={"write": 0.25}, failed=None, again_s=AGAIN_S)
    assert [one.took for one in canaries.latest()] == [{"write": 0.25}]


def test_a_failure_keeps_when_it_last_succeeded(desk: Desk) -> None:
    canaries = desk.ledger.canaries
    canaries.end("files", begun(desk), took={"write": 0.5}, failed=None, again_s=AGAIN_S)
    sang_at = desk.clock.at
    desk.clock.at += EVERY_S
    canaries.end(
        "files", begun(desk), took={}, failed="write", detail="no watcher has seen it", again_s=AGAIN_S
    )
    silent_at = desk.clock.at + AGAIN_S
    told = CanaryState("files", desk.clock.at, {}, "write", "no watcher has seen it", sang_at, silent_at)
    assert canaries.latest() == [told]


def test_it_is_silent_once_nobody_writes_in_time(desk: Desk) -> None:
    canaries = desk.ledger.canaries

    def sings() -> bool:
        (told,) = canaries.latest()
        return told.sings(desk.clock.at)

    canaries.end("files", begun(desk), took={}, failed=None, again_s=AGAIN_S)
    desk.clock.at += AGAIN_S
    assert sings()
    desk.clock.at += 1
    assert not sings()
    number = begun(desk)
    assert sings()
    desk.clock.at += LEASE_S - 1
    canaries.keep("files", number, lease_s=LEASE_S)
    desk.clock.at += LEASE_S
    assert sings()
    desk.clock.at += 1
    assert not sings()


def test_one_that_left_the_settings_is_told_no_more(desk: Desk) -> None:
    desk.ledger.canaries.end("files", begun(desk), took={}, failed="edit", again_s=AGAIN_S)
    assert [one.kind for one in desk.ledger.canaries.latest()] == ["files"]
    desk.ledger.sources.configure([])
    assert desk.ledger.canaries.latest() == []


def test_a_round_that_was_left_or_whose_process_died_is_no_ones(desk: Desk) -> None:
    canaries = desk.ledger.canaries
    canaries.leave("files", begun(desk))
    desk.clock.at += EVERY_S
    begun(desk)
    desk.clock.at += EVERY_S
    assert begin(desk) is None
    canaries.forget_rounds()
    assert begin(desk) is not None


def test_a_clock_that_was_set_back_does_not_silence_it(desk: Desk) -> None:
    desk.ledger.canaries.end("files", begun(desk), took={}, failed=None, again_s=AGAIN_S)
    desk.clock.at -= 3600
    assert begin(desk) is not None


def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up(desk: Desk) -> None:
    begun(desk)
    desk.clock.at -= 3600.0
    assert begin(desk) is not None
