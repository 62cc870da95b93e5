"""Sources, ledger and index compared from the command line, beside those who watch or without them.

Beside a daemon this is as safe as its own audit: it deletes only what no intent speaks of, and marks for
repair in the ledger, where the daemon finds it. Carrying the repair out is ``ops.syncing``'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingestion.clock import SystemClock
from ingestion.errors import EditionMissing, Misconfigured, WrongEdition
from ingestion.ledger.audits import Audit
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.records import Drift
from ops.equipping import close_embedder, embedder_of, embedder_of_live
from ops.kinds.base import Means
from ops.lock import running_daemon
from ops.opening import open_ledger
from ops.settings import Settings
from ops.stores import make_index
from ops.syncing import require_kept
from retrieval.embedding.port import Embedder, Vectors
from workers.audit import SETTLE_S, Auditor
from workers.comparing import EmbedTexts
from workers.findings import Findings
from workers.outcomes import ignore
from workers.reconcile import Reconciler

EMBEDDED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Audited:
    """``marked``: live chunks that wait to be made again, also those of an earlier audit."""

    audit: Audit
    findings: Findings
    marked: int

    @property
    def to_be_carried_out(self) -> bool:
        """Whether the repair needs the ordinary flow: what nobody knows is deleted already."""
        return bool(self.audit.repair and (self.audit.found.keys() - {Drift.CHUNK_UNKNOWN} or self.marked))


def audit(settings: Settings, names: Sequence[str], *, repair: bool, deep: bool) -> Audited:
    """Compare now. Sources that differ are left to the sync that follows a repair.

    Where searches go over to another edition meanwhile, that one is compared too: it is what they read.
    Raises Misconfigured where there is no data yet, WrongSettings beside those who keep other sources,
    and with ``deep`` WrongEdition where the model of the index cannot be had.
    """
    with contextlib.ExitStack() as opened:
        ledger = open_ledger(settings)
        opened.callback(ledger.database.close)
        before = _live(settings, ledger)
        # Beside a shared broker a watcher may run anywhere: no note of it lies in the data folder.
        watched = settings.broker.url is not None or running_daemon(settings.daemon.data) is not None
        if watched:
            require_kept(ledger, settings, names)
        auditor = _auditor(settings, ledger, names, settle_s=SETTLE_S if watched else 0.0)
        opened.callback(auditor.index.close)
        try:
            audited = _audited(settings, auditor, repair=repair, deep=deep)
        except (WrongEdition, EditionMissing):
            if _live(settings, ledger) == before:
                raise
        else:
            if _live(settings, ledger).name == audited.audit.edition:
                return audited
        return _audited(settings, auditor, repair=repair, deep=deep)


def still_marked(settings: Settings) -> int:
    """Live chunks that still wait to be made again."""
    ledger = open_ledger(settings)
    try:
        edition = ledger.sources.live_edition()
        return 0 if edition is None else ledger.audits.count_marked(edition)
    finally:
        ledger.database.close()


def _live(settings: Settings, ledger: Ledger) -> Edition:
    edition = ledger.sources.live_edition()
    if edition is None:
        raise Misconfigured(
            f"Nothing was indexed in {settings.daemon.data} yet.", hint="Start with: headwater up FOLDER"
        )
    return edition


def _audited(settings: Settings, auditor: Auditor, *, repair: bool, deep: bool) -> Audited:
    """What is live now, with the model of just that edition. Raises WrongEdition, EditionMissing."""
    ledger = auditor.ledger
    with contextlib.ExitStack() as opened:
        edition, embed = _live(settings, ledger), None
        if deep:
            edition, embed = _embed(settings, ledger, opened)
        found, findings = auditor.audit(edition, repair=repair, deep=deep, embed=embed)
        return Audited(found, findings, ledger.audits.count_marked(edition))


def _auditor(settings: Settings, ledger: Ledger, names: Sequence[str], *, settle_s: float) -> Auditor:
    clock = SystemClock()
    reconciler = Reconciler(
        ledger, clock, listener=ignore, send=lambda ids: None, missed=lambda source, number: None
    )
    means = Means(clock, ledger, settings.daemon.data)
    sources = {one.name: one.source(means) for one in settings.sources if one.name in names}
    index = make_index(settings, ledger.database)
    return Auditor(ledger, index, reconciler, sources, look=lambda name: None, settle_s=settle_s)


def _embed(settings: Settings, ledger: Ledger, opened: contextlib.ExitStack) -> tuple[Edition, EmbedTexts]:
    embedder, _ = embedder_of_live(settings.embedding, embedder_of(settings.embedding), ledger)
    opened.callback(close_embedder, embedder)
    edition = ledger.sources.edition(embedder.fingerprint, embedder.dimensions, embedder.description)
    return edition, lambda texts: _embedded(embedder, texts)


def _embedded(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Texts of like length together: padding costs time."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    limits = embedder.call_limits
    size = EMBEDDED_AT_ONCE if limits is None else limits.texts
    vectors = np.empty((len(texts), embedder.dimensions), np.float32)
    for start in range(0, len(order), size):
        some = order[start : start + size]
        vectors[some] = embedder.embed_documents([texts[place] for place in some])
    return vectors
