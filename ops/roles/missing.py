"""What a role that has opened lacks now: which server does not answer, and what was never indexed yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger

KEPT_S = 1.0  # an answer is good for so long, however many ask

Check = Callable[[], object]


class Missing:
    """Asks each server by name. ``checks`` raise a HeadwaterError where one does not answer."""

    def __init__(self, checks: Mapping[str, Check], clock: Clock) -> None:
        self._checks = checks
        self._clock = clock
        self._turn = threading.Lock()
        self._found: dict[str, str] = {}
        self._asked_at = float("-inf")

    def reasons(self) -> list[str]:
        """One for each that is missing."""
        return [f"{name}: {why}" for name, why in self.by_name().items()]

    def by_name(self) -> dict[str, str]:
        """Why each that is missing does not answer; at most ``KEPT_S`` old."""
        with self._turn:
            if self._clock.monotonic() - self._asked_at >= KEPT_S:
                self._found = dict(self._asked())
                self._asked_at = self._clock.monotonic()
            return dict(self._found)

    def _asked(self) -> Iterable[tuple[str, str]]:
        for name, check in self._checks.items():
            try:
                check()
            except HeadwaterError as error:
                yield name, str(error)


class FirstListings:
    """Whether everything that the sources held when they were first listed is indexed, or a dead letter.

    Once it is so it stays so: what is pending later has a revision that answers.
    """

    def __init__(self, ledger: Ledger, sources: Iterable[str]) -> None:
        self._ledger = ledger
        self._open = list(sources)
        self._held: dict[str, int] = {}  # up to what generation the first listing found its documents

    def reasons(self) -> list[str]:
        """One for each source that is not there yet. Raises LedgerUnavailable."""
        if not self._open:
            return []
        states = {state.name: state for state in self._ledger.sources.all() if state.active}
        found: list[str] = []
        for name in list(self._open):
            state = states.get(name)
            if state is None:
                found.append(f"{name}: no process has taken it up yet; headwater watch does")
            elif state.listed_at is None or state.listing_generation is None:
                found.append(f"{name}: {state.fault or 'it is still to be listed for the first time'}")
            elif number := self._never_live(name):
                found.append(f"{name}: {number} documents of its listing are still to be indexed")
            else:
                self._open.remove(name)
        return found

    def _never_live(self, name: str) -> int:
        """The generation of a listing is that of its beginning; what it found has later ones."""
        if name not in self._held:
            self._held[name] = self._ledger.fence.generation()
        return self._ledger.views.never_live(name, self._held[name])
