"""Who puts sources into service, and who takes them out."""

from __future__ import annotations

import logging

import pytest

from ingestion.errors import LedgerUnavailable
from ingestion.ledger.sources import SourceRow
from ops.keeping import KEEP_EVERY_S, LET_GO_S, Keeper, decide_alone
from tests.unit.ops.books import Books


def active(books: Books) -> list[str]:
    return list(books.ledger.fence.active_sources())


def pass_time(books: Books, seconds: float, *keepers: Keeper) -> None:
    """They look as often as they do."""
    for _ in range(int(seconds / KEEP_EVERY_S)):
        books.clock.at += KEEP_EVERY_S
        for keeper in keepers:
            keeper.look()


def test_a_source_stays_while_any_process_has_it(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    books.configure(notes="/notes", pay="/pay")
    old_api = Keeper(books.ledger, ["notes", "pay"], books.clock)
    watch = Keeper(books.ledger, ["notes"], books.clock, watches=True)
    with caplog.at_level(logging.WARNING):
        pass_time(books, 10 * LET_GO_S, watch, old_api)
        assert active(books) == ["notes", "pay"]
        assert [record.getMessage().split(".")[0] for record in caplog.records] == [
            "in service, but not in these settings: pay"
        ]
        pass_time(books, LET_GO_S, watch)
        assert active(books) == ["notes", "pay"]
        pass_time(books, KEEP_EVERY_S, watch)
    assert active(books) == ["notes"]
    assert "out of service: pay (no running process" in caplog.text


def test_only_who_watches_takes_out_and_puts_in(books: Books) -> None:
    books.configure(notes="/notes", pay="/pay")
    worker = Keeper(books.ledger, ["pay"], books.clock)
    pass_time(books, 10 * LET_GO_S, worker)
    assert active(books) == ["notes", "pay"]
    pass_time(books, 2 * LET_GO_S, Keeper(books.ledger, ["notes"], books.clock, watches=True))
    assert active(books) == ["notes"]
    worker.look()
    assert active(books) == ["notes"]
    Keeper(books.ledger, ["pay"], books.clock, watches=True).look()
    assert active(books) == ["notes", "pay"]


def test_after_an_outage_of_the_ledger_others_get_their_time_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could keep anything meanwhile."""
    books.configure(notes="/notes", pay="/pay")
    watch = Keeper(books.ledger, ["notes"], books.clock, watches=True)
    other = Keeper(books.ledger, ["pay"], books.clock)
    pass_time(books, 2 * LET_GO_S, watch, other)
    with monkeypatch.context() as patch:
        patch.setattr(books.ledger.sources, "keep", _away)
        books.clock.at += 10 * LET_GO_S
        with pytest.raises(LedgerUnavailable):
            watch.look()
    watch.look()
    other.look()
    pass_time(books, 2 * LET_GO_S, watch, other)
    assert active(books) == ["notes", "pay"]


def _away(*_: object, **__: object) -> None:
    raise LedgerUnavailable("It is away.")


def test_one_alone_says_what_it_takes_out(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    books.configure(notes="/notes", pay="/pay")
    decide_alone(books.ledger, [SourceRow("pay", "files", "/pay")])
    assert active(books) == ["pay"]
    assert "out of service: notes (they are not in these settings)" in caplog.text


def test_the_thread_keeps_and_ends(books: Books) -> None:
    books.configure(notes="/notes")
    keeper = Keeper(books.ledger, ["notes"], books.clock)
    keeper.start()
    assert keeper.alive
    keeper.close()
    assert not keeper.alive
