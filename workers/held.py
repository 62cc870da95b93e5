"""What is claimed for longer than a moment, from the claim to its end, and the leases meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence

from ingestion.clock import Clock
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Claim

RENEWALS = 4  # a lease is renewed this many times before it would run out


class HeldClaims:
    """The claims of one batch that are still open. ``keep`` may be called from any thread."""

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


class HeldAudit:
    """The one audit that the schedule may have under way, in all processes. ``keep`` may be called from any
    thread."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._audits = ledger.audits
        self._clock = clock
        self._here = threading.Lock()
        self._turn = threading.Lock()
        self._claim: float | None = None
        self._kept_at = 0.0

    @contextlib.contextmanager
    def claimed(self) -> Iterator[bool]:
        """Whether it is ours for the block; it is not while one goes on anywhere."""
        if not self._here.acquire(blocking=False):
            yield False
            return
        try:
            claim = self._audits.begin()
            self._set(claim)
            try:
                yield claim is not None
            finally:
                self._end()
        finally:
            self._here.release()

    def keep(self) -> None:
        """Renew the lease, if that is due. An audit that lost it goes on beside the next one: both may."""
        with self._turn:
            due = self._clock.monotonic() - self._kept_at >= self._audits.lease_s / RENEWALS
            if self._claim is not None and due:
                self._kept_at = self._clock.monotonic()
                self._claim = self._audits.keep(self._claim)

    def _set(self, claim: float | None) -> None:
        with self._turn:
            self._claim, self._kept_at = claim, self._clock.monotonic()

    def _end(self) -> None:
        with self._turn:
            claim, self._claim = self._claim, None
        if claim is not None:
            self._audits.end(claim)
