"""Messages: a window of bulk work, edits at once, and lost ones again."""

from __future__ import annotations

import pytest

from ingestion.errors import LedgerUnavailable
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from tests.rig import Rig, ShiftedClock
from workers.dispatch import BATCH, FRESH_LIMIT, FULL, RESEND_S, WINDOW, Dispatcher
from workers.work import PipelineWork


def put(source: MemorySource, number: int, prefix: str = "") -> None:
    for n in range(number):
        source.put(f"{prefix}{n:05}.md", f"words {prefix} {n}".encode())


def sizes(rig: Rig) -> list[tuple[Lane, int]]:
    return [(lane, len(ids)) for lane, ids in rig.queue]


def test_bulk_work_is_sent_a_window_at_a_time(rig: Rig, source: MemorySource) -> None:
    window = WINDOW * BATCH[Lane.BULK]
    put(source, window + 100)
    rig.scan()
    assert sizes(rig) == [(Lane.BULK, BATCH[Lane.BULK])] * WINDOW
    assert rig.dispatcher.dispatch(rig.edition, Lane.BULK) == 0  # the window is full
    for _ in range(WINDOW - 1):
        lane, ids = rig.queue.popleft()
        rig.work.refresh(ids, lane)
        assert rig.dispatcher.dispatch(rig.edition, Lane.BULK) == 0
    lane, ids = rig.queue.popleft()
    rig.work.refresh(ids, lane)
    # The last of a window brings the next one; what does not fill it is divided.
    assert sizes(rig) == [(Lane.BULK, 13)] * 7 + [(Lane.BULK, 9)]
    rig.work_off()
    assert len(rig.passages()) == window + 100


def spread(rig: Rig, threads: int) -> Dispatcher:
    return Dispatcher(
        rig.ledger, lambda lane, ids, _=None: rig.queue.append((lane, tuple(ids))), bulk_threads=threads
    )


@pytest.mark.parametrize(
    ("documents", "messages"),
    [(3, [1] * 3), (20, [1] * 20), (100, [5] * 20), (1290, [65] * 19 + [55])],
)
def test_every_bulk_thread_gets_its_share(
    rig: Rig, source: MemorySource, documents: int, messages: list[int]
) -> None:
    put(source, documents)
    rig.scan()
    rig.queue.clear()
    rig.ledger.claims.forget_messages()
    assert spread(rig, 10).dispatch(rig.edition, Lane.BULK) == documents
    assert [len(ids) for _, ids in rig.queue] == messages


def test_a_window_has_two_messages_a_thread(rig: Rig, source: MemorySource) -> None:
    put(source, 20 * BATCH[Lane.BULK] + 1)
    rig.scan()
    rig.queue.clear()
    rig.ledger.claims.forget_messages()
    spread(rig, 10).dispatch(rig.edition, Lane.BULK)
    assert sizes(rig) == [(Lane.BULK, BATCH[Lane.BULK])] * 20


def test_fresh_work_is_sent_at_once_in_small_messages(rig: Rig) -> None:
    rig.dispatcher.send(range(70))
    assert sizes(rig) == [(Lane.FRESH, 32), (Lane.FRESH, 32), (Lane.FRESH, 6)]
    rig.dispatcher.send([])
    assert len(rig.queue) == 3


