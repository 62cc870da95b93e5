"""A source is listed by one thread at a time, and once more for those who asked meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ingestion.database import Database
from ingestion.errors import LedgerUnavailable
from ingestion.records import Listing
from ingestion.sources.memory import MemorySource
from ingestion.sources.port import SourcePort
from tests.knowledge import eventually
from tests.rig import SOURCE, Rig, ShiftedClock, attempt


class Slow:
    """A source of which each listing waits to be let go."""

    def __init__(self, inner: SourcePort) -> None:
        self._inner = inner
        self.gate = threading.Semaphore(0)
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def list(self) -> Listing:
        self.begun += 1
        assert self.gate.acquire(timeout=10.0)
        return self._inner.list()


@pytest.fixture
def slow(source: MemorySource) -> Slow:
    return Slow(source)


@pytest.fixture
def rig(database: Database, slow: Slow, clock: ShiftedClock) -> Rig:
    rig = Rig(database, [slow], clock=clock)
    rig.recover()
    return rig


def test_asks_during_a_listing_take_no_thread_and_bring_one_more(
    rig: Rig, slow: Slow, source: MemorySource
) -> None:
    listing = threading.Thread(target=rig.work.list_source, args=(SOURCE,))
    listing.start()
    eventually(lambda: slow.begun == 1, deadline_s=5.0)
    for _ in range(5):
        rig.work.list_source(SOURCE)  # returns at once
    slow.gate.release()
    eventually(lambda: slow.begun == 2, deadline_s=5.0)
    source.put("a.md", b"written after the first of them was done")
    slow.gate.release()
    listing.join(5.0)
    assert not listing.is_alive()
    assert slow.begun == 2
    assert set(rig.states()) == {"a.md"}
    slow.gate.release()
    rig.work.list_source(SOURCE)
    assert slow.begun == 3


def test_a_listing_that_fails_makes_way_for_the_next(
    rig: Rig, slow: Slow, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object) -> None:
        raise LedgerUnavailable("the disk is full")

    source.put("a.md", b"text")
    slow.gate.release(3)
    for part in (rig.dispatcher, rig.ledger.sources):
        name = "dispatch" if part is rig.dispatcher else "begin_listing"
        with monkeypatch.context() as patch:
            patch.setattr(part, name, away)
            attempt(lambda: rig.work.list_source(SOURCE))
    begun = slow.begun
    rig.work.dispatch()  # the second one did not list at all
    assert slow.begun == begun + 1
    rig.settle()
    assert rig.states() == {"a.md": "live"}
