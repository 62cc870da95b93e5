"""Where the time of one search goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from ingestion.clock import Clock
from retrieval.answers import Timings

Part = Literal["embed", "index", "fence", "wait"]


class Stopwatch:
    """Runs from its making; one thread uses it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._spent_s: dict[Part, float] = dict.fromkeys(("embed", "index", "fence", "wait"), 0.0)

    @contextlib.contextmanager
    def during(self, part: Part) -> Iterator[None]:
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self._spent_s[part] += self._clock.monotonic() - started

    def elapsed_s(self) -> float:
        return self._clock.monotonic() - self._started

    def timings(self) -> Timings:
        spent_s = self._spent_s
        return Timings(
            self.elapsed_s(), spent_s["embed"], spent_s["index"], spent_s["fence"], spent_s["wait"]
        )
