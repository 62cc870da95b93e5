"""A watch that asks, and asks at once where the database says a word (LISTEN).

What is said while nobody listens is lost, and found by the next ask: that of a new connection, or of the
pause.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingestion.sources.polling import Polling
from ingestion.sources.sql.outbox import Outbox

log = logging.getLogger("headwater.sql")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LOOK_EVERY_S = 1.0  # whether there is an outbox by now
STOP_S = 1.5


class Listening:
    """Methods may be called from any thread. ``wanted``: whether there is anything to be told of."""

    def __init__(self, polling: Polling, outbox: Outbox, name: str, wanted: Callable[[], bool]) -> None:
        self._polling = polling
        self._outbox = outbox
        self._name = name
        self._wanted = wanted
        self._lock = threading.Lock()
        self._stopping: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def blind_reason(self) -> str | None:
        return self._polling.blind_reason

    @property
    def overflows(self) -> int:
        return self._polling.overflows

    def seen_until(self, now: float) -> float | None:
        return self._polling.seen_until(now)

    def start(self) -> bool:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopping = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stopping,), name=f"listen-{self._name}", daemon=True
                )
                self._thread.start()
        return self._polling.start()

    def alive(self) -> bool:
        with self._lock:
            listens = self._thread is not None and self._thread.is_alive()
        return listens and self._polling.alive()

    def restart(self) -> bool:
        self.stop()
        return self.start()

    def stop(self) -> None:
        with self._lock:
            stopping, thread = self._stopping, self._thread
            self._stopping = self._thread = None
        if stopping is not None and thread is not None:
            stopping.set()
            thread.join(STOP_S)
        self._polling.stop()

    def _run(self, stopping: threading.Event) -> None:
        from psycopg import Error

        pause_s, told = FIRST_PAUSE_S, False

        def tell() -> None:
            nonlocal pause_s, told
            if told:
                log.info("%s: its database is listened to again", self._name)
            pause_s, told = FIRST_PAUSE_S, False
            self._polling.wake()

        while not stopping.is_set():
            if not self._wanted():
                stopping.wait(LOOK_EVERY_S)
                continue
            try:
                self._outbox.listen(tell, stopping)
            except Error as error:
                if not told and not stopping.is_set():
                    words = "%s: its database is not listened to now (%s); it is asked every so many seconds"
                    log.warning(words, self._name, type(error).__name__)
                told = True
                stopping.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
