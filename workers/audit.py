"""Compares sources, ledger and index, keeps what differs for status and metrics, and may have it mended.

The index is listed first, then the ledger, then the sources. Repair goes through the ordinary flow: sources
are looked at as in any scan, and chunks come anew under new ids. Repeatable at any time, by several
processes at once, beside whatever else goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingestion.errors import SourceUnavailable
from ingestion.ledger.audits import Audit
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.sources.port import SourcePort
from retrieval.index.port import Index
from workers.comparing import Comparison, EmbedTexts
from workers.findings import Findings
from workers.overlooked import overlooked
from workers.reconcile import Reconciler

log = logging.getLogger("headwater.audit")

# Chunks whose text and vector an audit checks: the next one goes on from there. With one every six hours, a
# million chunks are gone through in twelve days; a deep one checks all.
CONTENTS_AT_ONCE = 20_000
SETTLE_S = 5.0  # a watcher tells a change within a second, unless the machine is busy


@dataclass(frozen=True, slots=True)
class Auditor:
    """The parts of an audit. ``look`` lists a source and carries out what it finds."""

    ledger: Ledger
    index: Index
    reconciler: Reconciler
    sources: Mapping[str, SourcePort]
    look: Callable[[str], None]
    settle_s: float = SETTLE_S
    contents_at_once: int = CONTENTS_AT_ONCE

    def audit(
        self,
        edition: Edition,
        *,
        repair: bool,
        deep: bool = False,
        cautious: bool = False,
        embed: EmbedTexts | None = None,
    ) -> tuple[Audit, Findings]:
        """Compare everything once. Without ``repair`` nothing is changed, but for the record of it.

        ``deep`` checks the text and vector of every chunk, with ``embed`` by embedding it anew. ``cautious``,
        for when nobody asked for it, deletes nothing where it may be the ledger that lacks.

        Raises IndexUnavailable, LedgerUnavailable or, with ``embed``, EmbedderUnavailable; what was mended
        stays so, and nothing is recorded.
        """
        findings = Findings()
        started_at = self.ledger.now()
        comparison = Comparison(
            self.ledger,
            self.index,
            edition,
            findings,
            repair=repair,
            cautious=cautious,
            embed=embed if deep else None,
        )
        latest = self.ledger.audits.latest(edition)
        contents_to = latest.contents_to if latest else ""
        if comparison.edition_is_there():
            comparison.ids()
            after, at_most = ("", None) if deep else (contents_to, self.contents_at_once)
            contents_to = comparison.contents(after, at_most)
        for name in self.sources:
            self._compare_source(name, findings, repair=repair)
        audit = Audit(
            edition=edition.name,
            started_at=started_at,
            finished_at=self.ledger.now(),
            chunks=self.ledger.audits.count_live(edition),
            deep=deep,
            repair=repair,
            contents_to=contents_to,
            found=dict(findings.found),
            mended=dict(findings.mended),
            faults=tuple(findings.faults),
        )
        self.ledger.audits.record(audit)
        return audit, findings

    def _compare_source(self, name: str, findings: Findings, *, repair: bool) -> None:
        source = self.sources[name]
        try:
            found = overlooked(self.reconciler, self.ledger, source, settle_s=self.settle_s)
        except SourceUnavailable as fault:
            findings.faults.append(str(fault))
            return
        for kind in set(found.values()):
            uris = sorted(uri for uri, what in found.items() if what is kind)
            findings.note(kind, len(uris), mended=repair)
            findings.show(kind, [f"{name}/{uri}" for uri in uris])
        if found and repair:
            self.look(name)


def tell(audit: Audit, findings: Findings) -> None:
    """The log's lines about an audit that nobody waits for."""
    for fault in audit.faults:
        log.warning("the audit could not look everywhere: %s", fault)
    if audit.found:
        numbers = ", ".join(f"{kind} {number:,}" for kind, number in sorted(audit.found.items()))
        log.warning("the audit found drift (%s); %s documents are made again", numbers, findings.documents)
    if findings.left:
        log.warning("%s. To have them deleted: headwater audit --repair", findings.left)
