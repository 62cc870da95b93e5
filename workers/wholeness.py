"""Whether the index holds what the ledger says of an edition: asked before, and while, searches go there.

The ledger alone cannot tell. An index may have been restored from an older backup while an edition was built,
or its collection made again, empty.
"""

from __future__ import annotations

import logging

from ingestion.errors import EditionMissing, IndexUnavailable
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.records import Drift
from retrieval.index.port import Index
from workers.comparing import Comparison
from workers.findings import Findings

log = logging.getLogger("headwater.editions")


def make_room(ledger: Ledger, index: Index, edition: Edition) -> None:
    """Room for a live edition in which nothing was published yet; one that is there is checked.

    One that the index has lost is left to the audit, which marks at once all that is missing: in an empty
    one, searches would find nothing, where they now fail and say so. Raises as ``Index.create``.
    """
    try:
        index.count(edition.name)
    except EditionMissing as error:
        if ledger.audits.count_live(edition):
            log.warning("searches fail until it is made again: %s", error)
            return
    except IndexUnavailable as error:
        log.debug("what the index holds is not known: %s", error)  # the next call says what it is
    index.create(edition.name, edition.dimensions)


def require_most(index: Index, edition: Edition, live: int) -> None:
    """Raises IndexUnavailable where less than half of the ``live`` chunks is held, or there is no edition."""
    index.check(edition.name)
    held = index.count(edition.name)
    if 2 * held < live:
        raise IndexUnavailable(
            f"The index holds {held:,} chunks of the edition {edition.name}, and {live:,} should be found.",
            hint="The rest is made again after the next audit, or at once by: headwater audit --repair",
        )


def mark_missing(ledger: Ledger, index: Index, edition: Edition) -> int:
    """Mark for repair what the index lacks of an edition that no search reads; returns how many chunks.

    A document that is marked counts as lacking, so that nobody switches to the edition before it is mended.
    As long as counting every chunk takes: seconds for a million. Raises IndexUnavailable,
    and Misconfigured where another ledger's chunks lie there.
    """
    findings = Findings()
    comparison = Comparison(ledger, index, edition, findings, repair=True, cautious=True)
    if comparison.edition_is_there():  # made again where it was gone
        comparison.ids()
    missing = findings.found[Drift.CHUNK_MISSING] + findings.found[Drift.CHUNK_TEXT]
    if missing:
        log.warning(
            "the index lacks %s chunks of the edition %s: they are made again before searches go there",
            missing,
            edition.name,
        )
    return missing
