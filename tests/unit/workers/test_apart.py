"""Documents that are parsed apart, through the whole flow: what one of them does is its own affair.

Here the document itself says behind its signature what its parser does.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import workers.slow
from ingestion.database import Database
from ingestion.parsing.ocr import make_scans
from ingestion.parsing.sandbox import Limits, NoRoom, Sandbox, TakesLong
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from retrieval.search import SearchRequest
from tests.documents import pdf, photographed
from tests.rig import Rig, ShiftedClock
from tests.servers.tesseract import tesseract
from workers.drafting import Drafter
from workers.outcomes import Result
from workers.refresh import SLOW_DELAY_S
from workers.slow import Slow

MISBEHAVING = "tests.unit.ingestion.parsing.sandbox.misbehaving"


@pytest.fixture
def apart(database: Database, source: MemorySource, clock: ShiftedClock) -> Iterator[Rig]:
    sandbox = Sandbox(MISBEHAVING, Limits(wall_s=1.0))
    rig = Rig(database, [source], clock=clock, sandbox=sandbox)
    rig.recover()
    yield rig
    sandbox.close()


def test_a_parser_that_crashes_costs_one_document(apart: Rig, source: MemorySource) -> None:
    source.put("a.md", b"well")
    source.put("bad.pdf", b"%PDF-crash")
    source.put("good.pdf", b"%PDF-echo")
    apart.sync()
    assert apart.states() == {"a.md": "live", "bad.pdf": "failed", "good.pdf": "live"}
    (dead,) = [view for view in apart.ledger.views.documents() if view.state == "failed"]
    assert dead.error is not None
    assert "Could not read bad.pdf as PDF: its parser crashed (SIGSEGV); it was tried twice." in dead.error


def test_a_place_reaches_the_one_who_asks(apart: Rig, source: MemorySource) -> None:
    source.put("good.pdf", b"%PDF-echo")
    apart.sync()
    (hit,) = apart.searcher.search(SearchRequest("echo")).hits
    assert (hit.heading_path, hit.place) == (("Top",), "sheet A, row 2")


def test_text_is_published_before_anything_slow_is_begun(
    apart: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.slow, "PATIENCE_S", 0.2)
    source.put("a.pdf", b"%PDF-echo")
    source.put("b.md", b"text")
    apart.sync()
    source.put("a.pdf", b"%PDF-sleep")
    source.put("b.md", b"another text")
    apart.scan()
    apart.queue.clear()
    apart.forget_outcomes()
    apart.work.refresh(list(apart.document_ids().values()), Lane.FRESH)
    told = [(one.uri, one.result) for one in apart.outcomes]
    assert told == [("b.md", Result.PUBLISHED), ("a.pdf", Result.DEFERRED)]


def test_an_edit_that_is_slow_to_parse_goes_on_in_the_bulk_lane(
    apart: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.slow, "PATIENCE_S", 0.2)
    source.put("a.pdf", b"%PDF-echo")
    apart.sync()
    source.put("a.pdf", b"%PDF-sleep")
    apart.scan()
    apart.queue.clear()
    apart.forget_outcomes()
    apart.work.refresh(list(apart.document_ids().values()), Lane.FRESH)
    assert [(one.uri, one.result) for one in apart.outcomes] == [("a.pdf", Result.DEFERRED)]
    assert {lane for lane, _ in apart.queue} == {Lane.BULK}
    apart.work_off()
    assert apart.states() == {"a.pdf": "failed"}
    assert [passage[-1] for passage in apart.passages()] == ["%PDF-echo"]  # the last good revision


def test_what_hangs_in_bulk_work_comes_again_by_itself_and_last(
    apart: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.slow, "PATIENCE_S", 0.2)
    for name in ("a", "b"):
        source.put(f"{name}.pdf", b"%PDF-sleep")
    source.put("c.pdf", b"%PDF-echo")
    apart.scan()
    apart.work_off()
    assert apart.states() == {"a.pdf": "pending", "b.pdf": "pending", "c.pdf": "live"}
    apart.advance(SLOW_DELAY_S + 1.0)
    apart.work.dispatch()
    assert sorted(len(ids) for _, ids in apart.queue) == [1, 1]
    apart.work_off()
    assert apart.states() == {"a.pdf": "failed", "b.pdf": "failed", "c.pdf": "live"}


def test_one_at_a_time_gets_its_full_time() -> None:
    slow = Slow()
    for number in (1, 2):
        with pytest.raises(TakesLong), slow.turn(number, urgent=False) as patience_s:
            assert patience_s == workers.slow.PATIENCE_S
            raise TakesLong
    with slow.turn(1, urgent=False) as patience_s:
        assert patience_s is None
        with pytest.raises(TakesLong), slow.turn(2, urgent=False):
            raise AssertionError("it is the other's turn")
        with slow.turn(2, urgent=True) as patience_s:
            assert patience_s == workers.slow.PATIENCE_S
        with slow.turn(3, urgent=False) as patience_s:
            assert patience_s == workers.slow.PATIENCE_S
    assert 1 not in slow
    with slow.turn(2, urgent=False) as patience_s:
        assert patience_s is None


def test_who_found_no_room_is_not_called_slow() -> None:
    slow = Slow()
    with pytest.raises(NoRoom), slow.turn(1, urgent=True):
        raise NoRoom
    assert 1 not in slow


def test_scanned_documents_are_read_once_ocr_is_switched_on(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    tesseract()
    source.put("scan.pdf", photographed(pdf([[("Leave", ["Employees have thirty days of leave."])]])))
    source.put("note.md", b"text")
    before = Rig(database, [source], clock=clock)
    before.recover()
    before.sync()
    assert before.states() == {"note.md": "live", "scan.pdf": "skipped"}
    before.sandbox.close()

    scans = make_scans("eng")
    sandbox = Sandbox()
    inner = before.embedder.inner
    drafter = Drafter(inner.max_tokens, inner.count_tokens, clock, sandbox=sandbox, scans=scans)
    after = Rig(database, [source], clock=clock, drafter=drafter, sandbox=sandbox)
    after.recover()
    after.forget_outcomes()
    after.work.dispatch()
    after.work_off()
    assert [one.uri for one in after.outcomes] == ["scan.pdf"]
    assert after.states() == {"note.md": "live", "scan.pdf": "live"}
    (hit,) = after.searcher.search(SearchRequest("thirty days of leave", top_k=1)).hits
    assert (hit.uri, hit.place) == ("scan.pdf", "page 1")
    scans.sandbox.close()
    sandbox.close()


def test_text_starts_no_process(apart: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "parse", None)
    for name in ("a.md", "a.txt", "a.html", "a.rst", "a.py"):
        source.put(name, b"text")
    apart.sync()
    assert set(apart.states().values()) == {"live"}
