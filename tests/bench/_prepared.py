"""An index of any size without indexing: for benchmarks of what happens to one that is there.

The chunks are written straight through ledger and index, under files that the program then finds unchanged:
seeded clustered vectors with a hundred words of a Zipf-distributed vocabulary, ten a document; or notes.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.sql import slices
from ingestion.ledger.values import Look, Placed, Publishing, Staging
from ingestion.parsing import PARSER_VERSION
from ingestion.records import Lane, Seen
from ops.settings import load
from ops.wiring import Parts, add_sources, open_parts
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.index.port import IndexedChunk
from tests.bench._common import HASHING, small_files, write_all
from tests.bench.search_index import make_corpus
from tests.servers.postgres import Postgres

SOURCE = "held"
PER_DOCUMENT = 10
DOCUMENTS_AT_ONCE = 50
NOTES_AT_ONCE = 400


def prepare(place: Path, size: int, model: str, environ: Mapping[str, str] | None = None) -> Sequence[str]:
    """An index of so many chunks in ``place``/data over ``place``/held; returns questions.

    ``environ``: variables of the settings, for stores that lie elsewhere.
    """
    files = {f"{key // 100:04d}/{key}.md": f"{key}\n" for key in range(size // PER_DOCUMENT)}
    corpus = make_corpus(size)
    with prepared(place, files, model, environ or {}) as (parts, sightings):
        documents = list(zip(sightings, slices(corpus.chunks, PER_DOCUMENT), strict=True))
        for some in slices(documents, DOCUMENTS_AT_ONCE):
            publish(parts, some)
    return corpus.questions


def prepare_notes(place: Path, number: int, environ: Mapping[str, str]) -> None:
    """So many notes of 200 bytes in ``place``/held, each indexed as the one chunk that it is, with the vector
    of the hashing embedder, so that an edit of one is what it is to any other index."""
    files = small_files(number, size=200)
    with prepared(place, files, HASHING, environ) as (parts, sightings):
        embedder = HashingEmbedder()
        for some in slices(sightings, NOTES_AT_ONCE):
            texts = [files[one.uri] for one in some]
            notes = [
                IndexedChunk(
                    str(uuid.uuid4()), SOURCE, hashlib.sha256(text.encode()).hexdigest(), "", text, vector
                )
                for text, vector in zip(texts, embedder.embed_documents(texts), strict=True)
            ]
            publish(parts, [(one, [note]) for one, note in zip(some, notes, strict=True)])


@contextlib.contextmanager
def prepared(
    place: Path, files: Mapping[str, str], model: str, environ: Mapping[str, str]
) -> Iterator[tuple[Parts, list[Seen]]]:
    """These files in ``place``/held, as a listing sees them, and what their index is written with."""
    held = place / SOURCE
    write_all(held, files)
    settings = load(
        None,
        arguments={"sources": [held], "daemon.data": place / "data", "embedding.model": model},
        environ=environ,
    )
    parts = open_parts(settings)
    try:
        add_sources(parts.ledger, parts.settings, parts.sources)
        yield parts, [one for one in parts.sources[SOURCE].list().sightings if isinstance(one, Seen)]
    finally:
        parts.close()


def settle(postgres: Postgres, database: Database) -> None:
    """Have the server gather its statistics now, as it does by itself within a minute or so."""
    postgres.execute("VACUUM ANALYZE", database.url.database)


def publish(parts: Parts, documents: Sequence[tuple[Seen, Sequence[IndexedChunk]]]) -> None:
    """What a worker does between claim and publish, without reading anything."""
    ledger, edition = parts.ledger, parts.edition
    changes = [Change(seen, seen.observed_at) for seen, _ in documents]
    claims = ledger.claims.claim(edition, ledger.documents.want(SOURCE, changes, Lane.BULK, sent=True))
    chunks = {seen.uri: group for seen, group in documents}
    looks = {seen.uri: seen for seen, _ in documents}
    publishings: list[Publishing] = []
    pipeline = parts.drafter.pipeline(PARSER_VERSION)
    stagings: list[Staging] = []
    indexed: list[IndexedChunk] = []
    for claim in claims:
        placed = [
            Placed(one.chunk_id, ordinal, ordinal * 1000, (ordinal + 1) * 1000, ("Notes",))
            for ordinal, one in enumerate(chunks[claim.uri])
        ]
        stagings += [
            Staging(claim, at, one.digest) for at, one in zip(placed, chunks[claim.uri], strict=True)
        ]
        indexed += chunks[claim.uri]
        seen = looks[claim.uri]
        look = Look(seen.fingerprint, seen.identity, seen.size_bytes, seen.observed_at, False)
        publishings.append(Publishing(claim, claim.uri, pipeline, look, added=placed))
    ledger.publications.stage(stagings)
    parts.index.upsert(edition.name, indexed)
    ledger.publications.publish(publishings)
