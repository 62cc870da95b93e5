"""What an audit comes upon: numbers by kind, a few examples, and what could not be looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ingestion.records import Drift

EXAMPLES = 5  # of each kind


@dataclass(slots=True)
class Findings:
    """``mended``: deleted, made, looked at again, or marked and on its way. ``documents``: how many are
    processed again that were not already waiting for it. ``left``: what was not deleted, and why not."""

    found: Counter[Drift] = field(default_factory=Counter)
    mended: Counter[Drift] = field(default_factory=Counter)
    examples: dict[Drift, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    documents: int = 0
    left: str = ""

    def note(self, kind: Drift, number: int, *, mended: bool) -> None:
        if number:
            self.found[kind] += number
        if number and mended:
            self.mended[kind] += number

    def wants_example(self, kind: Drift) -> bool:
        return len(self.examples.get(kind, [])) < EXAMPLES

    def show(self, kind: Drift, names: Iterable[str]) -> None:
        """Examples for people; those beyond the first few are forgotten."""
        shown = self.examples.setdefault(kind, [])
        shown += [name for name in names if name not in shown]
        del shown[EXAMPLES:]
