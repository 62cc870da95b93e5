"""How often each host may be asked: so many requests at once, with the pause between them that its robots.txt
asks for, and none while it asks to be left alone, or is in trouble. Asks nobody anything.

A host is in trouble after some faults in a row. One request then finds out whether it still is; each that
fails doubles the pause before the next.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingestion.clock import Clock

LONGEST_DELAY_S = 60.0  # between two requests, whatever a robots.txt asks for
LONGEST_ALONE_S = 3600.0  # whatever a Retry-After asks for
TOO_MANY_S = 30.0  # after "too many requests" without a time
TROUBLE = 5  # faults in a row
PAUSE_S = 10.0
LONGEST_PAUSE_S = 600.0
TURN_S = 120.0  # others' requests end earlier


class LeftAlone(Exception):
    """A host is not to be asked now."""


@dataclass(slots=True)
class _Host:
    turns: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_at: float = float("-inf")
    alone_until: float = float("-inf")
    delay_s: float = 0.0
    faults: int = 0
    why: str = ""


class Hosts:
    """Safe to call from several threads. Moments are the clock's ``monotonic``."""

    def __init__(self, per_host: int, clock: Clock) -> None:
        self.per_host = per_host
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextlib.contextmanager
    def turn(self, host: str, patience_s: float) -> Iterator[None]:
        """For the length of one request; waits for the pause to end. Raises LeftAlone where that would take
        longer than the patience, and where the host is not to be asked at all."""
        one = self._of(host)
        if not one.turns.acquire(timeout=TURN_S):
            raise LeftAlone(f"{host} is busy with other requests")
        try:
            pause_s = self._taken_in(one, host, patience_s)
            if pause_s > 0:  # even a sleep of nothing gives the processor away
                time.sleep(pause_s)
            yield
        finally:
            one.turns.release()

    def due(self, host: str) -> float:
        """From when on it may be asked."""
        one = self._of(host)
        return max(one.next_at, one.alone_until)

    def alone_until(self, host: str) -> float:
        """Before this it is not to be asked, whatever waits."""
        return self._of(host).alone_until

    def why(self, host: str) -> str:
        """Why it may not be asked as often as one would like."""
        one = self._of(host)
        asks = f"its robots.txt asks for {one.delay_s:.0f} s between requests"
        return one.why if one.faults or not one.delay_s else asks

    def faults(self, host: str) -> int:
        """How many in a row, up to now."""
        return self._of(host).faults

    def at_once(self, host: str) -> int:
        """How many requests to it make sense at a time."""
        one = self._of(host)
        return 1 if one.delay_s or one.faults >= TROUBLE else self.per_host

    def slow_down(self, host: str, delay_s: float) -> None:
        """From now on there is this pause between two requests; none if it is 0."""
        one = self._of(host)
        with one.lock:
            one.delay_s = min(max(delay_s, 0.0), LONGEST_DELAY_S)
            one.next_at = min(one.next_at, self._clock.monotonic() + one.delay_s)

    def answered(self, host: str) -> None:
        one = self._of(host)
        with one.lock:
            one.faults = 0

    def failed(self, host: str, reason: str, asks_s: float | None = None) -> None:
        """A fault of the host itself. ``asks_s``: how long it asks to be left alone."""
        one = self._of(host)
        with one.lock:
            one.faults += 1
            pause_s = min(asks_s or 0.0, LONGEST_ALONE_S)
            if one.faults >= TROUBLE:
                pause_s = max(pause_s, min(PAUSE_S * 2 ** min(one.faults - TROUBLE, 10), LONGEST_PAUSE_S))
            one.alone_until = max(one.alone_until, self._clock.monotonic() + pause_s)
            one.why = reason

    def _taken_in(self, one: _Host, host: str, patience_s: float) -> float:
        """Seconds until the request may be made, which is reckoned from now on."""
        with one.lock:
            now = self._clock.monotonic()
            at = max(now, one.next_at, one.alone_until)
            if at - now > patience_s or one.alone_until > now:
                raise LeftAlone(f"{host} is left alone for {at - now:.0f} s ({self.why(host)})")
            one.next_at = at + one.delay_s
            return at - now

    def _of(self, host: str) -> _Host:
        with self._lock:
            one = self._hosts.get(host)
            if one is None:
                one = self._hosts[host] = _Host(threading.Semaphore(self.per_host))
            return one
