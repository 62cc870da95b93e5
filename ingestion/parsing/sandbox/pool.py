"""The children of one process: who parses what, and what a failure costs.

None is started before the first document that needs one. A document that ends its child is tried once
more in a fresh one, so that it does not pay for what an earlier document left behind.
"""

from __future__ import annotations

import os
import threading
import time

from ingestion.errors import DocumentUnparsable, Interrupted, NotIndexable, ParserUnavailable
from ingestion.parsing.sandbox.answers import Nonsense, OutOfMemory, from_answer
from ingestion.parsing.sandbox.limits import Limits
from ingestion.parsing.sandbox.process import Breach, Child, unavailable
from ingestion.records import Parsed

PARSERS = "ingestion.parsing"
LIMITS = Limits()
_URGENT = 3
_URGENT_WAIT_S = 0.2  # as long as a few documents that do not hang


class TakesLong(Exception):
    """Not done within the caller's patience; with the full time it may be."""


class NoRoom(TakesLong):
    """Others that are urgent have every place."""


class Sandbox:
    """Parses documents in children. Safe to call from any number of threads.

    At most one child a processor works for callers who have time; besides them, up to three for those who
    have none: a fourth does not wait for their documents to end, as a thread that waits does nothing else.
    """

    def __init__(self, parsers: str = PARSERS, limits: Limits = LIMITS) -> None:
        """``parsers``: a module with ``load(name)``, imported in the children only."""
        self._parsers = parsers
        self._limits = limits
        self._lock = threading.Lock()
        self._most = os.cpu_count() or 1
        self._slots = threading.Semaphore(self._most)
        self._urgent = threading.Semaphore(_URGENT)
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._closed = False

    def parse(
        self, parser: str, body: bytes, patience_s: float | None = None, *, urgent: bool = False
    ) -> Parsed:
        """What the parser of that name makes of these bytes.

        Raises NotIndexable as the parser does; DocumentUnparsable, which names the limit where one was
        reached; TakesLong where ``patience_s`` is not enough, which is NoRoom where the wait for other urgent
        ones was; ParserUnavailable; Interrupted once closed.
        """
        if not urgent:
            with self._slots:
                return self._parse(parser, body, patience_s)
        if not self._urgent.acquire(timeout=_URGENT_WAIT_S):
            raise NoRoom
        try:
            return self._parse(parser, body, patience_s)
        finally:
            self._urgent.release()

    def close(self) -> None:
        """End every child, also those at work: who waits for one gets Interrupted. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                child.kill()
        for child in idle:
            child.end()

    def _parse(self, parser: str, body: bytes, patience_s: float | None) -> Parsed:
        give_up_at = None if patience_s is None else time.monotonic() + patience_s
        try:
            return self._try(parser, body, give_up_at, fresh=False)
        except Breach:
            pass  # the second time says it
        try:
            return self._try(parser, body, give_up_at, fresh=True)
        except Breach as breach:
            raise DocumentUnparsable(f"{breach}; it was tried twice") from breach

    def _try(self, parser: str, body: bytes, give_up_at: float | None, *, fresh: bool) -> Parsed:
        """One attempt in one child. After a Breach the child is gone."""
        child = self._take(fresh=fresh)
        healthy = False
        try:
            parsed = self._asked(child, parser, body, give_up_at)
            healthy = True
        except (NotIndexable, DocumentUnparsable):
            healthy = True
            raise
        finally:
            self._put_back(child, healthy=healthy)
        return parsed

    def _asked(self, child: Child, parser: str, body: bytes, give_up_at: float | None) -> Parsed:
        wall_s = self._limits.wall_s
        if give_up_at is not None:
            wall_s = min(wall_s, max(0.0, give_up_at - time.monotonic()))
        try:
            return from_answer(*child.ask(parser, body, wall_s))
        except Nonsense:
            raise Breach("its parser answered nonsense") from None
        except OutOfMemory:
            raise Breach(f"it takes more than {self._limits.memory_bytes // 2**20} MiB of memory") from None
        except (Breach, ParserUnavailable):
            self._raise_if_closed()
            if give_up_at is not None and time.monotonic() >= give_up_at:
                raise TakesLong from None
            raise

    def _take(self, *, fresh: bool) -> Child:
        """An idle child that still lives, else a new one. Raises Interrupted and ParserUnavailable."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle and not fresh else None
                if child is None:
                    return self._start()
                if child.alive and not self._closed:
                    self._busy.add(child)
                    return child
            child.end()  # it was idle for long, or was killed by somebody
            self._raise_if_closed()

    def _start(self) -> Child:
        self._raise_if_closed()
        try:
            child = Child(self._parsers, self._limits)
        except OSError as error:
            raise unavailable(error.strerror or type(error).__name__) from error
        self._busy.add(child)
        return child

    def _put_back(self, child: Child, *, healthy: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            keep = healthy and not self._closed and child.documents < self._limits.documents
            if keep and len(self._idle) < self._most:
                self._idle.append(child)
                return
        child.end()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise Interrupted("The process is being stopped.")
