"""``headwater worker``: claims, embeds and publishes what one lane holds."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.records import Lane
from ops.in_process import FRESH_THREADS, Worker
from ops.roles.health import Health
from ops.roles.missing import Missing
from ops.roles.process import Waiting
from ops.settings import Settings
from ops.wiring import bulk_threads
from ops.workshop import Workshop
from workers.outcomes import Listener
from workers.tracing import UNTRACED, Tracing

COUNT_EVERY_S = 5.0


class WorkerRole:
    """``concurrency`` None: four threads for edits; for bulk work as many as the embedder takes.

    ``backlog`` is told every few seconds how many documents wait for bulk work, whoever will do it.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        lane: Lane,
        concurrency: int | None,
        listener: Listener,
        backlog: Callable[[int], None],
        tracing: Tracing = UNTRACED,
    ) -> None:
        self.name = f"worker, {lane.value} lane"
        self._settings = settings
        self._clock = clock
        self._lane = lane
        self._concurrency = concurrency
        self._listener = listener
        self._backlog = backlog
        self._counted_at = float("-inf")
        self._tracing = tracing
        self._workshop: Workshop | None = None
        self._worker: Worker | None = None
        self.missing: Missing | None = None

    def open(self, waiting: Waiting, health: Health, undo: contextlib.ExitStack) -> str:
        """Consumes nothing before the model is loaded: others may be able to embed already."""
        shop = waiting.until_made(self._opened)
        undo.callback(shop.close)
        self._workshop = shop
        missing = self.missing = shop.missing()
        health.serve(
            lambda: [*missing.reasons(), *self._faults()], lambda accept: shop.metrics.rendered(accept)
        )
        waiting.until_made(shop.broker.check)
        waiting.until_made(shop.loaded, level=logging.INFO)  # as every start does
        shop.start()
        shop.app.set_default()  # pool threads look tasks up there
        threads = self._concurrency or self._usual_threads(shop)
        self._worker = Worker(shop.app, [self._lane.value], threads)
        undo.callback(self._worker.stop)
        self._worker.start()
        return f"{threads} threads, broker {shop.broker.shown}, {shop.parts.embedder.description}"

    def stopping(self) -> None:
        if self._workshop is not None:
            self._workshop.end_attempts()

    def alive(self) -> bool:
        return all(one is not None and one.alive for one in (self._worker, self._workshop))

    def tell(self) -> None:
        """How far a first index is. A lane of edits has a line for each."""
        now = self._clock.monotonic()
        if self._lane is Lane.FRESH or self._workshop is None or now - self._counted_at < COUNT_EVERY_S:
            return
        self._counted_at = now
        with contextlib.suppress(HeadwaterError):  # the ledger is away, which is said elsewhere
            lanes = self._workshop.parts.ledger.views.lanes()
            self._backlog(sum(one.pending for one in lanes if one.lane == self._lane.value))

    def _opened(self) -> Workshop:
        return Workshop(self._settings, self._clock, listener=self._listener, tracing=self._tracing)

    def _usual_threads(self, shop: Workshop) -> int:
        return FRESH_THREADS if self._lane is Lane.FRESH else bulk_threads(shop.parts.embedder)

    def _faults(self) -> list[str]:
        shop = self._workshop
        if shop is None or shop.parts.batcher.ready:
            return []
        return [str(shop.parts.batcher.load_failure or "The embedding model is being loaded.")]
