"""How many texts a request holds: what the settings say, or less where the endpoint takes less. Pure."""

from __future__ import annotations

import threading
from collections import Counter

FIRST_ANSWERS = 32
MOST_ANSWERS = 4096
FAILED_BATCHES = 3  # fewer are chance: one request in twenty fails at a provider that has a bad day
_LEAST_PATIENCE = FIRST_ANSWERS // 2  # before anything was too large


class BatchSize:
    """Halved when a request was too large, doubled again after a while. Safe to use from any thread.

    What an endpoint takes may pass: it was short of memory, or another model was loaded. Each time that more
    was refused again, twice as many answers are waited for before the next try; half as many for every
    ``FIRST_ANSWERS`` answers to requests of a size that was tried again.
    """

    def __init__(self, most: int) -> None:
        self.texts = most
        self._most = most
        self._answers = 0  # in a row, to requests of this size
        self._patience = _LEAST_PATIENCE
        self._raised = False
        self._failed: Counter[int] = Counter()  # batches by their texts, since one of as many was answered
        self._changing = threading.Lock()

    def too_large(self, taken: int) -> bool:
        """A request was refused, and its parts of at most so many texts were taken; whether that is news."""
        with self._changing:
            return self._lower(taken)

    def failed(self, texts: int, taken: int) -> bool:
        """The endpoint failed at a request of so many texts, and took its parts; whether that is news.

        It may have been chance: ``FAILED_BATCHES`` of that size must fail, with none answered between.
        """
        with self._changing:
            self._failed[texts] += 1
            return self._failed[texts] >= FAILED_BATCHES and self._lower(taken)

    def answered(self, texts: int) -> bool:
        """A request of so many texts was answered; whether larger ones are tried from now on."""
        with self._changing:
            for size in [size for size in self._failed if size <= texts]:
                del self._failed[size]
            if texts < self.texts:
                return False
            self._answers += 1
            if self._raised and self._answers % FIRST_ANSWERS == 0:
                self._patience = max(_LEAST_PATIENCE, self._patience // 2)
            if self.texts == self._most or self._answers < self._patience:
                return False
            self.texts = min(self._most, self.texts * 2)
            self._answers = 0
            self._raised = True
            return True

    def _lower(self, taken: int) -> bool:
        if taken >= self.texts:
            return False
        self.texts = taken
        self._answers = 0
        self._raised = False
        self._failed.clear()
        self._patience = min(MOST_ANSWERS, self._patience * 2)
        return True
