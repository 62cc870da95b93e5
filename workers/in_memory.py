"""The in-process broker: kombu's in-memory transport, woken instead of looking again and again.

Kombu's own sleeps between two looks into its queues, because most of what it stands for cannot call back.
Here everyone lives in one process, so a consumer sleeps until there is something for it. A message that took
12 ms at fifty looks a second, and a part of a core while nothing happened, takes less than one and nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from kombu.transport import memory


class _Doorbell:
    """Rung when a consumer may have something to do. One for all queues: there are four consumers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.rung = 0  # how often
        self.sent_away = 0  # how often that meant: stop waiting

    def ring(self, *, send_away: bool = False) -> None:
        with self._changed:
            self.rung += 1
            self.sent_away += send_away
            self._changed.notify_all()

    def wait(self, heard: int, timeout_s: float | None) -> None:
        """Until it has been rung since it had been ``heard`` times."""
        with self._changed:
            self._changed.wait_for(lambda: self.rung != heard, timeout_s)


_doorbell = _Doorbell()  # of the process, as kombu's in-memory queues are


def end_waits() -> None:
    """Let every consumer that waits for a message go on without one: its worker may be closing."""
    _doorbell.ring(send_away=True)


class Channel(memory.Channel):
    """Rings for each message, and for each one done: a consumer that holds all it may can take another."""

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        _doorbell.ring()

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        super().basic_ack(delivery_tag, multiple=multiple)
        _doorbell.ring()

    def basic_reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        super().basic_reject(delivery_tag, requeue=requeue)
        _doorbell.ring()


class Transport(memory.Transport):
    """As ``memory://``, and sharing its queues."""

    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        """Deliver one message. Raises TimeoutError when none has come within ``timeout`` seconds, or
        ``end_waits`` was called."""
        ends = None if timeout is None else time.monotonic() + timeout
        sent_away = _doorbell.sent_away
        while True:
            heard = _doorbell.rung  # before the look: what comes during it is not slept through
            try:
                super().drain_events(connection, timeout=0, **options)
                return
            except TimeoutError:
                remaining = None if ends is None else ends - time.monotonic()
                if _doorbell.sent_away != sent_away or (remaining is not None and remaining <= 0):
                    raise
                _doorbell.wait(heard, remaining)
