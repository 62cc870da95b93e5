"""Looks for monitors: what is shown of one that takes longer than they wait."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from ops.looked import CACHE_S, LATE_S, TIMEOUT_S, Looked
from tests.unit.ops.books import SetClock

SCRAPED_EVERY_S = 15.0
ENDS_S = 20.0


class Slow:
    """Something to look at: each look is let through by the test, and finds its number."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.fails = False
        self._begun = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self._numbers = itertools.count(1)
        self.looked = Looked(self._look, clock, what="the ledger", timeout_s=0.01)

    def asked(self) -> int | None:
        return self.looked.current()

    def ends(self, took_s: float) -> None:
        """The look under way is over, so long after its begin."""
        assert self._begun.acquire(timeout=ENDS_S), "a look is under way"
        self.clock.at += took_s
        self._gate.release()
        for thread in threading.enumerate():
            if thread.name == "headwater-gauges":
                thread.join(ENDS_S)

    def end(self) -> None:
        self._gate.release(9)

    def _look(self) -> int:
        self._begun.release()
        assert self._gate.acquire(timeout=ENDS_S)
        if self.fails:
            raise OSError("The disk is gone.")
        return next(self._numbers)


@pytest.fixture
def slow(clock: SetClock) -> Iterator[Slow]:
    made = Slow(clock)
    yield made
    made.end()


def test_what_takes_longer_than_a_monitor_waits_is_shown_to_its_next_question(slow: Slow) -> None:
    assert slow.asked() is None
    for number in range(1, 4):
        slow.ends(3.0)
        slow.clock.at += SCRAPED_EVERY_S - 3.0
        assert slow.asked() == number, "and another look begins"


def test_two_monitors_are_shown_the_same(slow: Slow) -> None:
    assert slow.asked() is None
    slow.ends(3.0)
    slow.clock.at += SCRAPED_EVERY_S
    assert [slow.asked(), slow.asked()] == [1, 1]


def test_a_look_that_does_not_end_is_unknown_after_half_a_minute(slow: Slow) -> None:
    assert slow.asked() is None
    slow.ends(3.0)
    slow.clock.at += LATE_S - 1.0
    assert slow.asked() == 1
    slow.clock.at += 2.0
    assert slow.asked() is None


def test_what_was_quick_and_hangs_is_unknown_at_once(slow: Slow) -> None:
    assert slow.asked() is None
    slow.ends(0.0)
    assert slow.asked() == 1
    slow.clock.at += CACHE_S
    assert slow.asked() is None


def test_a_slow_look_that_fails_is_unknown_at_once(slow: Slow) -> None:
    assert slow.asked() is None
    slow.ends(3.0)
    slow.clock.at += SCRAPED_EVERY_S
    assert slow.asked() == 1
    slow.fails = True
    slow.ends(3.0)
    assert slow.asked() is None


def test_what_is_quick_enough_is_awaited(clock: SetClock) -> None:
    assert Looked(lambda: 7, clock, what="the ledger", timeout_s=TIMEOUT_S).current() == 7
