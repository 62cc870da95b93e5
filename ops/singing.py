"""Has the canary of each kind sing on a schedule, and tells how it went.

One round at a time in all processes: the ledger says whose it is, and keeps how the last one went for status
and metrics, so that a canary that has fallen silent is seen as well.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, Interrupted
from ingestion.ledger.ledger import Ledger
from ops.canary_sources import canary_sources
from ops.settings import Settings
from retrieval.index.port import Index
from retrieval.search import Searcher
from workers.canary import STEPS, Canary, Round
from workers.perches import FilesPerch, Perch

log = logging.getLogger("headwater.canary")

LOOK_EVERY_S = 5.0  # whether a round of another process is over
MARGIN_S = 15.0  # a step may take so much longer than it should until it is given up
# Of the first round: a model may have to be loaded in all workers, and each may just be starting. Not where
# another process has just had one that succeeded.
FIRST_WITHIN_S = 180.0
END_S = 1.0


class RoundLost(Interrupted):
    """Another process has begun a round meanwhile: this one was away for too long."""


class Observer(Protocol):
    """Who counts."""

    def canary_begins(self, kind: str, steps: Sequence[str]) -> None: ...

    def sang(self, kind: str, went: Round) -> None: ...


@contextlib.contextmanager
def singing(
    settings: Settings, ledger: Ledger, index: Index, clock: Clock, observer: Observer
) -> Iterator[list[Singer]]:
    """A singer for each canary of the settings, at work."""
    with contextlib.ExitStack() as undo:
        singers = []
        for source in canary_sources(settings):
            searcher = Searcher(ledger, index, lambda text, edition: None, clock, on_demand=lambda ids: None)
            undo.callback(searcher.close)
            one = Singer(
                FilesPerch(source.root),
                ledger,
                searcher,
                clock,
                observer,
                every_s=settings.canary.every_s,
                within_s=settings.canary.within_s,
            )
            one.start()
            undo.callback(one.close)
            singers.append(one)
        yield singers


class Singer:
    """A thread for one canary. ``within_s``: what a step may take before it counts as failed."""

    def __init__(
        self,
        perch: Perch,
        ledger: Ledger,
        searcher: Searcher,
        clock: Clock,
        observer: Observer,
        *,
        every_s: float,
        within_s: float,
    ) -> None:
        self._closed = threading.Event()
        self._canary = Canary(perch, ledger, searcher, clock, pause=self._closed.wait)
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._every_s = every_s
        self._within_s = within_s
        self._has_sung = False
        self._patience_s = within_s
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"canary-{perch.kind}", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._observer.canary_begins(self._canary.kind, STEPS)
        self._thread.start()

    def close(self) -> None:
        """A round under way is broken off, and one that hangs is not waited for. Idempotent."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def turn(self) -> float:
        """One round, if it is ours to sing; returns the seconds until it is worth asking again. Raises
        LedgerUnavailable, and Interrupted where it is to stop."""
        kind, began_at = self._canary.kind, self._clock.monotonic()
        is_known = self._has_sung or self._others_sing()
        self._patience_s = self._within_s if is_known else max(self._within_s, FIRST_WITHIN_S)
        number = self._ledger.canaries.begin(kind, every_s=self._every_s, lease_s=self._lease_s)
        if number is None:
            return min(LOOK_EVERY_S, self._every_s)
        try:
            went = self._canary.sing(self._patience_s, lambda: self._keep(number))
        except RoundLost:
            return LOOK_EVERY_S
        except Interrupted:
            self._ledger.canaries.leave(kind, number)
            raise
        self._has_sung = True
        self._observer.sang(kind, went)
        self._tell(went)
        self._ledger.canaries.end(
            kind,
            number,
            took=went.took,
            failed=went.failed,
            detail=went.detail,
            again_s=self._every_s + self._lease_s,
        )
        return max(0.0, self._every_s - (self._clock.monotonic() - began_at))

    def _others_sing(self) -> bool:
        now = self._ledger.now()
        return any(
            one.kind == self._canary.kind
            and one.sings(now)
            and 0 <= now - one.finished_at <= self._every_s + self._within_s + MARGIN_S
            for one in self._ledger.canaries.latest()
        )

    @property
    def _lease_s(self) -> float:
        return self._patience_s + MARGIN_S

    def _keep(self, number: int) -> None:
        try:
            kept = self._ledger.canaries.keep(self._canary.kind, number, lease_s=self._lease_s)
        except HeadwaterError:  # the step itself tells that the ledger is away
            return
        if not kept:
            raise RoundLost("Another process sings now.")

    def _tell(self, went: Round) -> None:
        """Once for each outage, and once for its end."""
        kind, fails = self._canary.kind, went.failed is not None
        if fails and not self._failing:
            log.warning("the canary of %s fails at its %s: %s", kind, went.failed, went.detail)
        elif self._failing and not fails:
            log.info("the canary of %s sings again", kind)
        self._failing = fails

    def _run(self) -> None:
        told = ""
        pause_s = 0.0
        while not self._closed.wait(pause_s):
            try:
                pause_s, told = self.turn(), ""
            except Interrupted:
                return
            except HeadwaterError as error:  # the ledger is away, which is said elsewhere
                log.debug("the canary waits: %s", error)
                pause_s = LOOK_EVERY_S
            except Exception as error:
                if repr(error) != told:
                    log.exception("unexpected error of the canary")
                told, pause_s = repr(error), LOOK_EVERY_S
