"""Writing many at once, and apart where the ledger refuses one of them: no document stops the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from ingestion.errors import HeadwaterError, Transient

log = logging.getLogger("headwater.reconcile")

MOST_REFUSED = 1000  # of one look: then it is no document's fault
NAMED = 3
LONGEST_NAME = 200

Thing = TypeVar("Thing")
Written = TypeVar("Written")


class Apart:
    """What one look at a source writes. ``told`` holds the names that were logged before."""

    def __init__(self, source: str, told: set[str]) -> None:
        self._source = source
        self._told = told
        self._refused: list[str] = []

    @property
    def fault(self) -> str | None:
        """Which documents the ledger does not know now, or None."""
        if not self._refused:
            return None
        named = ", ".join(name[:LONGEST_NAME] for name in self._refused[:NAMED])
        more = f" and {len(self._refused) - NAMED:,} more" if len(self._refused) > NAMED else ""
        return (
            f"the ledger refuses to keep {named}{more}; the others are looked after. Rename or exclude what "
            "is named; the log says more"
        )

    def write(
        self,
        write: Callable[[Sequence[Thing]], Written],
        things: Sequence[Thing],
        name: Callable[[Thing], str],
    ) -> list[Written]:
        """``write`` them in one transaction, or in several: those that are refused are left out.

        Returns what ``write`` returned each time. Raises Transient, which is no document's fault, and what
        goes on for ``MOST_REFUSED`` of them.
        """
        if not things:
            return []
        try:
            return [write(things)]
        except Transient:
            raise
        except Exception as error:
            if len(things) == 1:
                self._refuse(name(things[0]), error)
                return []
        half = len(things) // 2
        return [*self.write(write, things[:half], name), *self.write(write, things[half:], name)]

    def _refuse(self, name: str, error: Exception) -> None:
        self._refused.append(name)
        if len(self._refused) > MOST_REFUSED:
            raise error
        if name not in self._told:
            self._told.add(name)
            unexpected = None if isinstance(error, HeadwaterError) else error
            log.error(
                "%s/%s cannot be kept by the ledger: %s", self._source, name, error, exc_info=unexpected
            )
