"""Compares the chunks of a new revision with what the ledger holds of the document. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.ledger.values import ManifestChunk, Placed
from ingestion.records import Chunk


@dataclass(frozen=True, slots=True)
class Addition:
    """A chunk that is not live yet. ``chunk_id`` is that of a row an earlier attempt staged, else None."""

    chunk: Chunk
    chunk_id: str | None


@dataclass(frozen=True, slots=True)
class Diff:
    """``kept``: ids that stay live, ``moved``: those of them whose place changed, ``added``: the rest."""

    kept: Sequence[str] = ()
    moved: Sequence[Placed] = ()
    added: Sequence[Addition] = ()


def diff(manifest: Sequence[ManifestChunk], chunks: Sequence[Chunk]) -> Diff:
    """Pair chunks with rows of the same digest, equal texts in order.

    Live rows first, then staged ones, which are adopted. A row that is marked for repair counts as
    absent: its chunk is embedded anew, under a new id.
    """
    live, staged = _by_digest(manifest, live=True), _by_digest(manifest, live=False)
    kept: list[str] = []
    moved: list[Placed] = []
    added: list[Addition] = []
    for chunk in chunks:
        if rows := live.get(chunk.digest):
            row = rows.popleft()
            kept.append(row.chunk_id)
            if _place(row) != _place(chunk):
                moved.append(placed(row.chunk_id, chunk))
        elif rows := staged.get(chunk.digest):
            added.append(Addition(chunk, rows.popleft().chunk_id))
        else:
            added.append(Addition(chunk, None))
    return Diff(kept, moved, added)


def placed(chunk_id: str, chunk: Chunk) -> Placed:
    return Placed(chunk_id, chunk.ordinal, chunk.start, chunk.end, chunk.heading_path, chunk.place)


def _by_digest(manifest: Sequence[ManifestChunk], *, live: bool) -> dict[str, deque[ManifestChunk]]:
    rows: dict[str, deque[ManifestChunk]] = {}
    for row in manifest:
        if (row.born is not None) == live and not row.repair:
            rows.setdefault(row.digest, deque()).append(row)
    return rows


def _place(one: ManifestChunk | Chunk) -> tuple[int, int, int, tuple[str, ...], str]:
    return one.ordinal, one.start, one.end, one.heading_path, one.place
