"""The floor of a first index: reads, parses, chunks and embeds with the program's code, one file after the
other, and writes the same rows in one transaction. No watching, no claims, no second look, no service.

    python -m tests.bench._small_files_floor FOLDER DATA
"""

from __future__ import annotations

import sqlite3
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingestion.clock import SystemClock
from ingestion.records import Chunk
from ops.opening import data_file
from ops.settings import load
from ops.wiring import Parts, open_parts
from retrieval.index.embedded_schema import read_space, read_state, write_state
from retrieval.index.embedded_write import Writing
from retrieval.index.port import IndexedChunk
from tests.bench._common import HASHING
from workers.drafting import Drafter

AT_ONCE = 512  # texts a call of the embedder


@dataclass(frozen=True, slots=True)
class Read:
    uri: str
    fingerprint: str
    identity: str | None
    size_bytes: int
    chunks: Sequence[Chunk]


def main(folder: Path, data: Path) -> None:
    settings = load(
        None,
        arguments={
            "sources": [folder],
            "daemon.data": data,
            "embedding.model": HASHING,
            "canary.every_s": 0,
        },
        environ={},
    )
    parts = open_parts(settings)
    files = read(parts)
    chunks = [one for file in files for one in file.chunks]
    indexed = embedded(parts, chunks)
    edition = parts.edition.name
    parts.close()
    write(data_file(settings), edition, files, indexed)


def read(parts: Parts) -> list[Read]:
    (source,) = parts.sources.values()
    drafter = Drafter(
        parts.embedder.max_tokens, parts.embedder.count_tokens, SystemClock(), sandbox=parts.sandbox
    )
    files = []
    for sighting in source.list().sightings:
        content = source.read(sighting.uri)
        seen = content.seen
        files.append(
            Read(seen.uri, seen.fingerprint, seen.identity, seen.size_bytes, drafter.chunks(content))
        )
    return files


def embedded(parts: Parts, chunks: Sequence[Chunk]) -> list[IndexedChunk]:
    indexed = []
    for start in range(0, len(chunks), AT_ONCE):
        some = chunks[start : start + AT_ONCE]
        vectors = parts.embedder.embed_documents([one.embedded_text for one in some])
        indexed += [
            IndexedChunk(str(uuid.uuid4()), "s", one.digest, " > ".join(one.heading_path), one.text, vector)
            for one, vector in zip(some, vectors, strict=True)
        ]
    return indexed


def write(path: Path, edition: str, files: Sequence[Read], indexed: Sequence[IndexedChunk]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    write_ledger(connection, files, [one.chunk_id for one in indexed])
    state = read_state(connection, edition)
    assert state is not None
    writing = Writing(connection, state)
    space = read_space(connection, state, state.epoch)
    for start in range(0, len(indexed), AT_ONCE):
        some = indexed[start : start + AT_ONCE]
        writing.hold(some, np.stack([one.vector for one in some]), space)
    write_state(connection, writing.state)
    connection.execute("COMMIT")
    connection.close()


def write_ledger(connection: sqlite3.Connection, files: Sequence[Read], chunk_ids: Sequence[str]) -> None:
    now, ids = time.time(), iter(chunk_ids)
    numbered = list(enumerate(files, start=1))
    connection.executemany(
        "INSERT INTO documents (id, source, uri, fingerprint, identity, size_bytes, racy, standing, reason,"
        " wanted, observed, pending_since, changed_at, observed_at, retired_at)"
        " VALUES (?, 's', ?, ?, ?, ?, 0, 'present', '', ?, ?, NULL, ?, ?, NULL)",
        [
            (key, one.uri, one.fingerprint, one.identity, one.size_bytes, key, key, now, now)
            for key, one in numbered
        ],
    )
    connection.executemany(
        "INSERT INTO publications (document_id, edition_id, state, lane, live_generation, digest, pipeline,"
        " changed_at, published_at, published_tick, claimed_at)"
        " VALUES (?, 1, 'live', 'bulk', ?, ?, 'p', ?, ?, 1, ?)",
        [(key, key, one.chunks[0].digest, now, now, now) for key, one in numbered],
    )
    connection.executemany(
        'INSERT INTO chunks (id, document_id, edition_id, digest, ordinal, start, "end", heading_path, born)'
        " VALUES (?, ?, 1, ?, ?, ?, ?, ?, 1)",
        [
            (
                next(ids),
                key,
                chunk.digest,
                chunk.ordinal,
                chunk.start,
                chunk.end,
                str(list(chunk.heading_path)),
            )
            for key, one in numbered
            for chunk in one.chunks
        ],
    )
    connection.executemany(
        "INSERT INTO attempts (document_id, edition_id, generation, lane, outcome, changed_at, observed_at,"
        " claimed_at, staged_at, finished_at, chunks, embedded, detail)"
        " VALUES (?, 1, ?, 'bulk', 'published', ?, ?, ?, ?, ?, 1, 1, '')",
        [(key, key, now, now, now, now, now) for key, _ in numbered],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
