"""Compares ledger and index, and has mended what differs.

The index is listed first, then the ledger: what the ledger does not know may be deleted, because an
intent precedes its upsert; what the index lacks is marked only while it is still live. Repair goes
through the ordinary flow, under new chunk ids. Repeatable at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from retrieval.index.port import Index

log = logging.getLogger("headwater.audit")

Element = TypeVar("Element")
SLICE = 1000


@dataclass(frozen=True, slots=True)
class Audited:
    """``unknown``: chunks the index held and the ledger did not know, deleted. ``missing``: live chunks
    the index lacked; their documents are processed again."""

    unknown: int = 0
    missing: int = 0
    documents: int = 0


def audit(ledger: Ledger, index: Index, edition: Edition) -> Audited:
    """One pass over everything. Raises IndexUnavailable or LedgerUnavailable; what was done stays done."""
    unknown = sum(_delete_unknown(ledger, index, edition, ids) for ids in _slices(index.ids(edition.name)))
    missing: list[str] = []
    for ids in _slices(ledger.publications.live_chunks(edition)):
        missing += set(ids) - index.present(edition.name, ids)
    documents = ledger.publications.mark_missing(missing) if missing else set()
    if documents:
        ledger.claims.mark_repair(edition, sorted(documents))
    result = Audited(unknown, len(missing), len(documents))
    if unknown or missing:
        log.warning(
            "the index held %s chunks nobody knows (deleted) and lacked %s of %s documents (made again)",
            unknown,
            len(missing),
            len(documents),
        )
    return result


def _delete_unknown(ledger: Ledger, index: Index, edition: Edition, found: list[tuple[str, str]]) -> int:
    ids = [chunk_id for chunk_id, _ in found]
    known = ledger.publications.known_chunks(edition, ids)
    unknown = [chunk_id for chunk_id in ids if chunk_id not in known]
    if unknown:
        index.delete(edition.name, unknown)
    return len(unknown)


def _slices(elements: Iterable[Element]) -> Iterator[list[Element]]:
    remaining = iter(elements)
    while some := list(islice(remaining, SLICE)):
        yield some
