"""The work nobody waits for: dead chunks swept, leases ended, history trimmed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ingestion.errors import EditionMissing
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.sources.port import SourcePort
from retrieval.index.port import Index
from workers.audit import SETTLE_S, Auditor
from workers.reconcile import BURST, Reconciler

log = logging.getLogger("headwater.upkeep")

Enough = Callable[[], bool]

SWEEP_AFTER_S = 60.0  # longer than any search may take
TOMBSTONES_S = 30 * 86_400.0  # so long a document that comes back keeps its id
AUDIT_EVERY_S = 6 * 3600.0
SWEPT_AT_ONCE = 2000  # chunks
MUCH_TO_INDEX = BURST  # documents; a few that cannot be published put no audit off


class Upkeep:
    """Late, idempotent and repeatable: any step may be cut off and done again."""

    def __init__(self, ledger: Ledger, index: Index, *, sweep_after_s: float = SWEEP_AFTER_S) -> None:
        self._ledger = ledger
        self._index = index
        self._sweep_after_s = sweep_after_s
        self._reaped_at = float("-inf")

    def sweep(self, enough: Enough = lambda: False) -> int:
        """Remove chunks that have been dead for long enough: from the index first, then their rows.

        ``enough``, here and below: whether to leave the rest to the next time.
        """
        swept = 0
        while batch := self._sweepable():
            for edition, chunk_ids in batch.items():
                self._index.delete(edition, chunk_ids)
                self._ledger.publications.forget(chunk_ids)
                swept += len(chunk_ids)
            if enough():
                break
        return swept

    def sweep_bodies(self, enough: Enough = lambda: False) -> int:
        """Forget bodies that no document has any more, once no attempt can be about to read them."""
        swept = 0
        while batch := self._ledger.kept.sweep(self._ledger.now() - self._sweep_after_s):
            swept += batch
            if enough():
                break
        return swept

    def remove_ended(self, enough: Enough = lambda: False) -> int:
        """Remove editions that are given up, once no search can be reading them: from the index first."""
        removed = 0
        for edition in self._ledger.editions.ended(self._ledger.now() - self._sweep_after_s):
            self._index.drop(edition.name)
            if not self._ledger.editions.remove(edition, enough):
                break
            log.info("the edition %s (%s) is removed", edition.name, edition.description)
            removed += 1
        return removed

    def reap(self) -> int:
        """End the leases of workers that fell silent.

        The leases of one silence end one by one, as they were taken: only the first is worth an alert.
        """
        reaped = self._ledger.claims.reap()
        if reaped:
            now = self._ledger.now()
            first = now - self._reaped_at > self._ledger.claims.lease_s
            self._reaped_at = now
            log.log(
                logging.WARNING if first else logging.INFO,
                "%s documents were given up by a worker that fell silent; they are sent again",
                reaped,
            )
        return reaped

    def trim(self) -> None:
        """Keep the last attempts of each document only, tombstones for a month but without what was kept of
        their documents, and of punctuality what an objective may still ask for."""
        self._ledger.publications.trim_history()
        self._ledger.punctuality.forget()
        self._ledger.kept.forget_deleted(self._ledger.now() - TOMBSTONES_S)
        while self._ledger.kept.forget_retired(self._ledger.now() - self._sweep_after_s):
            pass
        while self._ledger.documents.prune(self._ledger.now() - TOMBSTONES_S):
            pass  # short transactions: edits pass between them

    def audit_is_due(self, edition: Edition) -> bool:
        """Whether the last audit is some hours ago, or left something as it was.

        Asked of the ledger: a process that is started every morning would never come to its first one. Not
        while much is to be indexed: a ledger that begins anew beside a full index can use its vectors again,
        and an audit would delete them, as nobody knows them yet. At once where the index lost what is live:
        nothing else finds that out, and searches answer from what is left.
        """
        if self._has_lost_much(edition):
            return True
        if any(lane.pending > MUCH_TO_INDEX for lane in self._ledger.views.lanes()):
            return False
        latest = self._ledger.audits.latest(edition)
        if latest is None or not (latest.repair or latest.clean):
            return True
        return not 0 <= self._ledger.now() - latest.finished_at < AUDIT_EVERY_S

    def _sweepable(self) -> dict[str, list[str]]:
        before = self._ledger.now() - self._sweep_after_s
        return self._ledger.publications.sweepable(before, SWEPT_AT_ONCE)

    def _has_lost_much(self, edition: Edition) -> bool:
        """Whether the index holds less than half of what is live, but for what is being made again."""
        try:
            held = self._index.count(edition.name)
        except EditionMissing:
            return True
        live = self._ledger.audits.count_live(edition) - self._ledger.audits.count_marked(edition)
        return 2 * held < live

    def auditor(
        self,
        reconciler: Reconciler,
        sources: Mapping[str, SourcePort],
        look: Callable[[str], None],
        *,
        settle_s: float = SETTLE_S,
    ) -> Auditor:
        """What compares sources, ledger and index; ``look`` lists a source and carries out what it finds."""
        return Auditor(self._ledger, self._index, reconciler, sources, look, settle_s)
