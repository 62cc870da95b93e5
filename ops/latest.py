"""What happened last, over all sources: the newest changes and errors, and how fast work goes on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.ledger.views import LatestView

ERRORS = ("failed", "dead")
WINDOW_S = 60.0
LOOKED_AT = 500  # attempts: with more in a minute, the rate is that of the latest


@dataclass(frozen=True, slots=True)
class Rates:
    """In the last minute, by second: documents that were gone through, texts that were embedded."""

    documents: float
    texts: float


def errors(latest: Sequence[LatestView], number: int) -> list[LatestView]:
    return [one for one in latest if one.outcome in ERRORS][:number]


def changes(latest: Sequence[LatestView], number: int) -> list[LatestView]:
    return [one for one in latest if one.outcome not in ERRORS][:number]


def rates(latest: Sequence[LatestView], now: float) -> Rates:
    """``latest``: newest first, at most LOOKED_AT of them."""
    recent = [one for one in latest if now - WINDOW_S <= one.finished_at]
    if not recent:
        return Rates(0.0, 0.0)
    whole = len(recent) < LOOKED_AT
    seconds = WINDOW_S if whole else max(1.0, now - min(one.finished_at for one in recent))
    return Rates(len(recent) / seconds, sum(one.embedded for one in recent) / seconds)
