"""Documents that are parsed apart, through the whole flow: what one of them does is its own affair.

Here the document itself says behind its signature what its parser does.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import workers.drafting
from ingestion.database import Database
from ingestion.parsing.sandbox import Limits, Sandbox
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from retrieval.search import SearchRequest
from tests.rig import Rig, ShiftedClock
from workers.outcomes import Result

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
    monkeypatch.setattr(workers.drafting, "PATIENCE_S", 0.2)
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
    monkeypatch.setattr(workers.drafting, "PATIENCE_S", 0.2)
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


def test_text_starts_no_process(apart: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "parse", None)
    for name in ("a.md", "a.txt", "a.html", "a.rst", "a.py"):
        source.put(name, b"text")
    apart.sync()
    assert set(apart.states().values()) == {"live"}
