"""Complete listings from threads of this process: asked for, periodic, and again where one failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError

log = logging.getLogger("headwater.listing")

AGAIN_S = 2.0  # after a listing that failed


class Lister:
    """A thread for each source, so that a slow mount stands before nobody.

    ``every_s``: seconds between complete listings, by source. ``list_source`` may raise: then it is called
    again soon. Whoever asks while a source is being listed has it listed once more after that.
    """

    def __init__(
        self, list_source: Callable[[str], None], clock: Clock, *, every_s: Mapping[str, float]
    ) -> None:
        self._list_source = list_source
        self._clock = clock
        self._asked = {name: threading.Event() for name in every_s}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, pause_s), name=f"list-{name}", daemon=True)
            for name, pause_s in every_s.items()
        ]

    @property
    def alive(self) -> bool:
        """Whether the thread of every source runs."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def ask(self, name: str) -> None:
        """Have a source listed as soon as possible. Returns at once."""
        self._asked[name].set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Begin no more; one under way may be cut off, and is done again at the next start."""
        self._stopping.set()
        for asked in self._asked.values():
            asked.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self, name: str, every_s: float) -> None:
        asked, pause_s, told = self._asked[name], every_s, ""
        while True:
            asked.wait(pause_s)
            if self._stopping.is_set():
                return
            asked.clear()  # before the listing: what is asked during it comes after it
            pause_s = every_s
            try:
                self._list_source(name)
            except Exception as error:
                if str(error) != told:
                    unexpected = None if isinstance(error, HeadwaterError) else error
                    log.warning("%s could not be listed and will be: %s", name, error, exc_info=unexpected)
                told, pause_s = str(error), min(AGAIN_S, every_s)
            else:
                told = ""
