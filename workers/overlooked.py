"""Compares sources with the ledger: which documents it has not heard of, or serves though they are gone.

The listing and its plan are those of every scan; nothing is written. What a watcher is just about to tell is
no drift: whatever differs is looked at again, in the ledger, until it has had time to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Entry
from ingestion.records import Drift, Standing
from ingestion.sources.port import SourcePort
from workers.reconcile import Reconciler
from workers.surveying import Plan

LOOK_AGAIN_S = 0.1


def overlooked(
    reconciler: Reconciler, ledger: Ledger, source: SourcePort, *, settle_s: float
) -> dict[str, Drift]:
    """Kind by URI of the documents that differ, and still do ``settle_s`` later.

    Raises SourceUnavailable.
    """
    before = ledger.fence.generation()
    plan = reconciler.preview(source)
    found = _differing(plan, ledger.documents.find(source.name, [one.uri for one in plan.skips]))
    ends = time.monotonic() + settle_s
    while found:
        entries = ledger.documents.find(source.name, list(found))
        found = {uri: kind for uri, kind in found.items() if not _was_seen(kind, entries.get(uri), before)}
        if time.monotonic() >= ends:
            break
        time.sleep(LOOK_AGAIN_S)
    return found


def _differing(plan: Plan, skipped: Mapping[str, Entry]) -> dict[str, Drift]:
    found: dict[str, Drift] = {}
    for want in plan.wants:
        if want.entry is None or want.entry.standing is Standing.RETIRED:
            found[want.change.seen.uri] = Drift.DOCUMENT_UNSEEN
        elif want.entry.fingerprint != want.change.seen.fingerprint:  # else it is only looked at once more
            found[want.change.seen.uri] = Drift.DOCUMENT_CHANGED
    for one in plan.skips:
        known = one.uri in skipped and skipped[one.uri].standing is not Standing.RETIRED
        found[one.uri] = Drift.DOCUMENT_CHANGED if known else Drift.DOCUMENT_UNSEEN
    found |= {move.seen.uri: Drift.DOCUMENT_CHANGED for move in plan.moves}
    # What is held already is known, and waits for approval.
    gone = [entry for entry, _ in plan.absences if entry.standing is not Standing.HELD]
    return found | {entry.uri: Drift.DOCUMENT_GONE for entry in gone}


def _was_seen(kind: Drift, entry: Entry | None, before: int) -> bool:
    """Whether somebody has looked since that generation."""
    if entry is None:
        return kind is Drift.DOCUMENT_GONE  # renamed
    return entry.observed > before
