"""A look at many pages, each host at its own pace: one that is slow, or in trouble, keeps no other waiting.

The first page of a host is looked at alone, and tells whether the host answers. What cannot be looked at this
time is left to the next, which begins with it: so every page has its turn.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ingestion.clock import Clock
from ingestion.sources.web.hosts import TROUBLE, Hosts
from ingestion.sources.web.urls import place_of

ALONE_S = 10.0  # so long a round waits for a host that wants to be left alone
LONGEST_S = 4 * 3600.0

Look = TypeVar("Look")


@dataclass(slots=True)
class _Queue:
    """The pages of one host."""

    host: str
    pages: deque[str] = field(default_factory=deque)
    busy: int = 0
    known: bool = False  # whether one look has shown how it answers
    failed: bool = False
    queued: bool = True  # whether somebody will come by


class Round(Generic[Look]):
    """One round. ``looks`` has what was looked at, ``left`` why the rest was not. ``patience_s``: so long it
    waits in all for hosts that want a pause between requests."""

    def __init__(
        self,
        pages: Iterable[str],
        hosts: Hosts,
        clock: Clock,
        look: Callable[[str], Look],
        *,
        patience_s: float,
    ) -> None:
        self.looks: dict[str, Look] = {}
        self.left: dict[str, str] = {}
        self._hosts = hosts
        self._clock = clock
        self._look = look
        self._began = clock.monotonic()
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._numbers = itertools.count()
        queues = _by_host(pages)
        self._to_come = sum(len(queue.pages) for queue in queues.values())
        self._at_once = hosts.per_host * len(queues)
        self._ready = deque(queues.values())
        self._waiting: list[tuple[float, int, _Queue]] = []

    def run(self, threads: int) -> None:
        """Returns once nothing is left to do. Raises what a look raised."""
        workers = [
            # Ended with the process: an executor's threads would first do all that waits.
            threading.Thread(target=self._work, name=f"web-{number}", daemon=True)
            for number in range(min(threads, self._to_come, self._at_once))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (taken := self._take()) is not None:
                queue, page = taken
                found = self._look(page)
                self._done(queue, page, found)
        except Exception as error:  # noqa: BLE001 - raised by run
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _take(self) -> tuple[_Queue, str] | None:
        """The next page, once there is one that may be looked at; None at the end."""
        with self._changed:
            while self._to_come and self._error is None:
                now = self._clock.monotonic()
                while self._waiting and self._waiting[0][0] <= now:
                    self._ready.append(heapq.heappop(self._waiting)[2])
                while self._ready:
                    queue = self._ready.popleft()
                    queue.queued = False
                    if (page := self._next_of(queue, now)) is not None:
                        return queue, page
                if self._to_come:
                    self._changed.wait(self._waiting[0][0] - now if self._waiting else None)
            self._changed.notify_all()
            return None

    def _next_of(self, queue: _Queue, now: float) -> str | None:
        if (why := self._refusal(queue, now)) is not None:
            self.left |= dict.fromkeys(queue.pages, why)
            self._to_come -= len(queue.pages)
            queue.pages.clear()
            return None
        if (due := self._hosts.due(queue.host)) > now:
            queue.queued = True
            heapq.heappush(self._waiting, (due, next(self._numbers), queue))
            return None
        page = queue.pages.popleft()
        queue.busy += 1
        self._to_come -= 1
        self._queue_again(queue)
        return page

    def _done(self, queue: _Queue, page: str, found: Look) -> None:
        with self._changed:
            self.looks[page] = found
            queue.busy -= 1
            queue.known = True
            queue.failed |= self._hosts.faults(queue.host) > 0
            self._queue_again(queue)

    def _queue_again(self, queue: _Queue) -> None:
        at_once = self._hosts.at_once(queue.host) if queue.known else 1
        if queue.pages and not queue.queued and queue.busy < at_once:
            queue.queued = True
            self._ready.append(queue)
            self._changed.notify()

    def _refusal(self, queue: _Queue, now: float) -> str | None:
        """Why the rest of its pages is left to the next round."""
        faults, due = self._hosts.faults(queue.host), self._hosts.due(queue.host)
        if queue.failed and faults >= TROUBLE:
            return f"{queue.host} had {faults} faults in a row ({self._hosts.why(queue.host)})"
        if self._hosts.alone_until(queue.host) > now + ALONE_S:
            return f"{queue.host} is left alone for now ({self._hosts.why(queue.host)})"
        if due > max(now, self._began + self._patience_s):
            return f"{queue.host} takes long: {self._hosts.why(queue.host)}"
        if now > self._began + LONGEST_S:
            return f"{queue.host} takes long"
        return None


def _by_host(pages: Iterable[str]) -> Mapping[str, _Queue]:
    queues: dict[str, _Queue] = {}
    for page in pages:
        host = place_of(page)
        queues.setdefault(host, _Queue(host)).pages.append(page)
    return queues
