"""What a role says that it lacks, from what its servers and its ledger say."""

from __future__ import annotations

import numpy as np
import pytest

from ingestion.errors import EditionMissing, IndexUnavailable
from ingestion.records import Lane
from ops.roles.missing import COUNTED_FOR_S, KEPT_S, FirstListings, IndexHolds, Missing
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import IndexedChunk
from tests.unit.ops.books import Books, SetClock


class Server:
    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    def check(self) -> None:
        self.asked += 1
        if self.away:
            raise IndexUnavailable("it does not answer")


def test_what_does_not_answer_is_named_and_asked_at_most_once_a_second(clock: SetClock) -> None:
    ledger, index = Server(), Server()
    missing = Missing({"ledger": ledger.check, "index": index.check}, clock)
    assert missing.reasons() == []
    index.away = True
    assert missing.reasons() == []
    assert (ledger.asked, index.asked) == (1, 1)
    clock.at += KEPT_S
    assert missing.reasons() == missing.reasons() == ["index: it does not answer"]
    assert (ledger.asked, index.asked) == (2, 2)
    index.away = False
    clock.at += KEPT_S
    assert missing.reasons() == []


def test_nothing_is_ready_before_what_was_first_listed_is_indexed(books: Books) -> None:
    first = FirstListings(books.ledger, ["notes", "pay"])
    assert [reason.split(":")[0] for reason in first.reasons()] == ["notes", "pay"]
    books.configure(notes="/notes", pay="/pay")
    books.ledger.sources.set_fault("pay", "it is not mounted")
    assert [reason.split(": ")[1] for reason in first.reasons()] == [
        "it is still to be listed for the first time",
        "it is not mounted",
    ]
    one, two = books.want("notes", "a.md", "b.md", lane=Lane.BULK)
    books.listed("notes")
    books.listed("pay")
    assert [reason.split(" are")[0] for reason in first.reasons()] == ["notes: 2 documents of its listing"]
    books.publish(one)
    books.ledger.claims.fail(books.claim(two), "no", terminal=True)
    assert first.reasons() == []  # a dead letter holds nothing up
    books.want("notes", "c.md")
    books.listed("notes")
    assert first.reasons() == []


def test_an_edit_of_what_is_served_is_no_reason(books: Books) -> None:
    books.configure(notes="/notes")
    (one,) = books.want("notes", "a.md")
    books.publish(one)
    books.clock.at += 5.0
    books.want("notes", "a.md")
    books.listed("notes")
    assert FirstListings(books.ledger, ["notes"]).reasons() == []


def test_what_a_listing_finds_is_newer_than_its_beginning_and_waited_for(books: Books) -> None:
    books.configure(notes="/notes")
    first = FirstListings(books.ledger, ["notes"])
    generation, started_at = books.ledger.sources.begin_listing(), books.clock.at
    (one,) = books.want("notes", "a.md", lane=Lane.BULK)
    books.ledger.sources.finish_listing("notes", generation, started_at=started_at, device=None, fault=None)
    assert [reason.split(" are")[0] for reason in first.reasons()] == ["notes: 1 documents of its listing"]
    books.want("notes", "b.md")  # found later: it does not make the wait longer
    books.publish(one)
    assert first.reasons() == []


def test_a_source_out_of_service_is_a_reason_also_later(books: Books) -> None:
    books.configure(notes="/notes", pay="/pay")
    first = FirstListings(books.ledger, ["notes", "pay"])
    for name in ("notes", "pay"):
        books.listed(name)
    assert first.reasons() == []
    books.configure(notes="/notes")
    assert [reason.split(";")[0] for reason in first.reasons()] == ["pay: it is not in service"]


def test_an_index_that_holds_less_than_half_is_missing(books: Books) -> None:
    """Also once that is marked for repair: it is not found until it is made again."""
    index = MemoryIndex()
    holds = IndexHolds(books.ledger, index, lambda: books.edition, books.clock)
    with pytest.raises(EditionMissing):
        holds()
    index.create(books.edition.name, books.edition.dimensions)
    holds()  # nothing was published yet
    books.configure(notes="/notes")
    for document in books.want("notes", "a.md", "b.md"):
        books.publish(document)
    books.clock.at += COUNTED_FOR_S
    with pytest.raises(IndexUnavailable, match="holds 0 chunks"):
        holds()
    live = [one.chunk_id for one in books.ledger.audits.live(books.edition)]
    books.ledger.publications.mark_missing(live)
    with pytest.raises(IndexUnavailable):
        holds()
    vector = np.ones(books.edition.dimensions, np.float32) / 2.0
    chunks = [IndexedChunk(one, "notes", "d", "", "text", vector) for one in live[len(live) // 2 :]]
    index.upsert(books.edition.name, chunks)
    holds()
