"""``headwater schedule``: sends what is due and does the upkeep: leases, sweep, history, audit, canary.

Any number may run: each of its tasks is an idempotent claim or a repeatable clean-up in the ledger.
"""

from __future__ import annotations

import contextlib
import logging

from ingestion.clock import Clock
from ops.in_process import Beat, Worker
from ops.roles.health import Health
from ops.roles.missing import Missing
from ops.roles.process import Waiting
from ops.settings import Settings
from ops.singing import Singer, singing
from ops.workshop import Workshop
from workers.app import DISPATCH_QUEUE, UPKEEP_QUEUE
from workers.outcomes import Listener

log = logging.getLogger("headwater.schedule")

# Sweep, trim, audit and the editions take one each at the most: what sends edits again waits for none. Two
# workers would not do: kombu has one event loop a process, and who loses its connection closes it for both.
THREADS = 5


class ScheduleRole:
    """Loads no model."""

    name = "schedule"

    def __init__(self, settings: Settings, clock: Clock, *, listener: Listener) -> None:
        self._settings = settings
        self._clock = clock
        self._listener = listener
        self._workshop: Workshop | None = None
        self._worker: Worker | None = None
        self._beat: Beat | None = None
        self._singers: list[Singer] = []
        self.missing: Missing | None = None

    def open(self, waiting: Waiting, health: Health, undo: contextlib.ExitStack) -> str:
        shop = waiting.until_made(self._opened)
        undo.callback(shop.close)
        self._workshop = shop
        self.missing = shop.missing()
        health.serve(self.missing.reasons, lambda accept: shop.metrics.rendered(accept))
        waiting.until_made(shop.broker.check)
        waiting.until_made(lambda: self._prepare(shop))
        shop.start()
        shop.app.set_default()
        self._worker = Worker(shop.app, [DISPATCH_QUEUE, UPKEEP_QUEUE], THREADS)
        undo.callback(self._worker.stop)
        self._worker.start()
        self._beat = Beat(shop.app)
        undo.callback(self._beat.stop)
        self._beat.start()
        index, metrics = shop.parts.index, shop.metrics
        singers = singing(self._settings, shop.parts.ledger, index, self._clock, metrics)
        self._singers = undo.enter_context(singers)
        return f"broker {shop.broker.shown}"

    def stopping(self) -> None:
        """What it does is short, and is done again by the next one."""

    def alive(self) -> bool:
        threads = (self._worker, self._beat, self._workshop, *self._singers)
        return all(one is not None and one.alive for one in threads)

    def tell(self) -> None:
        """Nothing: it has no end to come near to."""

    def _opened(self) -> Workshop:
        return Workshop(self._settings, self._clock, listener=self._listener, loads=False)

    def _prepare(self, shop: Workshop) -> None:
        parts = shop.parts
        again = parts.ledger.claims.reindex(parts.edition, parts.drafter.pipelines)
        if again:
            log.info("%s documents are indexed again: the parser or the chunker has changed", again)
