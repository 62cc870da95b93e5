"""The claims of one batch, from the claim to the end of each, and their leases meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingestion.clock import Clock
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Claim

RENEWALS = 4  # a lease is renewed this many times before it would run out


class HeldClaims:
    """Claims that are still open. ``keep`` may be called from any thread."""

    def __init__(self, ledger: Ledger, claims: Sequence[Claim], clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._open = {claim.document_id: claim for claim in claims}
        self._renewed_at = clock.monotonic()

    @property
    def open(self) -> list[Claim]:
        return list(self._open.values())

    def done(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._open.pop(claim.document_id, None)

    def keep(self) -> None:
        """Renew every open lease, if that is due: also of documents that wait for others of the batch."""
        now = self._clock.monotonic()
        if now - self._renewed_at >= self._ledger.claims.lease_s / RENEWALS:
            self._renewed_at = now
            self._ledger.claims.renew(self.open)
