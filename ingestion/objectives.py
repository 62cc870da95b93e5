"""What is promised of a source, and the arithmetic of how far it was kept. Pure: the time arrives as an
argument."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What was finished, as objectives see it."""

    CHANGE = "change"  # it is searchable
    DELETION = "deletion"  # no search shows it any more
    BULK_CHANGE = "bulk_change"  # the same as a change, in the bulk lane
    UNJUDGED = "unjudged"  # nothing new is to be found: it only shows that work goes on
    BULK_UNJUDGED = "bulk_unjudged"  # likewise in the bulk lane, or a first index


@dataclass(frozen=True, slots=True)
class Objective:
    """This share of a source's changes is searchable within so many seconds, over so many days; of its
    deletions, no search shows them any more within so many."""

    share: float = 0.99
    within_s: float = 60.0
    deletions_within_s: float = 5.0
    over_days: int = 30

    def is_met(self, kind: Kind, seconds: float) -> bool:
        """Whether a change or a deletion came in time; what is not judged never is late."""
        limits = {
            Kind.CHANGE: self.within_s,
            Kind.BULK_CHANGE: self.within_s,
            Kind.DELETION: self.deletions_within_s,
        }
        return seconds <= limits.get(kind, math.inf)


LATELY_S = 60.0  # what says whether work goes on, and how quickly


@dataclass(frozen=True, slots=True)
class Pace:
    """What was finished of a source: in the last hour, changes and deletions; in the ``over_s`` before now,
    by lane, everything, first indexes included, and of the fresh lane changes by themselves."""

    last_hour: int = 0
    changes: int = 0
    fresh: int = 0
    bulk: int = 0
    over_s: float = LATELY_S


@dataclass(frozen=True, slots=True)
class Kept:
    """How many came in time and how many did not, within the window of the source's objective."""

    met: int = 0
    missed: int = 0


# Times are kept by size: eight to each doubling, so that a quantile is off by 5 % at most.
STEPS = 8
_LEAST, _MOST = -80, 176  # a millisecond, seven weeks


def size_of(seconds: float) -> int:
    """The class of a time: those above 2**((n - 1) / 8) and up to 2**(n / 8) seconds are of size n."""
    if seconds <= 0.0:
        return _LEAST
    return min(max(math.ceil(STEPS * math.log2(seconds)), _LEAST), _MOST)


def quantile(sizes: Mapping[int, int], share: float) -> float | None:
    """The time within which that share was finished, of counts by size; None of nothing."""
    total = sum(sizes.values())
    if not total:
        return None
    left = share * total
    for size in sorted(sizes):
        left -= sizes[size]
        if left <= 1e-9 * total:
            break
    return float(2.0 ** ((size - 0.5) / STEPS))


def budget_left(share: float, met: int, missed: int) -> float:
    """What is left of the error budget: 1 untouched, 0 used up, below that overspent.

    The budget is the part of all that was finished that may be late.
    """
    allowed = (1.0 - share) * (met + missed)
    return 1.0 - missed / allowed if allowed else 1.0
