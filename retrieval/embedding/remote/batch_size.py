"""How many texts a request holds: what the settings say, or less where the endpoint takes less. Pure."""

from __future__ import annotations

import threading

FIRST_ANSWERS = 32
MOST_ANSWERS = 4096


class BatchSize:
    """Halved when a request was too large, doubled again after a while. Safe to use from any thread.

    What an endpoint takes may pass: it was short of memory, or another model was loaded. Each time that more
    was refused again, twice as many answers are waited for before the next try.
    """

    def __init__(self, most: int) -> None:
        self.texts = most
        self._most = most
        self._answers = 0  # in a row, to requests of this size
        self._patience = FIRST_ANSWERS // 2
        self._changing = threading.Lock()

    def too_large(self, taken: int) -> bool:
        """A request was refused, and its parts of at most so many texts were taken; whether that is news."""
        with self._changing:
            if taken >= self.texts:
                return False
            self.texts = taken
            self._answers = 0
            self._patience = min(MOST_ANSWERS, self._patience * 2)
            return True

    def answered(self, texts: int) -> bool:
        """A request of so many texts was answered; whether larger ones are tried from now on."""
        if self.texts == self._most or texts < self.texts:
            return False
        with self._changing:
            self._answers += 1
            if self._answers < self._patience:
                return False
            self.texts = min(self._most, self.texts * 2)
            self._answers = 0
            return True
