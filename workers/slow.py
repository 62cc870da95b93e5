"""Which documents are known to take long to parse, and whose turn it is. Shared by the threads of a process.

A document that hangs holds a thread until a limit ends it. So none gets its full time before it has shown
that it takes long, and of those that have, one at a time does: the other threads go on with everything else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ingestion.parsing.sandbox import NoRoom, TakesLong

PATIENCE_S = 5.0


class Slow:
    """What is forgotten at the end of the process costs every such document its patience once more."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._full_time = threading.Lock()

    def __contains__(self, document_id: int) -> bool:
        return document_id in self._known

    @contextmanager
    def turn(self, document_id: int, *, urgent: bool) -> Iterator[float | None]:
        """How long this document may be parsed; None: as long as the limits say, which an edit never may.

        Raises TakesLong where that is another one's turn, and remembers a document for which it is raised.
        """
        if urgent or document_id not in self._known:
            try:
                yield PATIENCE_S
            except NoRoom:
                raise
            except TakesLong:
                self._known.add(document_id)
                raise
        elif self._full_time.acquire(blocking=False):
            try:
                yield None
            finally:
                self._full_time.release()
                self._known.discard(document_id)
        else:
            raise TakesLong
