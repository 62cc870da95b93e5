"""How fresh a passage is, and up to when an answer holds. Pure: the time arrives as an argument.

It decides what ``stale`` means and never asks anybody: searching and waiting are ``retrieval.search``'s.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingestion.lag import combined, proof_of_sight, watermark
from ingestion.ledger.values import Admitted, SourceState
from ingestion.records import PublicationState, Standing


class Freshness(enum.StrEnum):
    """What a search does about a passage that is stale."""

    ANY = "any"  # serve it, marked
    FRESH = "fresh"  # leave it out, and take the next best
    WAIT = "wait"  # have its document published first, and wait for that for a while


@dataclass(frozen=True, slots=True)
class Age:
    """How old a passage is. ``stale_for_s`` is None unless it is stale."""

    age_s: float
    stale: bool
    stale_for_s: float | None


def is_stale(admitted: Admitted) -> bool:
    """Whether a newer revision of the document is known than the one that is live.

    It may be on its way or have failed. A held document is not stale for that: nobody has seen a newer
    revision of it, and an unmounted disk must not empty the answers to those who ask for fresh ones.
    """
    return admitted.wanted > admitted.generation


def is_awaited(admitted: Admitted) -> bool:
    """Whether the newer revision will be live by itself: neither a dead letter nor held."""
    return (
        is_stale(admitted)
        and admitted.state is PublicationState.PENDING
        and admitted.standing is Standing.PRESENT
    )


def age(admitted: Admitted, now: float) -> Age:
    """``age_s`` counts from the change that is live, ``stale_for_s`` from the oldest that is not.

    Neither is negative, whatever became of the machine's clock.
    """
    stale = is_stale(admitted)
    since = now if admitted.pending_since is None else admitted.pending_since
    return Age(
        age_s=max(0.0, now - admitted.changed_at),
        stale=stale,
        stale_for_s=max(0.0, now - since) if stale else None,
    )


def fresh_as_of(states: Iterable[SourceState], oldest_pending: Mapping[str, float]) -> float | None:
    """The combined watermark of these sources; None if one was never looked at, or there is none.

    For an answer, read together with the horizon, or in this order: ``states``, then ``oldest_pending``,
    then the horizon. Read the other way round, a change could be seen and still pending, and yet lie before
    the watermark.
    """
    return combined(
        watermark(oldest_pending.get(state.name), proof_of_sight(state.listed_at, state.heartbeat_at))
        for state in states
    )
