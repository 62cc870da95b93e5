"""Looks at something for monitors: at most once in a while, and never longer than they wait.

What cannot be looked at is unknown, not as it was: a last known lag of zero would look like health. What
takes longer to look at than they wait is shown as it was found for their last question.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ingestion.clock import Clock

log = logging.getLogger("headwater.exporter")

CACHE_S = 5.0
TIMEOUT_S = 2.0
LATE_S = 30.0  # older ones would make a source look blind that is seen

Found = TypeVar("Found")


class Looked(Generic[Found]):
    """What one look found. Safe to ask from any thread, however often."""

    def __init__(
        self,
        look: Callable[[], Found],
        clock: Clock,
        *,
        what: str,
        cache_s: float = CACHE_S,
        timeout_s: float = TIMEOUT_S,
        quiet: bool = False,
    ) -> None:
        """``what`` is looked at, for the log; ``quiet`` where others tell that it is away."""
        self._look = look
        self._clock = clock
        self._what = what
        self._levels = (logging.DEBUG, logging.DEBUG) if quiet else (logging.WARNING, logging.INFO)
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._looking: threading.Thread | None = None
        self._found: Found | None = None
        self._found_at = float("-inf")
        self._good_for_s = 0.0
        self._failing = False

    def current(self) -> Found | None:
        """What was found lately, or None. A look that takes too long goes on for who asks next: one that did
        is good for half a minute, and one that did not for a few seconds."""
        with self._turn:
            if self._age_s() >= self._cache_s and not self._is_looking():
                self._looking = threading.Thread(target=self._run, name="headwater-gauges", daemon=True)
                self._looking.start()
            if self._looking is not None:
                self._looking.join(self._timeout_s)
            return self._found if self._age_s() < self._good_for_s else None

    def _age_s(self) -> float:
        return self._clock.monotonic() - self._found_at

    def _is_looking(self) -> bool:
        return self._looking is not None and self._looking.is_alive()

    def _run(self) -> None:
        began = self._clock.monotonic()
        try:
            self._found = self._look()
        except Exception as error:  # noqa: BLE001 - monitoring must not fail with what it monitors
            self._good_for_s = 0.0
            if not self._failing:
                log.log(self._levels[0], "%s cannot be read for the metrics: %s", self._what, error)
            self._failing = True
            return
        self._found_at = self._clock.monotonic()
        self._good_for_s = LATE_S if self._found_at - began >= self._timeout_s else self._cache_s
        if self._failing:
            log.log(self._levels[1], "%s can be read for the metrics again", self._what)
        self._failing = False
