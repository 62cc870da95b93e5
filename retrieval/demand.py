"""What a question hit and found stale is wanted now: its documents leave the bulk lane.

The answer never waits for this: moving a document takes the ledger's write lock, which a first index
keeps busy, so one thread does it behind the searches' backs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger

log = logging.getLogger(__name__)

ASKED_AGAIN_S = 1.0  # the same document is not moved more often, however often it is hit
_REMEMBERED = 10_000


class Demand:
    """Moves documents to the fresh lane and has them sent. Starts its thread when first used."""

    def __init__(self, ledger: Ledger, clock: Clock, on_demand: Callable[[list[int]], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._on_demand = on_demand
        self._changed = threading.Condition()
        self._wanted: set[int] = set()
        self._asked: dict[int, float] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def want(self, document_ids: Iterable[int]) -> None:
        """Returns at once and raises nothing: a document not moved is published in its turn."""
        now = self._clock.monotonic()
        with self._changed:
            new = {one for one in document_ids if self._asked.get(one, -ASKED_AGAIN_S) <= now - ASKED_AGAIN_S}
            if not new or self._closed:
                return
            if len(self._asked) > _REMEMBERED:
                self._asked.clear()
            self._asked.update(dict.fromkeys(new, now))
            self._wanted |= new
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="demand", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Idempotent. What was not moved yet stays in its lane."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                wanted, self._wanted = sorted(self._wanted), set()
            self._move(wanted)

    def _move(self, document_ids: list[int]) -> None:
        try:
            moved = self._ledger.claims.boost(document_ids)
            if moved:
                self._on_demand(moved)
        except HeadwaterError as error:
            log.warning("documents that a search wants stay in the bulk lane: %s", error)
        except Exception:
            log.exception("documents that a search wants were not sent; the dispatcher sends them")
