"""The in-process broker delivers at once, without anybody looking again and again."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer, Producer

from workers.app import IN_PROCESS, IN_PROCESS_TRANSPORT
from workers.in_memory import end_waits

LONG_S = 60.0  # a wait that only a ring can end in time
SOON_S = 5.0


@pytest.fixture
def queue() -> Queue:
    return Queue(uuid.uuid4().hex)  # the broker's queues are the process's


@pytest.fixture
def sender() -> Iterator[Connection]:
    with connected() as connection:
        yield connection


class Receiver:
    """A consumer in a thread of its own, as a worker's; each drain waits for ``LONG_S``."""

    def __init__(self, queue: Queue, *, prefetch: int = 0) -> None:
        self.messages: list[Any] = []
        self.ends = 0
        self._connection = connected()
        consumer = Consumer(self._connection, [queue], callbacks=[lambda _body, it: self.messages.append(it)])
        consumer.qos(prefetch_count=prefetch)
        consumer.consume()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopping = False
        self._thread.start()

    def until(self, number: int) -> None:
        deadline = time.monotonic() + SOON_S
        while len(self.messages) < number:
            assert time.monotonic() < deadline, f"{len(self.messages)} of {number} messages"
            time.sleep(0.002)

    def stop(self) -> None:
        self._stopping = True
        end_waits()
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._connection.drain_events(timeout=LONG_S)
            except TimeoutError:
                self.ends += 1


def connected() -> Connection:
    return Connection(IN_PROCESS, transport=IN_PROCESS_TRANSPORT)


def send(connection: Connection, queue: Queue, number: int) -> None:
    Producer(connection).publish({"number": number}, routing_key=queue.name, declare=[queue])


def test_a_sleeping_consumer_gets_a_message_at_once(sender: Connection, queue: Queue) -> None:
    receiver = Receiver(queue)
    for number in range(3):
        time.sleep(0.05)  # let it fall asleep
        send(sender, queue, number)
        receiver.until(number + 1)
    assert [message.payload["number"] for message in receiver.messages] == [0, 1, 2]
    receiver.stop()


@pytest.mark.parametrize("done", ["ack", "reject"])
def test_a_consumer_that_holds_all_it_may_goes_on_when_one_is_done(
    sender: Connection, queue: Queue, done: str
) -> None:
    receiver = Receiver(queue, prefetch=1)
    for number in range(3):
        send(sender, queue, number)
    for number in range(1, 4):
        receiver.until(number)
        time.sleep(0.05)
        assert len(receiver.messages) == number
        getattr(receiver.messages[-1], done)()
    receiver.stop()


def test_a_message_handed_back_comes_again(sender: Connection, queue: Queue) -> None:
    receiver = Receiver(queue, prefetch=1)
    send(sender, queue, 7)
    receiver.until(1)
    receiver.messages[0].requeue()
    receiver.until(2)
    assert receiver.messages[1].payload == {"number": 7}
    receiver.stop()


def test_waits_can_be_ended(queue: Queue) -> None:
    receiver = Receiver(queue)
    receiver.stop()
    assert receiver.ends >= 1
    assert receiver.messages == []


def test_a_wait_ends_with_its_time(queue: Queue) -> None:
    with connected() as connection, Consumer(connection, [queue]):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.05)
        assert time.monotonic() - started >= 0.05


def test_nothing_is_lost_between_threads(sender: Connection, queue: Queue) -> None:
    receiver = Receiver(queue)

    def send_some(first: int) -> None:
        with connected() as connection:
            for number in range(first, first + 200):
                send(connection, queue, number)

    threads = [threading.Thread(target=send_some, args=(first,)) for first in (0, 200, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.until(600)
    assert sorted(message.payload["number"] for message in receiver.messages) == list(range(600))
    receiver.stop()
