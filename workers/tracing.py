"""How a change is followed through the processes that carry it, where somebody collects that.

A span is a piece of work with a beginning and an end, in a trace that begins where a change is seen. Between
processes a trace is carried beside the ids of a message, as the W3C's ``traceparent``: it is a hint like the
message, and where it is lost, or none came, the worker begins a trace of its own. Nothing is ever decided by
one, and following costs nothing where it is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ingestion.ledger.values import Claim

HEADER = "traceparent"
FEW = 32  # documents of a batch that are followed one by one; of larger ones, the batch is

Attribute = str | int | float | bool


class Tracing(Protocol):
    """Where spans go. Safe to call from several threads; each has a span of its own that is under way."""

    def span(
        self, name: str, /, *, begun_at: float | None = None, **attributes: Attribute
    ) -> AbstractContextManager[None]:
        """A span around a piece of work, within the one under way; ``begun_at`` if it began before now."""

    def past(self, name: str, /, *, begun_at: float, ended_at: float, **attributes: Attribute) -> None:
        """A span for what is over, seconds since the epoch."""

    def under(self, traceparent: str | None, /) -> AbstractContextManager[None]:
        """What happens inside belongs to this trace; to none so far, if it is None or is no traceparent."""

    def traceparent(self) -> str | None:
        """The span under way, to be carried elsewhere; None if there is none."""


class _Untraced:
    """Follows nothing."""

    def span(
        self, name: str, /, *, begun_at: float | None = None, **attributes: Attribute
    ) -> AbstractContextManager[None]:
        return _NOTHING

    def past(self, name: str, /, *, begun_at: float, ended_at: float, **attributes: Attribute) -> None:
        return

    def under(self, traceparent: str | None, /) -> AbstractContextManager[None]:
        return _NOTHING

    def traceparent(self) -> str | None:
        return None


_NOTHING: AbstractContextManager[None] = nullcontext()
UNTRACED: Tracing = _Untraced()


def trace_id(tracing: Tracing) -> str | None:
    """The trace that is under way, as its collector calls it."""
    traceparent = tracing.traceparent()
    return None if traceparent is None else traceparent.split("-")[1]


def about(claim: Claim) -> dict[str, Attribute]:
    """What spans tell of a document."""
    return {
        "source": claim.source,
        "uri": claim.uri,
        "document_id": claim.document_id,
        "generation": claim.wanted,
    }


def follow_claims(tracing: Tracing, claims: Sequence[Claim], *, begins: bool) -> None:
    """Tell how long claimed documents had waited, and where the trace ``begins`` here, how they were seen."""
    if len(claims) > FEW:
        begun_at = min(claim.observed_at for claim in claims)
        tracing.past("queue", begun_at=begun_at, ended_at=claims[0].claimed_at, documents=len(claims))
        return
    for claim in claims:
        if begins and claim.pending_since is not None:
            begun_at, ended_at = claim.pending_since, claim.observed_at
            tracing.past("detect", begun_at=begun_at, ended_at=ended_at, **about(claim))
        tracing.past("queue", begun_at=claim.observed_at, ended_at=claim.claimed_at, **about(claim))


def drafting(tracing: Tracing, claim: Claim, *, among: int) -> AbstractContextManager[None]:
    """Around the reading, parsing and chunking of one document ``among`` so many."""
    return tracing.span("draft", begun_at=None, **about(claim)) if among <= FEW else _NOTHING
