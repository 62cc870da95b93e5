"""Drift in words for people, and what the last audit found, in values that JSON knows. Imports little:
status shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingestion.ledger.audits import Audit
from ingestion.records import Drift
from ops.showing import counted
from retrieval.api.representation import rfc3339

Json = dict[str, Any]

_NOUNS = {
    Drift.DOCUMENT_UNSEEN: ("document", "the ledger does not know"),
    Drift.DOCUMENT_CHANGED: ("document", "changed unnoticed at the source"),
    Drift.DOCUMENT_GONE: ("document", "no longer at the source"),
    Drift.EDITION_MISSING: ("edition", "gone from the index"),
    Drift.CHUNK_MISSING: ("chunk", "missing from the index"),
    Drift.CHUNK_UNKNOWN: ("chunk", "in the index that nobody knows"),
    Drift.CHUNK_TEXT: ("chunk", "with another text in the index"),
    Drift.CHUNK_VECTOR: ("chunk", "with a wrong vector in the index"),
}


def phrases(numbers: Mapping[Drift, int]) -> Iterator[tuple[Drift, str]]:
    """``3 chunks missing from the index``, for each kind of which there is any."""
    for kind, (noun, what) in _NOUNS.items():
        if numbers.get(kind):
            yield kind, f"{counted(numbers[kind], noun)} {what}"


def audit_json(audit: Audit) -> Json:
    """``drift`` names every kind, so that a reader can tell none from not looked for."""
    return {
        "at": rfc3339(audit.finished_at),
        "took_s": round(audit.finished_at - audit.started_at, 3),
        "chunks": audit.chunks,
        "deep": audit.deep,
        "repair": audit.repair,
        "drift": {kind.value: audit.found.get(kind, 0) for kind in Drift},
        "mended": {kind.value: audit.mended.get(kind, 0) for kind in Drift},
        "faults": list(audit.faults),
    }
