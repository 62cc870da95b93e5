"""One process at a time lists what is looked at on schedule alone: no server is asked twice because two roles
watch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator

from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.turns import TURN_S
from ops.periodic import Periodic

AGAIN_S = 1.0


class InTurn:
    """Of the sources of one process. ``close`` ends the renewing of what is held."""

    def __init__(self, ledger: Ledger, names: Collection[str]) -> None:
        self._sources = ledger.sources
        self._turns = ledger.turns
        self._names = frozenset(names)
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._renewing = Periodic(self._renew, TURN_S / 3, name="turns")

    def start(self) -> None:
        self._renewing.start()

    def close(self) -> None:
        self._renewing.close()

    @contextlib.contextmanager
    def __call__(self, name: str, stopping: threading.Event) -> Iterator[None]:
        """Waits until it is this process's turn, or until it is to stop. Raises LedgerUnavailable."""
        if name not in self._names:
            yield
            return
        while not self._turns.take(name):
            if stopping.wait(AGAIN_S):
                break
        with self._lock:
            self._held.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(name)
            with contextlib.suppress(HeadwaterError):  # it ends by itself
                self._turns.end([name])

    def looked(self, name: str) -> float | None:
        """When any process last began to list it by its schedule, of those that take turns; None while that
        has not ended, as of one that died."""
        state = self._sources.state(name) if name in self._names else None
        began, due = (state and state.by_schedule) or (None, None)
        return began if began is not None and due is not None and due > began else None

    def _renew(self) -> None:
        with self._lock:
            held = list(self._held)
        for name in held:
            self._turns.take(name)
