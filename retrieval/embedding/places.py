"""Who of the callers that wait for one embedder is next.

Callers work through many texts slice by slice. Were each slice first come first served, they would take
turns, all come to their ends together, and then all read and parse while no call is under way: with 128
texts each that cost a seventh of the rate. So a caller keeps its place for ``PLACE_TEXTS``, and its next
slice goes before those of callers that came after it; then it goes to the end. Not safe to call from
several threads at once.
"""

from __future__ import annotations

import threading
from itertools import count

PLACE_TEXTS = 128  # what the bulk lane publishes as one


class Places:
    """Numbers for jobs, lower ones first, by the thread that asks."""

    def __init__(self) -> None:
        self._numbers = count()
        self._kept: dict[int, tuple[int, int]] = {}  # number and texts left, by thread

    def take(self, texts: int) -> int:
        """The number of a job of so many texts of this thread."""
        caller = threading.get_ident()
        number, left = self._kept.get(caller, (0, 0))
        if left <= 0:
            number, left = next(self._numbers), PLACE_TEXTS
        self._kept[caller] = (number, left - texts)
        return number
