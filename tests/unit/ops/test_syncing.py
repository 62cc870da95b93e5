"""What a sync waits for, by the clock of the ledger."""

from __future__ import annotations

from ops.syncing import _failing
from tests.unit.ops.books import Books, SetClock
from workers.reconcile import Listed


def test_whether_a_document_waits_for_its_next_attempt_is_by_the_clock_of_the_ledger(
    books: Books, clock: SetClock
) -> None:
    """The ledger of these books is years behind the machine."""
    (document_id,) = books.want("handbook", "a.md")
    listed = [Listed("handbook", books.ledger.fence.generation())]
    assert _failing(books.ledger, listed, 1) == []
    books.ledger.claims.fail(books.claim(document_id), "not now", terminal=False)
    assert [view.uri for view in _failing(books.ledger, listed, 1)] == ["a.md"]
    clock.at += 3600.0
    assert _failing(books.ledger, listed, 1) == []
