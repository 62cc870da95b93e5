"""What keeps requests from being served, told once for each cause, and once when it is over."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger("headwater.api")


class Trouble:
    """Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def met(self, cause: str) -> None:
        """A request was not served."""
        with self._lock:
            known = cause in self._told
            self._told.add(cause)
        if not known:
            log.warning("requests are not served: %s", cause)

    def over(self) -> None:
        """A request was served."""
        if not self._told:  # nearly always: no lock for it
            return
        with self._lock:
            met, self._told = self._told, set()
        if met:
            log.info("requests are served again")
