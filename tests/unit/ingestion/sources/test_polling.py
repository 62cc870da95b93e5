"""A watch that asks what has changed."""

from __future__ import annotations

import queue
import threading

import pytest

from ingestion.clock import SystemClock
from ingestion.errors import SourceUnavailable
from ingestion.sources.polling import Polling
from ingestion.sources.settling import Dirty, Touch

SOON_S = 10.0
NEVER_S = 3600.0
CHANGED = Dirty({"a.md": Touch.SETTLED})


class Place:
    """Gives its answers one after the other, then says that nothing has changed."""

    def __init__(self, *answers: Dirty | Exception | None) -> None:
        self.asked = 0
        self._answers = list(answers)

    def __call__(self) -> Dirty | None:
        self.asked += 1
        answer = self._answers.pop(0) if self._answers else Dirty()
        if isinstance(answer, Exception):
            raise answer
        return answer


def until_asked(place: Place, times: int) -> None:
    waiting = threading.Event()
    for _ in range(int(SOON_S / 0.01)):
        if place.asked >= times:
            return
        waiting.wait(0.01)
    raise AssertionError(f"asked {place.asked} times of {times}")


def watching(place: Place, every_s: float = 0.01) -> tuple[Polling, queue.Queue[Dirty]]:
    told: queue.Queue[Dirty] = queue.Queue()
    return Polling(place, told.put, every_s=every_s, name="notes", clock=SystemClock()), told


def test_what_has_changed_is_told_and_nothing_else() -> None:
    watch, told = watching(place := Place(Dirty(), CHANGED))
    assert watch.start()
    assert told.get(timeout=SOON_S) == CHANGED
    until_asked(place, 5)
    watch.stop()
    assert told.empty()


def test_sight_is_proved_by_answers_alone() -> None:
    watch, _ = watching(place := Place(None, None))
    before = SystemClock().now()
    assert watch.seen_until(before) is None
    watch.start()
    until_asked(place, 4)  # the third is answered by then
    watch.stop()
    seen = watch.seen_until(SystemClock().now())
    assert seen is not None
    assert before <= seen <= SystemClock().now()


def test_where_nothing_was_listed_no_sight_is_claimed() -> None:
    watch, told = watching(place := Place(*[None] * 1000))
    watch.start()
    until_asked(place, 3)
    assert watch.seen_until(SystemClock().now()) is None
    watch.stop()
    assert told.empty()


def test_a_failure_asks_for_a_listing_once_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    away = SourceUnavailable("The database is away.", hint="Start it.", source="notes")
    watch, told = watching(place := Place(away, away, away, CHANGED))
    watch.start()
    assert told.get(timeout=SOON_S) == Dirty({"": Touch.SETTLED})
    assert told.get(timeout=SOON_S) == CHANGED, "it went on, and what had changed was told"
    watch.stop()
    assert [record.getMessage() for record in caplog.records if "database" in record.getMessage()] == [
        f"notes could not be asked what has changed: {away}"
    ]
    assert place.asked >= 4


def test_it_asks_at_once_when_woken() -> None:
    watch, told = watching(Place(CHANGED), every_s=NEVER_S)
    watch.wake()  # before a start it wakes nobody
    watch.start()
    watch.wake()
    assert told.get(timeout=SOON_S) == CHANGED
    watch.stop()
    assert not watch.alive()


def test_one_that_hangs_is_left_behind() -> None:
    hanging, entered = threading.Event(), threading.Event()

    def ask() -> Dirty:
        entered.set()
        hanging.wait(SOON_S)
        return CHANGED

    told: queue.Queue[Dirty] = queue.Queue()
    watch = Polling(ask, told.put, every_s=0.01, name="notes", clock=SystemClock())
    watch.start()
    assert entered.wait(SOON_S)
    watch.stop()
    hanging.set()
    assert watch.restart(), "a new one asks"
    assert told.get(timeout=SOON_S) == CHANGED
    watch.stop()
