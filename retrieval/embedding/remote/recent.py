"""What an endpoint said lately of which text, so that nothing is sent twice.

A call for many texts may end with an error although most were answered: one of them was refused, or a
later request failed. Whoever then asks again piece by piece gets what was answered from here.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from ingestion.clock import Clock
from ingestion.errors import EmbedderRejected
from retrieval.embedding.remote.dialect import Row

LEAST_ROOM = 16 * 1024 * 1024
REFUSED_FOR_S = 5.0  # whoever asks again piece by piece does so at once; a replay a while later is meant

Said = Row | EmbedderRejected


class RecentAnswers:
    """Vectors and refusals by text, the latest ones. Safe to use from several threads."""

    def __init__(self, clock: Clock, room_bytes: int = 0) -> None:
        """``room_bytes`` for vectors, and no less than LEAST_ROOM; beyond it the oldest are forgotten."""
        self._clock = clock
        self._most_bytes = max(LEAST_ROOM, room_bytes)
        self._bytes = 0
        self._lock = threading.Lock()
        self._vectors: OrderedDict[bytes, Row] = OrderedDict()
        self._refusals: OrderedDict[bytes, tuple[float, EmbedderRejected]] = OrderedDict()

    def get(self, text: str) -> Said | None:
        key = _key(text)
        with self._lock:
            if (row := self._vectors.get(key)) is not None:
                return row
            until, refusal = self._refusals.get(key, (0.0, None))
            return refusal if self._clock.monotonic() < until else None

    def answered(self, text: str, row: Row) -> None:
        with self._lock:
            key = _key(text)
            before = self._vectors.pop(key, None)
            self._bytes += row.nbytes - (before.nbytes if before is not None else 0)
            self._vectors[key] = row
            while self._bytes > self._most_bytes and len(self._vectors) > 1:
                _, oldest = self._vectors.popitem(last=False)
                self._bytes -= oldest.nbytes

    def refused(self, text: str, refusal: EmbedderRejected) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._refusals[_key(text)] = (now + REFUSED_FOR_S, refusal)
            for key in [key for key, (until, _) in self._refusals.items() if until < now]:
                del self._refusals[key]


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
