"""An index of any size without indexing: for benchmarks of what happens to one that is there.

The chunks (seeded clustered vectors, a hundred words of a Zipf-distributed vocabulary) are written straight
through ledger and index, ten a document, under files that the program then finds unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ingestion.ledger.documents import Change
from ingestion.ledger.values import Look, Placed, Publishing, Staging
from ingestion.records import Lane, Seen
from ops.settings import load
from ops.wiring import Parts, configure_sources, open_parts
from retrieval.index.port import IndexedChunk
from tests.bench._common import write_all
from tests.bench.search_index import make_corpus

PER_DOCUMENT = 10
DOCUMENTS_AT_ONCE = 50


def prepare(place: Path, size: int, model: str) -> Sequence[str]:
    """An index of so many chunks in ``place``/data over ``place``/held; returns questions."""
    held = place / "held"
    write_all(held, {f"{key // 100:04d}/{key}.md": f"{key}\n" for key in range(size // PER_DOCUMENT)})
    settings = load(
        None,
        arguments={"sources": [held], "daemon.data": place / "data", "embedding.model": model},
        environ={},
    )
    parts = open_parts(settings)
    configure_sources(parts.ledger, parts.settings, parts.sources)
    corpus = make_corpus(size)
    sightings = [one for one in parts.sources["held"].list().sightings if isinstance(one, Seen)]
    groups = list(slices(corpus.chunks, PER_DOCUMENT))
    documents = list(zip(sightings, groups, strict=True))
    for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
        publish(parts, documents[start : start + DOCUMENTS_AT_ONCE])
    parts.close()
    return corpus.questions


def publish(parts: Parts, documents: Sequence[tuple[Seen, Sequence[IndexedChunk]]]) -> None:
    """What a worker does between claim and publish, without reading anything."""
    ledger, edition = parts.ledger, parts.edition
    changes = [Change(seen, seen.observed_at) for seen, _ in documents]
    claims = ledger.claims.claim(edition, ledger.documents.want("held", changes, Lane.BULK, sent=True))
    chunks = {seen.uri: group for seen, group in documents}
    looks = {seen.uri: seen for seen, _ in documents}
    publishings: list[Publishing] = []
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
        publishings.append(Publishing(claim, claim.uri, parts.drafter.pipeline, look, added=placed))
    ledger.publications.stage(stagings)
    parts.index.upsert(edition.name, indexed)
    ledger.publications.publish(publishings)


def slices(chunks: Sequence[IndexedChunk], size: int) -> Iterator[Sequence[IndexedChunk]]:
    return (chunks[start : start + size] for start in range(0, len(chunks), size))
