"""A worker whose folder is not there, or empty, judges nothing: the watcher of another machine sees it."""

from __future__ import annotations

import logging

import pytest

from ingestion.database import Database
from ingestion.sources.memory import MemorySource
from tests.rig import SOURCE, Rig, ShiftedClock
from workers.outcomes import Result
from workers.sight import Sight


@pytest.fixture
def elsewhere(clock: ShiftedClock) -> MemorySource:
    """The same source, as another machine sees it: the folder that was made for a missing mount."""
    source = MemorySource(SOURCE, clock=clock)
    source.machine = "another"
    return source


@pytest.fixture
def worker(rig: Rig, database: Database, elsewhere: MemorySource, clock: ShiftedClock) -> Rig:
    worker = Rig(database, [elsewhere], clock=clock, watches=False)
    worker.equipment.look()
    return worker


def edited(rig: Rig, source: MemorySource) -> None:
    """Twelve documents that are served, and an edit of one that the watcher saw and nobody has read."""
    for number in range(12):
        source.put(f"{number}.md", b"old words")
    rig.sync()
    source.put("3.md", b"new words")
    rig.look("3.md")


def refresh(worker: Rig, rig: Rig) -> None:
    worker.queue.extend(rig.queue)
    rig.queue.clear()
    worker.work_off()


def asked(rig: Rig) -> bool:
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None
    return state.is_asked_for


@pytest.mark.parametrize("how", ["empty", "missing", "another device"])
def test_an_edit_is_left_to_those_who_see_it(
    rig: Rig,
    worker: Rig,
    source: MemorySource,
    elsewhere: MemorySource,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    edited(rig, source)
    if how == "missing":
        elsewhere.make_unavailable("No such file or directory")
    if how == "another device":
        elsewhere.put("other.md", b"of the disk below")
        elsewhere.machine, elsewhere.device = "", 2
    with caplog.at_level(logging.INFO, logger="headwater.sight"):
        refresh(worker, rig)
        worker.reconciler.absent(elsewhere, ["4.md"])
        worker.work.list_source(SOURCE)
        states = rig.states()
        assert states.pop("3.md") == "pending" and set(states.values()) == {"live"}
        assert {one.result for one in worker.outcomes} <= {Result.FAULT}
        (view,) = rig.ledger.views.documents(state="pending")
        assert view.error is not None and f"folder {elsewhere.location} of source {SOURCE}" in view.error
        assert view.attempts == 0
        assert len(caplog.messages) == 1  # however often it is met
        assert asked(rig)
        rig.sync()
        assert rig.states()["3.md"] == "live" and not asked(rig)


def test_what_is_seen_again_is_judged_again(
    rig: Rig, worker: Rig, source: MemorySource, elsewhere: MemorySource, caplog: pytest.LogCaptureFixture
) -> None:
    edited(rig, source)
    refresh(worker, rig)
    caplog.clear()
    for number in range(12):
        if number != 3:
            elsewhere.put(f"{number}.md", b"old words")
    with caplog.at_level(logging.INFO, logger="headwater.sight"):
        assert worker.sight is not None
        worker.sight.look_again()
        worker.sight.look_again()
    assert len(caplog.messages) == 1 and "seen again" in caplog.messages[0]
    worker.advance(3.0)
    worker.work.dispatch()
    worker.work_off()
    assert "3.md" not in rig.states()  # gone, on evidence


def test_a_folder_that_is_seen_is_asked_for_nothing(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"words")
    rig.sync()
    assert Sight(rig.ledger).unseen(source) is None
    assert not asked(rig)
