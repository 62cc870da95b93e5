"""Sends messages about pending documents, and sends again what got lost.

A message carries document ids and a lane, nothing else, and may be lost, doubled or late: the ledger
decides what is really to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.records import Lane

RESEND_S = 30.0  # a message not acted on for this long counts as lost
BATCH = {Lane.FRESH: 32, Lane.BULK: 128}  # documents a message
# Bulk messages on their way at once, or two a thread: a backlog of a million documents floods no queue.
WINDOW = 8
FRESH_LIMIT = 1024
FULL = 256  # messages that nobody has taken yet: more would only say the same again

# A thread that works on an edition beside the live one is to be free again soon.
BATCH_BESIDE = 16

Waiting = Callable[[Lane], int]


class SendMessage(Protocol):
    """How a message is sent. Without an edition it means the one that is live when it is carried out."""

    def __call__(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None: ...


class Dispatcher:
    """Decides what is sent when; how is for ``send_message``.

    Bulk work that does not fill a window is divided among its messages: with a hundred documents in one, a
    thread would read, embed and write them in turn while the others have nothing to do. ``bulk_threads``:
    how many there are. ``waiting``: how many messages of a lane no worker has taken yet.
    """

    def __init__(
        self,
        ledger: Ledger,
        send_message: SendMessage,
        *,
        bulk_threads: int = 1,
        waiting: Waiting = lambda lane: 0,
    ) -> None:
        self._ledger = ledger
        self._send_message = send_message
        self._waiting = waiting
        self._window = max(WINDOW, 2 * bulk_threads)
        self._spread = {Lane.FRESH: 1, Lane.BULK: self._window}

    def send(self, document_ids: Sequence[int]) -> None:
        """Send fresh work at once."""
        for some in _slices(document_ids, BATCH[Lane.FRESH]):
            self._send_message(Lane.FRESH, some)

    def dispatch_beside(self, edition: Edition) -> int:
        """The same for an edition beside the live one, which has the bulk lane alone."""
        if self._ledger.claims.on_their_way(edition, Lane.BULK, resend_s=RESEND_S):
            return 0
        if self._waiting(Lane.BULK) >= FULL:
            return 0
        sent = 0
        for batch in self._ledger.claims.take_due(
            edition,
            Lane.BULK,
            limit=self._window * BATCH_BESIDE,
            batch=BATCH_BESIDE,
            resend_s=RESEND_S,
            spread=self._window,
        ):
            self._send_message(Lane.BULK, batch.document_ids, edition.edition_id)
            sent += len(batch.document_ids)
        return sent

    def ask_to_switch(self, edition: Edition) -> None:
        """A message about no document: whoever carries it out looks whether it is time for the switch.

        Behind what nobody has taken yet, another such message among it, it would only say the same again.
        """
        if self._waiting(Lane.BULK):
            return
        self._send_message(Lane.BULK, (), edition.edition_id)

    def dispatch(self, edition: Edition, lane: Lane) -> int:
        """Send what is pending, due, unclaimed and not on its way; returns the number of documents."""
        if lane is Lane.BULK and self._ledger.claims.on_their_way(edition, lane, resend_s=RESEND_S):
            return 0
        if self._waiting(lane) >= FULL:
            return 0
        limit = FRESH_LIMIT if lane is Lane.FRESH else self._window * BATCH[lane]
        sent = 0
        for batch in self._ledger.claims.take_due(
            edition, lane, limit=limit, batch=BATCH[lane], resend_s=RESEND_S, spread=self._spread[lane]
        ):
            self._send_message(batch.lane, batch.document_ids)
            sent += len(batch.document_ids)
        return sent


def _slices(document_ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(document_ids), size):
        yield document_ids[start : start + size]
