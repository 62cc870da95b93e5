"""A sender that waits for nobody, with a broker that is away when it is told to be.

The real Redis is in ``tests/integration/test_redis_broker.py``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

import pytest

from ingestion.clock import SystemClock
from ingestion.errors import BrokerUnavailable, LedgerUnavailable
from ingestion.records import Lane
from tests.acceptance.roles import until
from workers import sending
from workers.sending import MOST_WAITING, Sender


class Broker:
    """Answers, or does not; keeps what it is sent."""

    def __init__(self) -> None:
        self.away = False
        self.stale = False  # answers, and does not take the next message
        self.sent: list[tuple[Lane, tuple[int, ...]]] = []
        self.editions: list[int | None] = []

    def check(self) -> None:
        if self.away:
            raise BrokerUnavailable("The broker does not answer.")

    def deliver(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None) -> None:
        if self.away or self.stale:
            self.stale = False
            raise ConnectionError
        self.sent.append((lane, tuple(document_ids)))
        self.editions.append(edition_id)


class Told:
    """The ledger, told that messages were dropped; away when it is told to be."""

    def __init__(self) -> None:
        self.times = 0
        self.away = False

    def forget_messages(self) -> None:
        if self.away:
            raise LedgerUnavailable("The ledger is away.")
        self.times += 1


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def sender(broker: Broker, told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    monkeypatch.setattr(sending, "LOOK_S", 0.01)
    made = Sender(broker, broker.deliver, SystemClock(), forget_messages=told.forget_messages)
    made.start()
    yield made
    made.close()


def test_messages_are_sent_in_order(sender: Sender, broker: Broker, told: Told) -> None:
    for number in range(50):
        sender.send(Lane.FRESH, [number])
    until(lambda: len(broker.sent) == 50, "all are sent")
    assert broker.sent == [(Lane.FRESH, (number,)) for number in range(50)]
    assert not told.times


def test_what_is_dropped_is_told_once_the_broker_is_back(
    sender: Sender, broker: Broker, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        broker.away = True
        sender.send(Lane.FRESH, [1])
        until(lambda: sender.away, "it is noticed")
        for number in range(10):
            sender.send(Lane.FRESH, [number])
        assert not told.times
        broker.away = False
        until(lambda: told.times, "the ledger is told")
        assert sender.away is None
    assert [record.message for record in caplog.records] == [
        "The broker does not answer.",
        "the broker answers again",
    ]
    sender.send(Lane.BULK, [7])
    until(lambda: broker.sent == [(Lane.BULK, (7,))], "it goes on, without what was dropped")


def test_one_message_that_was_not_taken_is_told_at_once(sender: Sender, broker: Broker, told: Told) -> None:
    broker.stale = True
    sender.send(Lane.FRESH, [1])
    until(lambda: told.times == 1, "the ledger is told")
    assert sender.away is None


def test_a_ledger_that_is_away_is_told_later(sender: Sender, broker: Broker, told: Told) -> None:
    told.away, broker.away = True, True
    sender.send(Lane.FRESH, [1])
    until(lambda: sender.away, "it is noticed")
    broker.away = False
    until(lambda: sender.away is None, "the broker is back")
    told.away = False
    until(lambda: told.times == 1, "the ledger is told")


def test_more_than_can_wait_is_dropped_and_told(broker: Broker, told: Told) -> None:
    sender = Sender(broker, broker.deliver, SystemClock(), forget_messages=told.forget_messages)
    for number in range(MOST_WAITING + 5):
        sender.send(Lane.FRESH, [number])
    sender.start()
    until(lambda: len(broker.sent) == MOST_WAITING, "what fits is sent")
    sender.close()


def test_what_waits_is_sent_before_the_end(broker: Broker, told: Told) -> None:
    sender = Sender(broker, broker.deliver, SystemClock(), forget_messages=told.forget_messages)
    sender.send(Lane.FRESH, [1])
    sender.send(Lane.BULK, [2], 7)
    sender.start()
    sender.close()
    assert broker.sent == [(Lane.FRESH, (1,)), (Lane.BULK, (2,))]
    assert broker.editions == [None, 7]
    sender.close()


@pytest.mark.parametrize("what", ["check", "forget_messages"])
def test_an_unforeseen_error_ends_no_sender(
    broker: Broker, told: Told, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    broken = [True]

    def failing() -> None:
        if broken:
            raise ZeroDivisionError("nobody thought of it")
        told.forget_messages()

    monkeypatch.setattr(sending, "LOOK_S", 0.01)
    forget = failing if what == "forget_messages" else told.forget_messages
    if what == "check":
        monkeypatch.setattr(broker, "check", failing)
    sender = Sender(broker, broker.deliver, SystemClock(), forget_messages=forget)
    sender.start()
    with caplog.at_level(logging.WARNING):
        broker.stale = True
        sender.send(Lane.FRESH, [1])
        until(lambda: any(record.exc_info for record in caplog.records), "it is logged")
        time.sleep(0.1)  # several looks
        assert sender.alive
        assert sum(record.exc_info is not None for record in caplog.records) == 1
        broken.clear()
        until(lambda: told.times, "the ledger is told of what was dropped")
    until(lambda: sender.away is None, "it goes on")
    sender.send(Lane.FRESH, [2])
    until(lambda: (Lane.FRESH, (2,)) in broker.sent, "and sends")
    sender.close()
    assert not sender.alive
