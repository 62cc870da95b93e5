"""Listings that are asked for, periodic ones, and those that failed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ingestion.clock import SystemClock
from ingestion.errors import LedgerUnavailable
from ops import listing
from ops.absences import Absences
from ops.listing import Lister
from ops.schedules import Every
from tests.acceptance.roles import until
from tests.rig import ShiftedClock

NEVER_S = 3600.0


class Listings:
    """Notes what is listed; fails and waits as it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.failing = False
        self.may_end = threading.Event()
        self.may_end.set()

    def list(self, name: str) -> None:
        self.begun.append(name)
        self.may_end.wait(60)
        if self.failing:
            raise LedgerUnavailable("The ledger is away.")


@pytest.fixture
def listings() -> Listings:
    return Listings()


@pytest.fixture
def lister(listings: Listings) -> Iterator[Callable[..., Lister]]:
    made: list[Lister] = []

    def make(**every_s: float) -> Lister:
        made.append(
            Lister(
                listings.list,
                SystemClock(),
                schedules={name: Every(pause_s) for name, pause_s in every_s.items()},
            )
        )
        made[-1].start()
        return made[-1]

    yield make
    listings.may_end.set()
    for one in made:
        one.stop()


def test_whether_every_thread_runs_is_known(lister: Callable[..., Lister]) -> None:
    one = lister(a=NEVER_S, b=NEVER_S)
    assert one.alive
    one.stop()
    assert not one.alive


def test_a_source_is_listed_when_asked_for_and_no_other(
    listings: Listings, lister: Callable[..., Lister]
) -> None:
    one = lister(a=NEVER_S, b=NEVER_S)
    one.ask("a")
    until(lambda: listings.begun == ["a"], "a is listed")


def test_asks_during_a_listing_are_one_listing_after_it(
    listings: Listings, lister: Callable[..., Lister]
) -> None:
    listings.may_end.clear()
    one = lister(a=NEVER_S, b=NEVER_S)
    one.ask("a")
    until(lambda: listings.begun == ["a"], "a is being listed")
    one.ask("a")
    one.ask("a")
    one.ask("b")
    until(lambda: listings.begun == ["a", "b"], "b waits for nobody")
    listings.may_end.set()
    until(lambda: listings.begun == ["a", "b", "a"], "and a once more")


def test_it_is_repeated_without_being_asked_for(listings: Listings, lister: Callable[..., Lister]) -> None:
    lister(a=0.01)
    until(lambda: len(listings.begun) > 3, "it is listed again and again")


def test_after_a_sleep_or_a_clock_that_was_set_it_is_listed_once(
    listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was missed is caught up by one listing, and a clock set back does not stop it for as long."""
    monkeypatch.setattr(listing, "LOOK_AT_CLOCK_S", 0.01)
    clock, noted = ShiftedClock(), list[float]()
    one = Lister(
        listings.list, clock, schedules={"a": Every(NEVER_S)}, note=lambda name, last, at: noted.append(at)
    )
    one.start()
    try:
        until(lambda: noted, "it says when it comes next")
        assert NEVER_S <= noted[0] - clock.now() + 60 <= NEVER_S * (1 + listing.JITTER) + 60
        assert not listings.begun
        clock.shift_s += 20 * NEVER_S
        until(lambda: len(noted) == 4, "it began, was listed, that ended, and it waits again")
        assert listings.begun == ["a"]
        clock.shift_s -= 15 * NEVER_S
        time.sleep(0.1)
        assert listings.begun == ["a"], "it is no time for another"
        clock.shift_s += 2 * NEVER_S
        until(lambda: len(listings.begun) == 2, "it is listed again")
    finally:
        one.stop()


def test_what_fails_again_and_again_is_tried_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Lister(lambda name: None, SystemClock(), schedules={})
    pauses = [one._due(Every(NEVER_S), 0.0, failed) for failed in (1, 2, 3, 20, 1000)]
    for pause_s, expected in zip(pauses, (2.0, 4.0, 8.0, 300.0, 300.0), strict=True):
        assert expected <= pause_s <= expected * (1 + listing.JITTER)
    assert one._due(Every(1.0), 0.0, 5) <= 1 + listing.JITTER, "never later than it would be anyway"


def test_one_that_failed_is_tried_again_and_told_once(
    listings: Listings,
    lister: Callable[..., Lister],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listing, "AGAIN_S", 0.01)
    listings.failing = True
    with caplog.at_level(logging.WARNING):
        lister(a=NEVER_S).ask("a")
        until(lambda: len(listings.begun) > 3, "it is tried again")
        listings.failing = False
    assert [record.message for record in caplog.records].count(
        "a could not be listed and will be: The ledger is away."
    ) == 1


def test_what_was_not_found_is_judged_a_moment_later_and_once() -> None:
    judged: list[tuple[str, list[str]]] = []
    absences = Absences(lambda source, uris: judged.append((source, list(uris))), settle_s=0.3)
    absences.doubt("notes", ["b.md", "a.md"])
    absences.doubt("notes", ["a.md"])
    assert not judged
    until(lambda: judged, "it is judged")
    assert judged == [("notes", ["a.md", "b.md"])]
    absences.close()


def test_a_judgement_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    judged: list[str] = []

    def judge(source: str, uris: object) -> None:
        if source == "away":
            raise LedgerUnavailable("The ledger is away.")
        judged.append(source)

    absences = Absences(judge, settle_s=0.01)
    absences.doubt("away", ["a.md"])
    absences.doubt("notes", ["a.md"])
    until(lambda: judged == ["notes"], "the other is judged")
    assert "looked at by the next listing" in caplog.text
    absences.close()
