"""A lock that is handed on in the order of asking.

``threading.Lock`` lets the thread that releases it take it again before anybody who waits: a thread that
writes bulk transactions back to back would keep a fresh publish out for as long as it likes.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Turns:
    """Mutual exclusion, first come, first served. Asking again while holding it is refused."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False
        self._holder: int | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Holds the lock for the block. Raises RuntimeError in a thread that holds it already."""
        self._take()
        try:
            yield
        finally:
            self._hand_on()

    def _take(self) -> None:
        with self._guard:
            if self._holder == threading.get_ident():
                raise RuntimeError("A transaction was begun within a transaction of the same thread.")
            gate = None
            if self._taken:
                gate = threading.Lock()
                gate.acquire()
                self._waiting.append(gate)
            self._taken = True
        if gate is not None:
            self._wait(gate)
        self._holder = threading.get_ident()

    def _wait(self, gate: threading.Lock) -> None:
        try:
            gate.acquire()
        except BaseException:  # Ctrl-C while waiting: nobody may hand the lock to a thread that is gone
            with self._guard:
                still_waiting = gate in self._waiting
                if still_waiting:
                    self._waiting.remove(gate)
            if not still_waiting:
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        with self._guard:
            self._holder = None
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
