"""Which sources are in service: those that a running process has in its settings.

One process alone decides with its settings. Of several, each says every few seconds which ones it has, and
one that watches takes out of service what none has had for a minute. So a source leaves with the last process
of a rolling restart, and a role that was started from an old file takes nothing from the others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ops.periodic import Periodic

log = logging.getLogger("headwater.sources")

KEEP_EVERY_S = 10.0
LET_GO_S = 60.0  # others that lost the ledger for a moment, or are started anew, are back by then


def decide_alone(ledger: Ledger, rows: Sequence[SourceRow]) -> None:
    """Only these are served from now on."""
    _tell_out(ledger.sources.configure(rows), "they are not in these settings")


class Keeper(Periodic):
    """Keeps the sources of its process. ``watches``: it puts them into service, and takes out
    what nobody keeps."""

    def __init__(self, ledger: Ledger, names: Sequence[str], clock: Clock, *, watches: bool = False) -> None:
        super().__init__(self.look, KEEP_EVERY_S, name="keeping", at_once=True)
        self._ledger = ledger
        self._names = names
        self._clock = clock
        self._watches = watches
        self._since: float | None = None  # it has kept them without a gap
        self._named: set[str] = set()

    def look(self) -> None:
        """Say what this process has, and end what none has. Raises LedgerUnavailable."""
        try:
            self._ledger.sources.keep(self._names, in_service=self._watches)
        except HeadwaterError:
            self._since = None  # nor could the others: they get as long again
            raise
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if self._watches:
            self._look_at_others(long_enough=now - self._since >= LET_GO_S)

    def _look_at_others(self, *, long_enough: bool) -> None:
        if long_enough:
            out = self._ledger.sources.let_go(self._names, LET_GO_S)
            _tell_out(out, f"no running process has had them in its settings for {LET_GO_S:.0f} s")
        others = {state.name for state in self._ledger.sources.all() if state.active} - set(self._names)
        if new := others - self._named:
            log.warning(
                "in service, but not in these settings: %s. They stay while another process has them, and "
                "are not watched here",
                ", ".join(sorted(new)),
            )
        self._named = others


def _tell_out(names: Sequence[str], why: str) -> None:
    if names:
        log.warning("out of service: %s (%s). Their documents are kept, and not found", ", ".join(names), why)
