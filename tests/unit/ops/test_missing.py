"""What a role says that it lacks, from what its servers and its ledger say."""

from __future__ import annotations

from ingestion.errors import IndexUnavailable
from ingestion.records import Lane
from ops.roles.missing import KEPT_S, FirstListings, Missing
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
