"""The work nobody waits for: dead chunks swept, leases ended, history trimmed."""

from __future__ import annotations

import logging

from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from retrieval.index.port import Index
from workers.audit import Audited, audit

log = logging.getLogger("headwater.upkeep")

SWEEP_AFTER_S = 60.0  # longer than any search may take
TOMBSTONES_S = 30 * 86_400.0  # so long a document that comes back keeps its id


class Upkeep:
    """Late, idempotent and repeatable: any step may be cut off and done again."""

    def __init__(self, ledger: Ledger, index: Index, *, sweep_after_s: float = SWEEP_AFTER_S) -> None:
        self._ledger = ledger
        self._index = index
        self._sweep_after_s = sweep_after_s

    def sweep(self) -> int:
        """Remove chunks that have been dead for long enough: from the index first, then their rows."""
        swept = 0
        while batch := self._ledger.publications.sweepable(self._ledger.now() - self._sweep_after_s):
            for edition, chunk_ids in batch.items():
                self._index.delete(edition, chunk_ids)
                self._ledger.publications.forget(chunk_ids)
                swept += len(chunk_ids)
        return swept

    def reap(self) -> int:
        """End the leases of workers that fell silent."""
        reaped = self._ledger.claims.reap()
        if reaped:
            log.warning(
                "%s documents were given up by a worker that fell silent; they are sent again", reaped
            )
        return reaped

    def trim(self) -> None:
        """Keep the last attempts of each document only, and tombstones for a month."""
        self._ledger.publications.trim_history()
        while self._ledger.documents.prune(self._ledger.now() - TOMBSTONES_S):
            pass  # short transactions: edits pass between them

    def audit(self, edition: Edition) -> Audited:
        """Compare ledger and index, and have mended what differs."""
        return audit(self._ledger, self._index, edition)
