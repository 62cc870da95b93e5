"""One alert for each dependency that is away, whoever in the process meets it, and a line once it is back.

A ledger that is away stops the watcher, the listings, the metrics and every search alike, and its driver says
the same in other words from one moment to the next. So it counts what kind of error is met, not its words. A
dependency is back once it answers and nobody has met a fault of it for a while: one that comes and goes is
one outage, not ten.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from ingestion.clock import Clock
from ingestion.errors import (
    EmbedderUnavailable,
    HeadwaterError,
    IndexUnavailable,
    LedgerUnavailable,
)

log = logging.getLogger("headwater.outages")

QUIET_S = 8.0  # longer than documents wait between two tries
LOOK_S = 1.0
# The broker's are told by what sends.
KINDS: Mapping[type[HeadwaterError], str] = {
    LedgerUnavailable: "ledger",
    IndexUnavailable: "index",
    EmbedderUnavailable: "embedder",
}

StillMissing = Callable[[], Mapping[str, str]]


class Outages(logging.Filter):
    """Of one process. As a filter it lets a warning about a dependency through once for each outage. Safe to
    call from several threads."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._turn = threading.Lock()
        self._met_at: dict[str, float] = {}
        self._closed = threading.Event()
        self._missing: StillMissing = dict

    def begins(self, error: object) -> bool | None:
        """Whether this is the first that is met of an outage; None if it is a fault of no dependency."""
        name = next((name for kind, name in KINDS.items() if isinstance(error, kind)), None)
        if name is None:
            return None
        with self._turn:
            first = name not in self._met_at
            self._met_at[name] = self._clock.monotonic()
        return first

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is to be written: by the errors among what it tells of."""
        told = record.args if isinstance(record.args, tuple) else ()
        if record.levelno < logging.WARNING:
            return True
        return False not in [self.begins(one) for one in told]

    def look_at(self, missing: StillMissing) -> None:
        """``missing``: what does not answer now, by name."""
        self._missing = missing

    def start(self) -> None:
        """Tell when they are over, from a thread."""
        threading.Thread(target=self._run, name="outages", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def look(self) -> None:
        """Tell of what is over."""
        now = self._clock.monotonic()
        with self._turn:
            quiet = [name for name, at in self._met_at.items() if now - at >= QUIET_S]
        if not quiet:
            return
        missing = self._missing()
        for name in quiet:
            if name in missing:
                self._goes_on(name)
            elif self._ends(name, now):
                log.info("the %s can be used again", name)

    def _goes_on(self, name: str) -> None:
        with self._turn:
            self._met_at[name] = self._clock.monotonic()

    def _ends(self, name: str, now: float) -> bool:
        """Unless it was met while it was asked for."""
        with self._turn:
            ends = self._met_at[name] <= now - QUIET_S
            if ends:
                del self._met_at[name]
        return ends

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("unexpected error of what tells of outages")
