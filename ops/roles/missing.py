"""What a role that has opened lacks now: which server does not answer, and what was never indexed yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from retrieval.index.port import Index
from workers.wholeness import require_most

KEPT_S = 1.0  # an answer is good for so long, however many ask
COUNTED_FOR_S = 30.0  # what is deleted leaves the index later than that

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


class IndexHolds:
    """A check: the index holds most of what searches may return of the live edition.

    What was marked for repair counts: until it is made again, it is not found.
    """

    def __init__(self, ledger: Ledger, index: Index, edition: Callable[[], Edition], clock: Clock) -> None:
        self._ledger = ledger
        self._index = index
        self._edition = edition
        self._clock = clock
        self._counted: tuple[Edition, int, float] | None = None

    def __call__(self) -> None:
        """Raises IndexUnavailable, with what is lost."""
        edition = self._edition()
        require_most(self._index, edition, self._live(edition))

    def _live(self, edition: Edition) -> int:
        """At most ``COUNTED_FOR_S`` old: a million rows are not counted by each who asks."""
        now = self._clock.monotonic()
        if self._counted is None or self._counted[0] != edition or now - self._counted[2] >= COUNTED_FOR_S:
            self._counted = edition, self._ledger.audits.count_live(edition), now
        return self._counted[1]


class FirstListings:
    """Whether the sources are in service, and what they held when they were first listed is indexed, or a
    dead letter.

    Once that is so it stays so: what is pending later has a revision that answers.
    """

    def __init__(self, ledger: Ledger, sources: Iterable[str]) -> None:
        self._ledger = ledger
        self._sources = list(sources)
        self._open = set(self._sources)
        self._held: dict[str, int] = {}  # up to what generation the first listing found its documents

    def reasons(self) -> list[str]:
        """One for each source that is not there. Raises LedgerUnavailable."""
        states = {state.name: state for state in self._ledger.sources.all() if state.active}
        found: list[str] = []
        for name in self._sources:
            state = states.get(name)
            if state is None:
                found.append(
                    f"{name}: it is not in service; headwater watch, with it in its settings, puts it there"
                )
            elif name not in self._open:
                continue
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
