"""Whether the index holds what the ledger says of an edition: asked before searches go to it.

The ledger alone cannot tell. An index may have been restored from an older backup while an edition was built,
or its collection made again, empty.
"""

from __future__ import annotations

import logging

from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.records import Drift
from retrieval.index.port import Index
from workers.comparing import Comparison
from workers.findings import Findings

log = logging.getLogger("headwater.editions")


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
