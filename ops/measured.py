"""How quickly texts are embedded here, kept beside the data for ``headwater status``, which asks no daemon.

Counts what one process embedded since its start. The note is a convenience: where it cannot be written or
read, nothing is known.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion.clock import Clock

if TYPE_CHECKING:
    from retrieval.embedding.port import Embedder  # numpy: 0.1 s that reading the note does not need

NAME = "embedding.json"
EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """``embedder`` describes what embedded: model, runtime, precision."""

    embedder: str
    texts: int
    texts_per_s: float
    at: float


class Measuring:
    """Adds up what a process embeds; told of every batch by one thread."""

    def __init__(self, data: Path, embedder: Embedder, clock: Clock) -> None:
        self._path = data / NAME
        self._embedder = embedder
        self._clock = clock
        self._texts = 0
        self._seconds = 0.0
        self._noted_at = -EVERY_S

    def embedded(self, texts: int, seconds: float) -> None:
        """One batch went through the model. Kept at most every five seconds."""
        self._texts += texts
        self._seconds += seconds
        now = self._clock.monotonic()
        if self._seconds > 0 and now - self._noted_at >= EVERY_S:
            self._noted_at = now
            rate = self._texts / self._seconds
            self._note(Measured(self._embedder.description, self._texts, rate, self._clock.now()))

    def _note(self, measured: Measured) -> None:
        temporary = self._path.with_name(f"{NAME}.{os.getpid()}.new")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(measured)))
            temporary.replace(self._path)


def last_measured(data: Path) -> Measured | None:
    """What the last process that embedded here found; a damaged note counts as none."""
    try:
        kept = json.loads((data / NAME).read_text())
        return Measured(
            str(kept["embedder"]), int(kept["texts"]), float(kept["texts_per_s"]), float(kept["at"])
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
