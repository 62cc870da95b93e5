"""How quickly texts are embedded here, kept beside the data for ``headwater status``, which asks no daemon.

Counts what one process embedded since its start. The note is a convenience: where it cannot be written or
read, nothing is known.
"""

from __future__ import annotations

import contextlib
import json
import threading
import weakref
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion.clock import Clock
from retrieval.embedding.json_file import write_json

if TYPE_CHECKING:
    from retrieval.embedding.port import Embedder  # numpy: 0.1 s that reading the note does not need

NAME = "embedding.json"
EVERY_S = 5.0
_SPANS_KEPT = 64  # a call that began before the last 64 pauses counts their time twice


@dataclass(frozen=True, slots=True)
class Measured:
    """``embedder`` describes what embedded: model, runtime, precision. ``refused``: what failed its trial or
    could not be had before it, each with the reason."""

    embedder: str
    texts: int
    texts_per_s: float
    at: float
    refused: tuple[str, ...] = ()


class Measuring:
    """Adds up what a process embeds. Told of batches by any thread, as an endpoint has several under way:
    a second in which there are two counts once."""

    def __init__(self, data: Path, embedder: Embedder, clock: Clock) -> None:
        self._path = data / NAME
        self._embedder = embedder
        self._clock = clock
        self._counting = threading.Lock()
        self._texts = 0
        self._seconds = 0.0
        self._spans: deque[tuple[float, float]] = deque(maxlen=_SPANS_KEPT)
        self.latest = float("-inf")  # when it was last told of one
        self._noted_at = -EVERY_S
        self._noted_texts = 0

    def embedded(self, texts: int, seconds: float) -> None:
        """One batch went through the model, and ended just now. Kept at most every five seconds."""
        with self._counting:
            now = self.latest = self._clock.monotonic()
            self._texts += texts
            self._cover(now - seconds, now)
            if now - self._noted_at >= EVERY_S:
                self._note(now)

    def flush(self) -> None:
        """Keep what the last five seconds added."""
        with self._counting:
            if self._texts > self._noted_texts:
                self._note(self._clock.monotonic())

    def _cover(self, begin: float, end: float) -> None:
        """Count the part of a stretch of time that earlier ones did not cover."""
        self._seconds += end - begin
        while self._spans and self._spans[-1][1] >= begin:
            earlier, until = self._spans.pop()
            self._seconds -= until - max(begin, earlier)
            begin = min(begin, earlier)
        self._spans.append((begin, end))

    def _note(self, now: float) -> None:
        if self._seconds <= 0:
            return
        self._noted_at, self._noted_texts = now, self._texts
        refused: tuple[str, ...] = getattr(self._embedder, "refused", ())  # of the openvino runtime alone
        rate = self._texts / self._seconds
        measured = Measured(self._embedder.description, self._texts, rate, self._clock.now(), refused)
        with contextlib.suppress(OSError):
            write_json(self._path, asdict(measured))


class AllMeasured:
    """A measuring for each embedder of a process: searches may go over to another one. What the note tells is
    the one that embedded last. None is kept here, nor a model with it, once its embedder is let go of."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._data = data
        self._clock = clock
        self._all: weakref.WeakSet[Measuring] = weakref.WeakSet()

    def of(self, embedder: Embedder) -> Measuring:
        """A new one, for the caller to keep."""
        measuring = Measuring(self._data, embedder, self._clock)
        self._all.add(measuring)
        return measuring

    def flush(self) -> None:
        for one in sorted(self._all, key=lambda one: one.latest):
            one.flush()


def last_measured(data: Path) -> Measured | None:
    """What the last process that embedded here found; a damaged note counts as none."""
    try:
        kept = json.loads((data / NAME).read_text())
        refused = tuple(str(one) for one in kept.get("refused", ()))
        return Measured(
            str(kept["embedder"]), int(kept["texts"]), float(kept["texts_per_s"]), float(kept["at"]), refused
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
