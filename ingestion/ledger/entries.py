"""What the ledger knows of documents, as new observations are compared with it. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import among, live_edition, slices
from ingestion.ledger.tables import documents, publications
from ingestion.ledger.values import Entry
from ingestion.records import PublicationState, Standing

# In the order of Entry's fields.
ENTRY = (
    documents.c.id,
    documents.c.source,
    documents.c.uri,
    documents.c.fingerprint,
    documents.c.identity,
    documents.c.size_bytes,
    documents.c.racy,
    documents.c.standing,
    documents.c.wanted,
    documents.c.observed,
    documents.c.observed_at,
)
SERVED = (Standing.PRESENT, Standing.HELD)
_OF_SOURCE = sa.select(*ENTRY).where(documents.c.source == sa.bindparam("in_source"))
_AT_URIS = _OF_SOURCE.where(documents.c.uri.in_(among("uris")))
_WITH_IDENTITY = _OF_SOURCE.where(
    documents.c.identity.in_(among("identities")), documents.c.standing.in_(SERVED)
)
_DIGESTS = sa.select(publications.c.document_id, publications.c.digest).where(
    publications.c.document_id.in_(among("ids")),
    publications.c.edition_id == live_edition,
    publications.c.state == PublicationState.LIVE,
    publications.c.digest.is_not(None),
)
_PUBLISHED = sa.select(publications.c.document_id).where(
    publications.c.document_id.in_(among("ids")), publications.c.live_generation.is_not(None)
)
_COUNT = (
    sa.select(sa.func.count()).select_from(documents).where(documents.c.source == sa.bindparam("in_source"))
)
_COUNT_SERVED = _COUNT.where(documents.c.standing.in_((*SERVED, Standing.SKIPPED)))
_COUNT_RETIRED = _COUNT.where(
    documents.c.standing == Standing.RETIRED,
    documents.c.retired_at.between(sa.bindparam("since"), sa.bindparam("until")),
)
_STANDINGS = {standing.value: standing for standing in Standing}


class Entries:
    """The part of the ledger's book of documents that only reads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def entries(self, source: str) -> dict[str, Entry]:
        """Every entry of a source by URI, tombstones included (a path that comes back revives one)."""
        with self._database.read() as connection:
            rows = connection.execute(_OF_SOURCE, {"in_source": source}).all()
        return {entry.uri: entry for entry in as_entries(rows)}

    def find(self, source: str, uris: Sequence[str]) -> dict[str, Entry]:
        """The entries at these URIs; unknown ones are left out."""
        found: dict[str, Entry] = {}
        with self._database.read() as connection:
            for some in slices(uris):
                rows = connection.execute(_AT_URIS, {"in_source": source, "uris": some})
                found |= {entry.uri: entry for entry in as_entries(rows)}
        return found

    def below(self, source: str, prefix: str) -> list[Entry]:
        """Entries whose URI starts with the prefix ('' for all) and that are not retired."""
        query = _OF_SOURCE.where(documents.c.standing != Standing.RETIRED)
        if prefix:
            end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            query = query.where(documents.c.uri >= prefix, documents.c.uri < end)
        with self._database.read() as connection:
            return as_entries(connection.execute(query, {"in_source": source}))

    def with_identity(self, source: str, identities: Sequence[str]) -> list[Entry]:
        """Served entries whose published look had one of these identities."""
        found: list[Entry] = []
        with self._database.read() as connection:
            for some in slices(identities):
                rows = connection.execute(_WITH_IDENTITY, {"in_source": source, "identities": some})
                found += as_entries(rows)
        return found

    def digests(self, document_ids: Sequence[int]) -> dict[int, str]:
        """Content digest of documents whose newest revision is live."""
        found: dict[int, str] = {}
        with self._database.read() as connection:
            for some in slices(document_ids):
                found |= {row[0]: row[1] for row in connection.execute(_DIGESTS, {"ids": some})}
        return found

    def published(self, document_ids: Sequence[int]) -> set[int]:
        """Those of the documents of which some revision is live, in whatever edition."""
        found: set[int] = set()
        with self._database.read() as connection:
            for some in slices(document_ids):
                found |= set(connection.execute(_PUBLISHED, {"ids": some}).scalars())
        return found

    def count_served(self, source: str) -> int:
        """How many documents the source holds, as far as the ledger knows (skipped ones too)."""
        return self._count(_COUNT_SERVED, {"in_source": source})

    def count_retired_within(self, source: str, seconds: float) -> int:
        """How many were retired unasked in these last seconds: approved retirements do not count against the
        next. By the ledger's clock; what lies ahead of it is from before it was set back."""
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
        window = {"since": now - seconds, "until": now}
        return self._count(_COUNT_RETIRED, {"in_source": source, **window})

    def _count(self, query: sa.Select[Any], values: dict[str, object]) -> int:
        with self._database.read() as connection:
            return int(connection.execute(query, values).scalar_one())


def as_entries(rows: Iterable[Any]) -> list[Entry]:
    """Rows that hold the columns of an entry, in order, and nothing else."""
    return [
        Entry(key, source, uri, look, identity, size, racy, _STANDINGS[standing], wanted, observed, at)
        for key, source, uri, look, identity, size, racy, standing, wanted, observed, at in rows
    ]
