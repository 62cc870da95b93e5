"""Watermark and lag arithmetic. Pure: the time arrives as an argument, in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable


def plausible_change(says: float | None, last_look: float | None, now: float, noticed: float) -> float:
    """When a document changed: what its source says, if that lies between the last look and now.

    Otherwise ``noticed``, the moment of the first event or of the scan: a copied-in old mtime must not
    show up as a lag of years, nor a future one as a negative lag.
    """
    if says is not None and last_look is not None and last_look <= says <= now:
        return says
    return min(noticed, now)


def watermark(oldest_pending: float | None, seen_at: float | None) -> float | None:
    """The instant up to which every change of a source is published or tombstoned.

    The earlier of the oldest pending change and the last proof of sight; None before the first look.
    """
    if seen_at is None:
        return None
    return seen_at if oldest_pending is None else min(oldest_pending, seen_at)


def proof_of_sight(listed_at: float | None, heartbeat_at: float | None) -> float | None:
    """The last moment at which the source was known to be seen whole."""
    moments = [moment for moment in (listed_at, heartbeat_at) if moment is not None]
    return max(moments, default=None)


def combined(watermarks: Iterable[float | None]) -> float | None:
    """The watermark of several sources: the earliest; None if one was never looked at, or there is none."""
    known = list(watermarks)
    if not known or any(moment is None for moment in known):
        return None
    return min(moment for moment in known if moment is not None)


def index_lag(oldest_pending: float | None, now: float) -> float:
    """Age of the oldest unpublished change; zero if there is none."""
    return 0.0 if oldest_pending is None else max(0.0, now - oldest_pending)
