"""What workers say of a first index: how far it is, at a pace that suits the logs of many."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingestion.database import Database
from ingestion.records import Lane
from ops.commands.roles import LINE_EVERY_S
from ops.printing import Printing
from ops.progress import PlainMeter
from ops.roles.worker import COUNT_EVERY_S, WorkerRole
from ops.settings import Settings
from tests.unit.ops.books import Books, SetClock
from workers.outcomes import Outcome, Result

DOCUMENTS = 120


class Told:
    """One worker on the books, and what it has said."""

    def __init__(self, books: Books, lane: Lane) -> None:
        self.lines: list[str] = []
        meter = PlainMeter(self.lines.append, books.clock.monotonic, every_s=LINE_EVERY_S)
        self.printing = Printing(meter, books.clock)
        self.role = WorkerRole(
            Settings(),
            books.clock,
            lane=lane,
            concurrency=1,
            listener=self.printing.outcome,
            backlog=self.printing.backlog,
        )
        shop: Any = SimpleNamespace(parts=SimpleNamespace(ledger=books.ledger))
        self.role._workshop = shop

    def published(self, document_id: int) -> None:
        self.printing.outcome(
            Outcome(
                Result.PUBLISHED,
                source="handbook",
                uri=f"{document_id}.md",
                document_id=document_id,
                generation=1,
                lane=Lane.BULK,
                finished_at=0.0,
                new=True,
                chunks=1,
                embedded=1,
            )
        )


@pytest.fixture
def books() -> Books:
    made = Books(Database.in_memory(), SetClock())
    made.configure(handbook=Path("/handbook"))
    return made


def test_two_workers_tell_how_far_a_first_index_is_every_half_minute(books: Books) -> None:
    documents = books.want("handbook", *(f"{number}.md" for number in range(DOCUMENTS)), lane=Lane.BULK)
    workers = [Told(books, Lane.BULK), Told(books, Lane.BULK)]
    for number, document_id in enumerate(documents):
        for one in workers:
            one.role.tell()
        books.publish(document_id)  # a quarter of a second
        workers[number % 2].published(document_id)
        books.clock.at += 0.75
    books.clock.at += COUNT_EVERY_S
    for one in workers:
        one.role.tell()
        *progress, last = one.lines
        assert len(progress) == DOCUMENTS // LINE_EVERY_S - 1
        assert progress[0] == "indexing: 30 of 120 documents (25 %), 1.0 documents/s, 1 min 30 s left"
        assert re.match(r"indexed 60 documents in .*: 60 chunks, 60 embedded", last)


def test_what_stands_still_is_told_once(books: Books) -> None:
    books.want("handbook", "stuck.md", lane=Lane.BULK)
    worker = Told(books, Lane.BULK)
    for _ in range(100):
        worker.role.tell()
        books.clock.at += COUNT_EVERY_S
    assert worker.lines == ["indexing: 0 of 1 document (0 %)"]


def test_a_lane_of_edits_has_a_line_for_each_and_no_progress(books: Books) -> None:
    books.want("handbook", "a.md", lane=Lane.FRESH)
    worker = Told(books, Lane.FRESH)
    for _ in range(20):
        worker.role.tell()
        books.clock.at += COUNT_EVERY_S
    assert worker.lines == []
