"""Something small that a process does every few seconds, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingestion.errors import HeadwaterError

log = logging.getLogger("headwater.periodic")

CLOSE_S = 2.0


class Periodic:
    """A thread that looks every ``every_s`` seconds from ``start`` on, and outlives whatever ``look`` raises.

    An error of our own is a store that is away, which those tell who need it; any other one is logged, once
    until another follows. ``at_once``: the first look is not waited for.
    """

    def __init__(self, look: Callable[[], None], every_s: float, *, name: str, at_once: bool = False) -> None:
        self._look = look
        self._every_s = every_s
        self._at_once = at_once
        self._told = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Idempotent; it need not have been started. A look under way is waited for, but not long: a server
        may be away."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        if not self._at_once:
            self._closed.wait(self._every_s)
        while not self._closed.is_set():
            self._look_safely()
            self._closed.wait(self._every_s)

    def _look_safely(self) -> None:
        try:
            self._look()
        except HeadwaterError as error:
            log.debug("%s: %s", self._thread.name, error)
        except Exception as error:
            if self._closed.is_set():  # what it looks at may be closed under it
                return
            if repr(error) != self._told:
                log.exception("unexpected error in the thread %s, which goes on", self._thread.name)
            self._told = repr(error)
