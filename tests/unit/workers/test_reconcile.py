"""Lanes, renames of what is pending, racy looks, and what a listing found that no event told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import LedgerUnavailable
from ingestion.ledger.documents import Change
from ingestion.records import Lane, Listing
from ingestion.sources import survey
from ingestion.sources.files import FilesSource
from ingestion.sources.memory import MemorySource
from ingestion.sources.port import SourcePort
from tests.rig import SOURCE, Rig, ShiftedClock
from workers.apart import MOST_REFUSED
from workers.outcomes import Result
from workers.reconcile import BURST, JUST_NOW_S


def put(source: MemorySource, number: int, prefix: str = "") -> None:
    for n in range(number):
        source.put(f"{prefix}{n:04}.md", f"words {prefix} {n}".encode())


def lanes(rig: Rig) -> dict[Lane, int]:
    """Documents by the lane they were sent in, the queue emptied."""
    sent = {lane: sum(len(ids) for one, ids in rig.queue if one is lane) for lane in Lane}
    rig.queue.clear()
    return sent


def test_a_first_listing_is_bulk_work_however_small(rig: Rig, source: MemorySource) -> None:
    put(source, 3)
    rig.scan()
    assert lanes(rig) == {Lane.FRESH: 0, Lane.BULK: 3}
    assert {view.lane for view in rig.ledger.views.documents()} == {"bulk"}


def test_later_documents_and_edits_are_fresh(rig: Rig, source: MemorySource) -> None:
    put(source, 3)
    rig.sync()
    put(source, BURST, "new ")
    source.put("0000.md", b"edited")
    rig.scan()
    assert lanes(rig) == {Lane.FRESH: BURST + 1, Lane.BULK: 0}


def test_a_burst_of_new_documents_is_bulk_and_an_edit_beside_it_is_fresh(
    rig: Rig, source: MemorySource
) -> None:
    put(source, 3)
    rig.sync()
    put(source, BURST + 1, "new ")
    source.put("0000.md", b"edited")
    rig.scan()
    assert lanes(rig) == {Lane.FRESH: 1, Lane.BULK: BURST + 1}


def test_a_rename_of_a_pending_document_is_one_document_in_the_end(rig: Rig, source: MemorySource) -> None:
    put(source, 3)
    rig.sync()
    source.put("0000.md", b"edited")
    rig.scan()
    source.rename("0000.md", "renamed.md")
    rig.look("0000.md", "renamed.md")
    rig.settle()
    assert sorted(rig.states()) == ["0001.md", "0002.md", "renamed.md"]
    assert [text for uri, *_, text in rig.passages() if uri == "renamed.md"] == ["edited"]


def test_a_rename_takes_the_work_under_way_with_it(rig: Rig, source: MemorySource) -> None:
    put(source, 3)
    rig.sync()
    rig.ledger.claims.mark_repair(rig.edition, [rig.document_ids()["0000.md"]])
    (claim,) = rig.ledger.claims.claim(rig.edition, [rig.document_ids()["0000.md"]])
    source.rename("0000.md", "renamed.md")
    rig.look("0000.md", "renamed.md")
    assert rig.ledger.claims.fail(claim, "it is not there", terminal=True) is False
    rig.settle()
    assert rig.states()["renamed.md"] == "live"


@pytest.mark.parametrize("uri", ["0000.md", "new.md"])
def test_a_time_that_came_with_a_file_is_not_when_it_changed_here(
    rig: Rig, source: MemorySource, clock: ShiftedClock, uri: str
) -> None:
    """Moved in, or copied with its times: the watcher saw the place until after that time."""
    put(source, 3)
    rig.sync()
    clock.shift_s += 100.0
    written_at = clock.now()
    clock.shift_s += 100.0
    rig.ledger.sources.heartbeat({SOURCE: clock.now()})
    source.put(uri, b"written elsewhere", changed_at=written_at)
    rig.look(uri)
    (lag,) = rig.ledger.views.lags().values()
    assert lag.oldest_pending is not None
    assert clock.now() - lag.oldest_pending < 50.0
    rig.settle()
    clock.shift_s += 100.0
    source.put(uri, b"written here", changed_at=clock.now() - 60.0)
    rig.look(uri)
    (lag,) = rig.ledger.views.lags().values()
    assert lag.oldest_pending is not None
    assert clock.now() - lag.oldest_pending >= 60.0, "nobody has seen the place since"


def test_what_a_listing_found_and_no_event_told_is_counted(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    put(source, 12)
    rig.sync()
    assert rig.missed == []  # nothing was watched before the first listing
    clock.shift_s += 10.0
    source.put("0000.md", b"edited")
    source.put("new.md", b"new")
    source.delete("0001.md")
    source.rename("0002.md", "renamed.md")
    clock.shift_s += 2 * JUST_NOW_S
    rig.sync()
    assert rig.missed == [(SOURCE, 4)]
    rig.sync()
    assert len(rig.missed) == 1


def test_a_change_that_just_happened_may_still_be_on_its_way_as_an_event(
    rig: Rig, source: MemorySource
) -> None:
    put(source, 3)
    rig.sync()
    source.put("0000.md", b"edited")
    rig.sync()
    assert rig.missed == []


def test_a_racy_look_is_looked_at_again_and_counts_as_nothing_missed(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "GRANULARITY_S", 1.5)  # on a busy machine the first look comes late
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("a.md", "b.md"):
        (root / name).write_text("some words")
    rig = Rig(database, [FilesSource(SOURCE, root, clock=SystemClock())])
    rig.recover()
    rig.sync()
    assert {entry.racy for entry in rig.ledger.documents.entries(SOURCE).values()} == {True}
    ends = time.monotonic() + 10.0
    while any(entry.racy for entry in rig.ledger.documents.entries(SOURCE).values()):
        assert time.monotonic() < ends
        rig.forget_outcomes()
        rig.sync()
        assert rig.outcomes == [], "a mere doubt makes nothing pending"
    assert rig.embedder.texts == []
    assert rig.missed == []
    rig.forget_outcomes()
    rig.sync()
    assert rig.outcomes == []


def test_a_change_behind_a_racy_look_is_found_by_the_next_listing(tmp_path: Path, database: Database) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    path = root / "a.md"
    path.write_text("some words")
    rig = Rig(database, [FilesSource(SOURCE, root, clock=SystemClock())])
    rig.recover()
    rig.sync()
    times = path.stat()
    path.write_text("same words")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    rig.sync()
    assert [text for *_, text in rig.passages()] == ["same words"]


def test_a_listing_that_the_ledger_refused_is_made_up_for(
    rig: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source, 3)
    want = rig.ledger.documents.want

    def away(*_args: object, **_options: object) -> list[int]:
        raise LedgerUnavailable("the disk is full")

    monkeypatch.setattr(rig.ledger.documents, "want", away)
    rig.work.list_source(SOURCE)
    assert rig.states() == {}
    monkeypatch.setattr(rig.ledger.documents, "want", want)
    rig.settle()
    assert set(rig.states().values()) == {"live"}


def test_what_a_listing_saw_too_large_stays_once_somebody_saw_it_shrunk(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    class Late:
        """A source of which a listing arrives only after ``meanwhile``."""

        def __init__(self, inner: SourcePort) -> None:
            self._inner = inner
            self.meanwhile: Callable[[], None] = lambda: None

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def list(self) -> Listing:
            listing = self._inner.list()
            self.meanwhile()
            return listing

    def shrink() -> None:
        source.put("0000.md", b"small again")
        rig.look("0000.md")
        rig.settle()
        rig.forget_outcomes()

    late = Late(source)
    rig = Rig(database, [late], clock=clock)
    rig.recover()
    put(source, 2)
    rig.sync()
    source.put("0000.md", b"x" * (source.max_bytes + 1))
    late.meanwhile = shrink
    rig.scan()
    assert rig.states()["0000.md"] == "live"
    assert rig.results(Result.SKIPPED) == []


def test_a_preview_writes_nothing(rig: Rig, source: MemorySource) -> None:
    put(source, 12)
    rig.sync()
    source.put("0000.md", b"edited")
    source.delete("0001.md")
    source.rename("0002.md", "renamed.md")
    source.put("large.md", b"x" * (source.max_bytes + 1))
    before = rig.ledger.fence.generation(), rig.ledger.views.documents()
    plan = rig.reconciler.preview(source)
    assert [want.change.seen.uri for want in plan.wants] == ["0000.md"]
    assert [(move.entry.uri, move.seen.uri) for move in plan.moves] == [("0002.md", "renamed.md")]
    assert [skip.uri for skip in plan.skips] == ["large.md"]
    assert [entry.uri for entry, _ in plan.absences] == ["0001.md"]
    assert (rig.ledger.fence.generation(), rig.ledger.views.documents()) == before


def test_the_generation_of_a_look_is_met_once_it_is_published(rig: Rig, source: MemorySource) -> None:
    put(source, 3)
    listed = rig.scan()
    assert (listed.wanted, listed.unchanged) == (3, 0)
    assert rig.ledger.fence.behind(listed.generation, [SOURCE]) == 3
    rig.settle()
    assert rig.ledger.fence.behind(listed.generation, [SOURCE]) == 0
    assert rig.scan().unchanged == 3


def test_a_source_that_is_looked_at_by_two_at_once_is_looked_at_once(
    rig: Rig, source: MemorySource, database: Database, clock: ShiftedClock
) -> None:
    """A command and the daemon list the same folder: the second plan was made before the first was done."""
    put(source, 12)
    rig.sync()
    source.put("0000.md", b"edited")
    source.delete("0001.md")
    source.rename("0002.md", "renamed.md")
    other = Rig(database, [source], clock=clock)
    stale = other.reconciler.preview(source)
    rig.sync()
    other.reconciler._carry_out(stale, bulk=False)
    other.settle()
    assert "0001.md" not in rig.states()
    assert rig.states()["renamed.md"] == "live"
    assert rig.embedder.texts.count("edited") == 1
    assert other.embedder.texts == []
    rig.consistent()


def refusing(rig: Rig, monkeypatch: pytest.MonkeyPatch, uris: set[str]) -> None:
    """The ledger meets something unforeseen in each of these documents."""
    want = rig.ledger.documents.want

    def refuse(source: str, changes: Sequence[Change], lane: Lane, *, sent: bool) -> list[int]:
        if uris & {change.seen.uri for change in changes}:
            raise ValueError("unforeseen")
        return want(source, changes, lane, sent=sent)

    monkeypatch.setattr(rig.ledger.documents, "want", refuse)


def test_documents_that_the_ledger_refuses_are_named_and_the_others_written(
    rig: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(source, 40)
    refusing(rig, monkeypatch, {f"{number:04}.md" for number in (0, 7, 8, 9, 39)})
    listed = rig.sync()
    assert len(rig.states()) == 35 and set(rig.states().values()) == {"live"}
    assert listed.fault is not None and "0000.md, 0007.md, 0008.md and 2 more" in listed.fault
    assert len(caplog.records) == 5
    assert rig.sync().fault == listed.fault
    assert len(caplog.records) == 5  # told once


def test_a_listing_that_fails_as_a_whole_is_a_fault_of_its_source(
    rig: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source, MOST_REFUSED + 1)
    refusing(rig, monkeypatch, {f"{number:04}.md" for number in range(MOST_REFUSED + 1)})
    with pytest.raises(ValueError, match="unforeseen"):
        rig.reconciler.list_source(source)
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None and "could not be listed: unexpected ValueError" in (state.fault or "")
    assert state.listed_at is None
