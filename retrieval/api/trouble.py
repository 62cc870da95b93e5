"""What keeps requests from being served, told once for each cause, and once when it is over.

A cause is a kind of error: what is away is described in other words from one moment to the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingestion.errors import HeadwaterError

log = logging.getLogger("headwater.api")

QUIET_S = 5.0  # what comes and goes is one trouble


class Trouble:
    """Safe to call from several threads. ``monotonic``: seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told: set[type[HeadwaterError]] = set()
        self._met_at = 0.0

    def met(self, error: HeadwaterError) -> None:
        """A request was not served."""
        with self._lock:
            known = type(error) in self._told
            self._told.add(type(error))
            self._met_at = self._monotonic()
        if not known:
            log.warning("requests are not served: %s", error)

    def over(self) -> None:
        """A request was served."""
        if not self._told:  # nearly always: no lock for it
            return
        with self._lock:
            if self._monotonic() - self._met_at < QUIET_S:
                return
            met, self._told = self._told, set()
        if met:
            log.info("requests are served again")
