"""A watch that asks: every so many seconds, what has changed since the last time.

It never lists. Where asking fails it says once that everything is dirty: the listing that follows fails as
well, with its reason noted, or finds what was missed.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.sources.settling import Dirty, Touch

log = logging.getLogger("headwater.polling")

JITTER = 0.1  # of a pause: what was started together does not ask together for ever
LONGEST_PAUSE_S = 300.0  # after failures, or what is set, if that is longer
STOP_S = 2.0  # what is being asked may hang: its answer is thrown away

Ask = Callable[[], Dirty | None]
"""What has changed since it was last called or everything was last listed; called by one thread. None where
that cannot be told, as nothing was listed yet. May raise; what it would have told is told the next time."""


class Polling:
    """Methods may be called from any thread."""

    blind_reason: str | None = None
    overflows = 0

    def __init__(
        self, ask: Ask, on_dirty: Callable[[Dirty], None], *, every_s: float, name: str, clock: Clock
    ) -> None:
        self._ask = ask
        self._on_dirty = on_dirty
        self._every_s = every_s
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._round: _Round | None = None
        self._seen_until: float | None = None

    def seen_until(self, now: float) -> float | None:
        """When it last began to ask, if that was answered."""
        return self._seen_until

    def start(self) -> bool:
        """Nobody waits for an answer: what cannot be asked now is asked later."""
        with self._lock:
            if self._round is None:
                self._round = _Round(self._run, f"poll-{self._name}")
        return True

    def alive(self) -> bool:
        with self._lock:
            return self._round is not None and self._round.thread.is_alive()

    def restart(self) -> bool:
        self.stop()
        return self.start()

    def stop(self) -> None:
        with self._lock:
            ended, self._round = self._round, None
        if ended is not None:
            ended.stopping.set()
            ended.woken.set()
            ended.thread.join(STOP_S)

    def wake(self) -> None:
        """Ask now: something tells that there is a change."""
        with self._lock:
            if self._round is not None:
                self._round.woken.set()

    def _run(self, this: _Round) -> None:
        failed = 0
        while True:
            this.woken.wait(self._pause_s(failed))
            if this.stopping.is_set():
                return
            this.woken.clear()  # before asking: whatever wakes it meanwhile is asked for again
            began = self._clock.now()
            try:
                dirty = self._ask()
            except Exception as error:
                failed += 1
                if failed == 1 and not this.stopping.is_set():
                    words = "%s could not be asked what has changed: %s"
                    unexpected = None if isinstance(error, HeadwaterError) else error
                    log.warning(words, self._name, error, exc_info=unexpected)
                    self._on_dirty(Dirty({"": Touch.SETTLED}))
            else:
                failed = 0
                if not this.stopping.is_set():
                    self._tell(dirty, began)

    def _tell(self, dirty: Dirty | None, began: float) -> None:
        if dirty is None:
            return
        if dirty.touched or dirty.moved:
            self._on_dirty(dirty)
        self._seen_until = began  # only now: a heartbeat stands behind the hints that wait

    def _pause_s(self, failed: int) -> float:
        longest = max(LONGEST_PAUSE_S, self._every_s)
        pause_s = min(self._every_s * 2.0 ** min(failed, 16), longest)
        return pause_s * (1 + JITTER * (random.random() - 0.5))


class _Round:
    """A thread, from a start to a stop: one that hangs keeps its own word to stop."""

    def __init__(self, run: Callable[[_Round], None], name: str) -> None:
        self.stopping = threading.Event()
        self.woken = threading.Event()
        self.thread = threading.Thread(target=run, args=(self,), name=name, daemon=True)
        self.thread.start()
