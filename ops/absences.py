"""What a worker did not find is judged a moment later, where no watcher is at hand to do it.

An editor that unlinks a file and creates it anew leaves a gap in which nothing is there: judged in it, an
edit would be a deletion, and the document gone from the answers until it is published again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ingestion.errors import HeadwaterError

log = logging.getLogger("headwater.absences")

SETTLE_S = 0.5

Judge = Callable[[str, Sequence[str]], None]


class Absences:
    """Passes on what was not there, ``SETTLE_S`` later, from a thread. What is lost with the process is found
    by the next listing."""

    def __init__(self, judge: Judge, *, settle_s: float = SETTLE_S) -> None:
        self._judge = judge
        self._settle_s = settle_s
        self._turn = threading.Lock()
        self._waiting: dict[str, set[str]] = {}
        self._timer: threading.Timer | None = None

    def doubt(self, source: str, uris: Sequence[str]) -> None:
        """Returns at once."""
        with self._turn:
            self._waiting.setdefault(source, set()).update(uris)
            if self._timer is None:
                self._timer = threading.Timer(self._settle_s, self._pass_on)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        with self._turn:
            if self._timer is not None:
                self._timer.cancel()

    def _pass_on(self) -> None:
        with self._turn:
            waiting, self._waiting, self._timer = self._waiting, {}, None
        for source, uris in waiting.items():
            try:
                self._judge(source, sorted(uris))
            except HeadwaterError as error:
                log.warning("%s: what was not there is looked at by the next listing: %s", source, error)
            except Exception:
                log.exception("%s: what was not there is looked at by the next listing", source)