def test_a_lost_message_is_sent_again_when_it_is_overdue(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    put(source, 1)
    rig.sync()
    source.put("00000.md", b"edited")
    rig.scan()
    rig.queue.clear()  # lost
    clock.shift_s += RESEND_S - 5.0
    rig.work.dispatch()
    assert sizes(rig) == []
    clock.shift_s += 10.0
    rig.work.dispatch()
    assert sizes(rig) == [(Lane.FRESH, 1)]
    rig.work_off()
    assert rig.states() == {"00000.md": "live"}


def test_a_lost_window_of_bulk_work_is_sent_again(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    put(source, 300)
    rig.scan()
    rig.queue.clear()
    clock.shift_s += RESEND_S + 1.0
    rig.work.dispatch()
    assert sum(number for _, number in sizes(rig)) == 300


def test_a_backlog_of_fresh_work_is_bounded_too(rig: Rig, source: MemorySource, clock: ShiftedClock) -> None:
    put(source, FRESH_LIMIT + 10)
    rig.sync()
    put(source, FRESH_LIMIT + 10)
    rig.scan()
    rig.queue.clear()
    rig.ledger.claims.forget_messages()
    assert rig.dispatcher.dispatch(rig.edition, Lane.FRESH) == FRESH_LIMIT
    assert rig.dispatcher.dispatch(rig.edition, Lane.FRESH) == 10


def test_what_was_claimed_by_one_that_fell_silent_is_sent_again_alone(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    put(source, 3)
    rig.scan()
    rig.queue.clear()
    ids = list(rig.document_ids().values())
    assert len(rig.ledger.claims.claim(rig.edition, ids)) == 3
    rig.work.dispatch()
    assert sizes(rig) == []
    clock.shift_s += 61.0
    rig.work.dispatch()
    assert sizes(rig) == [(Lane.BULK, 1)] * 3
    rig.work_off()
    assert set(rig.states().values()) == {"live"}


def test_nothing_is_claimed_while_the_model_is_being_loaded(rig: Rig, source: MemorySource) -> None:
    rig.ready = False
    put(source, 3)
    rig.scan()
    rig.work_off()
    assert len(rig.ledger.claims.claim(rig.edition, list(rig.document_ids().values()))) == 3
    rig.ledger.claims.reap(all_leases=True)
    rig.work.dispatch()
    rig.work_off()
    assert set(rig.states().values()) == {"pending"}
    rig.ready = True
    rig.work.dispatch()  # no message has to run out first
    rig.work_off()
    assert set(rig.states().values()) == {"live"}


def test_messages_that_met_no_ledger_are_sent_again_when_it_is_back(
    rig: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object) -> None:
        raise LedgerUnavailable("the disk is full")

    put(source, 1)
    rig.sync()
    source.put("00000.md", b"edited")
    rig.look("00000.md")
    with monkeypatch.context() as patch:
        patch.setattr(rig.ledger.claims, "claim", away)
        rig.work_off()
        patch.setattr(rig.ledger.claims, "forget_messages", away)
        with pytest.raises(LedgerUnavailable):
            rig.work.dispatch()
    rig.work.dispatch()  # the message would count as lost only a minute later
    rig.work_off()
    assert rig.states() == {"00000.md": "live"}


def test_a_queue_that_nobody_serves_gets_no_more(rig: Rig, source: MemorySource) -> None:
    waiting = {Lane.FRESH: FULL, Lane.BULK: 0}
    dispatcher = Dispatcher(
        rig.ledger,
        lambda lane, ids, _=None: rig.queue.append((lane, tuple(ids))),
        waiting=lambda lane: waiting[lane],
    )
    put(source, 3)
    rig.sync()
    for number in range(3):
        source.put(f"{number:05}.md", b"edited")
    rig.scan()
    rig.queue.clear()
    rig.ledger.claims.forget_messages()
    assert dispatcher.dispatch(rig.edition, Lane.FRESH) == 0
    waiting[Lane.FRESH] = FULL - 1
    assert dispatcher.dispatch(rig.edition, Lane.FRESH) == 3


def test_nobody_is_asked_to_switch_behind_what_waits_already(rig: Rig) -> None:
    """It is asked every other second: with no worker the queue would fill with it."""
    sent: list[int | None] = []
    dispatcher = Dispatcher(
        rig.ledger,
        lambda lane, ids, edition=None: sent.append(edition),
        waiting=lambda lane: len(sent),
    )
    dispatcher.ask_to_switch(rig.edition)
    dispatcher.ask_to_switch(rig.edition)
    assert sent == [rig.edition.edition_id]
    sent.clear()
    dispatcher.ask_to_switch(rig.edition)
    assert sent == [rig.edition.edition_id]


def test_what_a_broker_has_lost_is_sent_again_at_once(rig: Rig, source: MemorySource) -> None:
    lost = [False]
    work = PipelineWork(
        rig.ledger,
        rig.equipment,
        lambda _: rig.refresher,
        rig.dispatcher,
        rig.builder,
        rig.upkeep,
        rig.reconciler,
        rig.sources,
        rig.clock,
        lost_messages=lambda: bool(lost) and lost.pop(),
    )
    put(source, 3)
    rig.scan()
    rig.queue.clear()  # as an emptied broker has it
    work.dispatch()
    assert not rig.queue  # they count as on their way
    lost.append(True)
    work.dispatch()
    assert sum(len(ids) for _, ids in rig.queue) == 3
