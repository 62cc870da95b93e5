"""Which faults and failures have been told already: each is told once until something goes on again.

A store, a disk or a model that is away stops every document alike, and each of them again at each try.
"""

from __future__ import annotations

from collections.abc import Callable

from workers.outcomes import Outcome, Result

Begins = Callable[[object], bool | None]


class Damping:
    """Remembers what was told of which source and document. Not safe to call from several threads."""

    def __init__(self, begins: Begins = lambda _: None) -> None:
        """``begins``: whether a fault is the first of an outage; None where that is to be found out here."""
        self._begins = begins
        self._faults: set[tuple[str, str]] = set()
        self._failing: dict[int, str] = {}

    def repeats(self, outcome: Outcome) -> bool:
        """Whether this says only what was said already; from now on it was."""
        if outcome.result is Result.FAULT:
            return self._repeats_fault((outcome.source, outcome.detail), self._begins(outcome.fault))
        if outcome.result is Result.FAILED:
            before = self._failing.get(outcome.document_id)
            self._failing[outcome.document_id] = outcome.detail
            return before == outcome.detail
        self._failing.pop(outcome.document_id, None)
        if outcome.result in (Result.PUBLISHED, Result.UNCHANGED):
            self._faults = {fault for fault in self._faults if fault[0] != outcome.source}
        return False

    def _repeats_fault(self, fault: tuple[str, str], begins: bool | None) -> bool:
        if begins is False or (begins is None and fault in self._faults):
            return True
        self._faults.add(fault)
        return False
