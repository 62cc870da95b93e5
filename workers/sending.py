"""Sends messages from a thread of its own, so that no watcher and no search ever waits for a broker.

A message is a hint. While the broker is away hints are dropped, and once it is back the ledger is told that
none are on their way: then the dispatcher sends whatever is pending.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.records import Lane

log = logging.getLogger("headwater.broker")

MOST_WAITING = 1000  # messages; more are dropped as if the broker were away
LOOK_S = 2.0  # between two looks whether it answers


class Checked(Protocol):
    """What the thread asks of a broker."""

    def check(self) -> None:
        """Raises BrokerUnavailable if it does not answer."""


Message = tuple[Lane, tuple[int, ...], int | None]
Deliver = Callable[[Lane, Sequence[int], int | None], None]


class Sender:
    """Delivers in the order of sending. ``forget_messages`` tells the ledger that hints were dropped.

    Says once that the broker is away, and once that it is back.
    """

    def __init__(
        self, broker: Checked, deliver: Deliver, clock: Clock, *, forget_messages: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._deliver = deliver
        self._clock = clock
        self._forget_messages = forget_messages
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._dropped = False
        self._closing = False
        self._away: str | None = None
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    @property
    def away(self) -> str | None:
        """Why nothing can be sent now; None if it can."""
        return self._away

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def send(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        """Returns at once and raises nothing."""
        with self._changed:
            if self._away is not None or len(self._waiting) >= MOST_WAITING:
                self._dropped = True
                return
            self._waiting.append((lane, tuple(document_ids), edition_id))
            self._changed.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Send what waits, for a moment. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        looked_at = self._clock.monotonic()
        while True:
            with self._changed:
                if not self._waiting and not self._closing:
                    self._changed.wait(LOOK_S)
                if self._closing and (not self._waiting or self._away is not None):
                    return
                message = self._waiting.popleft() if self._waiting else None
            if message is not None:
                self._attempt(message)
            if self._away is not None or self._clock.monotonic() - looked_at >= LOOK_S:
                self._look()
                looked_at = self._clock.monotonic()

    def _attempt(self, message: Message) -> None:
        try:
            self._deliver(*message)
        except Exception as error:  # noqa: BLE001 - of Celery, kombu, redis or the network: all mean not sent
            log.debug("not sent: %s", type(error).__name__)
            with self._changed:
                self._dropped = True
                self._waiting.clear()
            self._look()

    def _look(self) -> None:
        try:
            self._broker.check()
        except HeadwaterError as fault:
            self._is_away(str(fault))
            return
        except Exception as error:  # noqa: BLE001 - it is logged; without this thread nothing would be sent
            self._unexpected(error)
            self._is_away(f"The broker could not be asked: unexpected {type(error).__name__}.")
            return
        if self._away is not None:
            log.info("the broker answers again")
        with self._changed:
            self._away = None
            dropped = self._dropped
        if dropped:
            self._forget()

    def _is_away(self, reason: str) -> None:
        if self._away is None:
            log.warning("%s", reason)
        with self._changed:
            self._away = reason
            self._dropped = True
            self._waiting.clear()

    def _forget(self) -> None:
        try:
            self._forget_messages()
        except HeadwaterError as fault:
            log.debug("the ledger will be told later: %s", fault)
        except Exception as error:  # noqa: BLE001 - likewise
            self._unexpected(error)
        else:
            self._told = ""
            with self._changed:
                self._dropped = False

    def _unexpected(self, error: Exception) -> None:
        """It is tried again every other second, and told once."""
        if repr(error) != self._told:
            log.error("unexpected error of what sends messages", exc_info=error)
        self._told = repr(error)
