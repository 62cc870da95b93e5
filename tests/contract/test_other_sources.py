"""Two processes with different sources in their settings, as during a rolling restart, on one ledger."""

from __future__ import annotations

import logging

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from retrieval.index.memory import MemoryIndex
from tests.rig import SOURCE, Rig
from workers.outcomes import Result

NEW = "policies"


@pytest.fixture
def old_and_new(database: Database) -> tuple[Rig, Rig]:
    """The new one was started with one more source, and has listed it. Messages go to the old one."""
    clock = SystemClock()
    notes, policies = MemorySource(SOURCE, clock=clock), MemorySource(NEW, clock=clock)
    for number in range(3):
        notes.put(f"{number}.md", f"notes of {number}".encode())
        policies.put(f"{number}.md", f"policies of {number}".encode())
    index = MemoryIndex()
    old = Rig(database, [notes], index=index)
    old.recover()
    old.scan()
    new = Rig(database, [notes, policies], index=index)
    new.recover()
    new.scan(NEW)
    return old, new


def take_all(rig: Rig, lane: Lane) -> None:
    """A message of every document."""
    ids = [view.document_id for view in rig.ledger.views.documents(limit=100)]
    rig.work.refresh(ids, lane)


@pytest.mark.parametrize("lane", list(Lane))
def test_documents_of_a_source_that_only_others_have_are_left_to_them(
    old_and_new: tuple[Rig, Rig], lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = old_and_new
    with caplog.at_level(logging.WARNING, logger="headwater.sight"):
        take_all(old, lane)
        for _ in range(4):  # more often than a document may fail
            old.advance(30.0)
            take_all(old, lane)
    views = old.ledger.views.documents(limit=100)
    assert {(view.source, view.state, view.attempts) for view in views} == {
        (SOURCE, "live", 0),
        (NEW, "pending", 0),
    }
    (said,) = [record.getMessage() for record in caplog.records]
    assert NEW in said and "[[sources]]" in said
    new.advance(30.0)
    new.settle()
    assert set(new.states().values()) == {"live"} and len(new.passages()) == 6
    assert not old.results(Result.DEAD) and not old.results(Result.FAILED)


def test_who_has_none_of_what_it_took_asks_for_no_more(old_and_new: tuple[Rig, Rig]) -> None:
    """It would take the bulk of a new source time and again, as fast as it can."""
    old, _ = old_and_new
    take_all(old, Lane.BULK)
    old.advance(61.0)  # the messages to the new one count as lost
    old.queue.clear()
    first = next(view for view in old.ledger.views.documents(limit=100) if view.source == NEW)
    old.work.refresh([first.document_id], Lane.BULK)
    assert not old.queue
