"""What is promised of a source, and the arithmetic of how far it was kept. Pure: the time arrives as an
argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Objective:
    """This share of a source's changes is searchable within so many seconds, over so many days; of its
    deletions, no search shows them any more within so many."""

    share: float = 0.99
    within_s: float = 60.0
    deletions_within_s: float = 5.0
    over_days: int = 30

    def limit_s(self, kind: str) -> float:
        """What a change or a deletion may take."""
        return self.deletions_within_s if kind == "deletion" else self.within_s
