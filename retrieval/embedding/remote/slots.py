"""How many requests are on their way together: the provider's limit, and what may go beyond it."""

from __future__ import annotations

import threading


class Slots:
    """Places for ``at_once`` requests. Safe to use from any thread.

    Taken only while a request is on its way: whoever writes one or reads an answer holds no place, so that
    the next request need not wait for that.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, beyond: int = 0, *, timeout_s: float) -> bool:
        """Wait for a place, at most so long; False where none was free in that time.

        An urgent request may take one of so many ``beyond`` the limit.
        """
        with self._changed:
            free = self._changed.wait_for(lambda: self._taken < self._at_once + beyond, timeout_s)
            self._taken += free
            return free

    def give_back(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()
