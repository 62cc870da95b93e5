"""Complete listings from threads of this process: asked for, on schedule, and again where one failed."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.joining import join_all
from ops.schedules import Schedule

log = logging.getLogger("headwater.listing")

AGAIN_S = 2.0  # after a listing that failed; twice as long after each further one
LONGEST_AGAIN_S = 300.0
JITTER = 0.05  # of a pause, so that what was started together does not look together for ever
LONGEST_JITTER_S = 60.0  # a line of a crontab is an appointment
# A machine that slept, or a clock that was set, is noticed within this.
LOOK_AT_CLOCK_S = 30.0

Note = Callable[[str, float, float], None]
"""Of a source, when a look last began, and when the next one is due: that very moment while it goes on."""
Looked = Callable[[str], float | None]
"""When the last look at a source began, if it ended: whoever looked may have died of it."""
Turn = Callable[[str, threading.Event], AbstractContextManager[None]]
"""Waits until a source is this process's to be listed, or until it is to stop."""


def _at_once(name: str, stopping: threading.Event) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class Lister:
    """A thread for each source: a slow mount stands before nobody, and none is looked at twice at once.

    ``list_source`` may raise: then it is called again soon. Whoever asks while a source is being listed has
    it listed once more after that. Where several processes have the same schedules, ``turn`` and ``looked``
    see to it that one looks, and that it is not done again by the others.
    """

    def __init__(
        self,
        list_source: Callable[[str], None],
        clock: Clock,
        *,
        schedules: Mapping[str, Schedule],
        note: Note = lambda name, last, following: None,
        turn: Turn = _at_once,
        looked: Looked = lambda name: None,
    ) -> None:
        self._list_source = list_source
        self._clock = clock
        self._note = note
        self._turn = turn
        self._looked = looked
        self._asked = {name: threading.Event() for name in schedules}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, schedule), name=f"list-{name}", daemon=True)
            for name, schedule in schedules.items()
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

    def stop(self, timeout_s: float = 1.0) -> None:
        """Begin no more; one under way may be cut off, and is done again at the next start."""
        self._stopping.set()
        for asked in self._asked.values():
            asked.set()
        join_all(self._threads, timeout_s)

    def _run(self, name: str, schedule: Schedule) -> None:
        told, failed, last = "", 0, self._clock.now()  # a start lists everything
        since = last
        while self._waited(name, schedule, failed, last, since):
            was_asked = self._asked[name].is_set()
            self._asked[name].clear()  # before the listing: what is asked during it comes after it
            try:
                with self._turn(name, self._stopping):
                    other = self._looked(name)
                    if self._stopping.is_set():
                        return
                    if not was_asked and other is not None and other > last:  # of another process
                        last = since = other
                        continue
                    last = self._clock.now()
                    with contextlib.suppress(HeadwaterError):
                        self._note(name, last, last)
                    self._list_source(name)
                    with contextlib.suppress(HeadwaterError):  # in turn: others need not look then
                        self._note(name, last, self._clock.now())
            except Exception as error:
                if str(error) != told:
                    unexpected = None if isinstance(error, HeadwaterError) else error
                    log.warning("%s could not be listed and will be: %s", name, error, exc_info=unexpected)
                told, failed = str(error), failed + 1
            else:
                told, failed = "", 0
            since = self._clock.now()

    def _waited(self, name: str, schedule: Schedule, failed: int, last: float, since: float) -> bool:
        """Waits until it is time, reckoned from ``since``, or somebody asks. False once it is to stop."""
        began = self._clock.now()
        due = self._due(schedule, min(since, began), failed)
        with contextlib.suppress(HeadwaterError):  # it is for people
            self._note(name, last, due)
        while not self._asked[name].is_set() and (left_s := due - self._clock.now()) > 0:
            if self._clock.now() < began:  # the clock was set back
                began = self._clock.now()
                due = self._due(schedule, began, failed)
            self._asked[name].wait(min(left_s, LOOK_AT_CLOCK_S))
        return not self._stopping.is_set()

    def _due(self, schedule: Schedule, now: float, failed: int) -> float:
        pause_s = schedule.after(now) - now
        if failed:
            pause_s = min(pause_s, LONGEST_AGAIN_S, AGAIN_S * 2 ** min(failed - 1, 16))
        return now + pause_s + min(pause_s * JITTER, LONGEST_JITTER_S) * random.random()
