"""The watch of a place where nothing tells of changes: none is lost, and none is seen between listings."""

from __future__ import annotations


class Unwatched:
    """``sees_all``: nothing changes there but through this ledger, so nothing can be missed."""

    blind_reason: str | None = None
    overflows = 0

    def __init__(self, *, sees_all: bool = False) -> None:
        self._sees_all = sees_all

    def seen_until(self, now: float) -> float | None:
        return now if self._sees_all else None

    def start(self) -> bool:
        return True

    def alive(self) -> bool:
        return True

    def restart(self) -> bool:
        return True

    def stop(self) -> None:
        """Nothing is there to be stopped."""
