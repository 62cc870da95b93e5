"""Every live chunk as of one moment, whole or not at all.

The rows come from one snapshot of the ledger, the texts from the index, which knows no snapshots. A
chunk replaced after the snapshot keeps its text until it is swept, a minute or more later; an export
that takes longer may miss one, and is then made anew. Nothing is handed out before it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

from ingestion.errors import IndexUnavailable
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.views import ExportRow
from retrieval.index.port import Index

SLICE = 500
ATTEMPTS = 3


class _Missing(Exception):
    """The index has no text for these chunks of the snapshot."""

    def __init__(self, rows: list[ExportRow]) -> None:
        super().__init__(len(rows))
        self.rows = rows


def export(ledger: Ledger, index: Index, into: IO[str]) -> int:
    """Write JSON lines to an empty, seekable file, left at its end; returns the number of chunks.

    Raises IndexUnavailable, naming a document, when live chunks have no text in the index.
    """
    missing: list[ExportRow] = []
    for _ in range(ATTEMPTS):
        into.seek(0)
        into.truncate()
        try:
            return _once(ledger, index, into)
        except _Missing as error:
            missing = error.rows
    raise IndexUnavailable(
        f"The index has no text for {len(missing)} live chunks, {missing[0].source}/{missing[0].uri} among "
        "them; nothing was exported.",
        hint="Change or touch that document so that it is indexed again, or rebuild the data folder.",
    )


def _once(ledger: Ledger, index: Index, into: IO[str]) -> int:
    edition = ledger.sources.live_edition()
    if edition is None:
        return 0
    written = 0
    for rows in _slices(ledger.views.export()):
        texts = index.texts(edition.name, [row.chunk_id for row in rows])
        missing = [row for row in rows if row.chunk_id not in texts]
        if missing:
            raise _Missing(missing)
        for row in rows:
            into.write(json.dumps(_line(row, texts[row.chunk_id]), ensure_ascii=False) + "\n")
        written += len(rows)
    return written


def _line(row: ExportRow, text: str) -> dict[str, object]:
    return {
        "chunk_id": row.chunk_id,
        "document_id": row.document_id,
        "source": row.source,
        "uri": row.uri,
        "ordinal": row.ordinal,
        "start": row.start,
        "end": row.end,
        "heading_path": list(row.heading_path),
        "place": row.place,
        "text": text,
    }


def _slices(rows: Iterable[ExportRow]) -> Iterator[list[ExportRow]]:
    remaining = iter(rows)
    while some := list(islice(remaining, SLICE)):
        yield some
