"""What people and monitors ask of the ledger. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.ledger.backlog import STATES, Backlog, LaneView, shown_state, with_publication
from ingestion.ledger.sql import configured, live_edition, of_users, own
from ingestion.ledger.tables import attempts, chunks, documents, editions, publications
from ingestion.places import parted
from ingestion.records import Standing

__all__ = [
    "STATES",
    "AttemptView",
    "DocumentView",
    "ElsewhereView",
    "ExportRow",
    "LaneView",
    "LatestView",
    "UnderWayView",
    "Views",
]


@dataclass(frozen=True, slots=True)
class DocumentView:
    """One document with its publication in the live edition (None before any)."""

    document_id: int
    source: str
    uri: str
    state: str
    reason: str
    size_bytes: int
    wanted: int
    generation: int | None
    lane: str | None
    changed_at: float
    observed_at: float
    pending_since: float | None
    published_at: float | None
    attempts: int
    not_before: float
    error: str | None
    failed_at: float | None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One line of a document's history. Times are None where the stage was not reached."""

    generation: int
    lane: str
    outcome: str
    changed_at: float | None
    observed_at: float | None
    claimed_at: float | None
    staged_at: float | None
    finished_at: float
    chunks: int
    embedded: int
    reused: int
    detail: str
    edition: str | None = None  # name of the edition it was tried in


@dataclass(frozen=True, slots=True)
class UnderWayView:
    """Who has to do with a pending publication of the live edition now. ``sent_at`` None: no message about
    it is on its way; ``claimed_at`` and ``lease_until`` None: no worker has it."""

    sent_at: float | None
    claimed_at: float | None
    lease_until: float | None


@dataclass(frozen=True, slots=True)
class LatestView:
    """One step in the life of a document, with its name as it is now."""

    source: str
    uri: str
    outcome: str
    changed_at: float | None
    finished_at: float
    embedded: int
    detail: str

    @property
    def name(self) -> str:
        return f"{self.source}/{self.uri}"


@dataclass(frozen=True, slots=True)
class ElsewhereView:
    """A document in an edition that is not live: one that is being built, or kept for going back."""

    edition: str
    description: str
    edition_state: str
    state: str
    generation: int | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class ExportRow:
    chunk_id: str
    document_id: int
    source: str
    uri: str
    ordinal: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    place: str


_DOCUMENT = sa.select(
    documents,
    shown_state,
    publications.c.live_generation,
    publications.c.lane,
    publications.c.published_at,
    publications.c.attempts,
    publications.c.not_before,
    publications.c.error,
    publications.c.failed_at,
).select_from(with_publication)
_BY_ID = _DOCUMENT.where(documents.c.id == sa.bindparam("key"))
_BY_NAME = _DOCUMENT.where(
    documents.c.source == sa.bindparam("in_source"), documents.c.uri == sa.bindparam("at")
)
_UNDER_WAY = sa.select(publications.c.sent_at, publications.c.claimed_at, publications.c.lease_until).where(
    publications.c.document_id == sa.bindparam("key"), publications.c.edition_id == live_edition
)
_HISTORY = (
    sa.select(attempts, editions.c.name.label("edition"))
    .outerjoin(editions, editions.c.id == attempts.c.edition_id)
    .where(attempts.c.document_id == sa.bindparam("key"))
    .order_by(attempts.c.id)
)
# By the key, newest first: reads no more than it returns, however long the history is.
_LATEST = (
    sa.select(
        documents.c.source,
        documents.c.uri,
        attempts.c.outcome,
        attempts.c.changed_at,
        attempts.c.finished_at,
        attempts.c.embedded,
        attempts.c.detail,
    )
    .join(documents, documents.c.id == attempts.c.document_id)
    .where(of_users)
    .order_by(attempts.c.id.desc())
    .limit(sa.bindparam("at_most"))
)
_ELSEWHERE = (
    sa.select(editions.c.name, editions.c.description, editions.c.state.label("edition_state"), publications)
    .join(editions, editions.c.id == publications.c.edition_id)
    .where(publications.c.document_id == sa.bindparam("key"), editions.c.state.in_(("building", "retiring")))
    .order_by(editions.c.id)
)

_alive = (chunks.c.edition_id == live_edition, chunks.c.born.is_not(None), chunks.c.died.is_(None))
# In the order of ExportRow's fields.
_CHUNKS = (
    sa.select(
        chunks.c.id,
        chunks.c.document_id,
        documents.c.source,
        documents.c.uri,
        chunks.c.ordinal,
        chunks.c.start,
        chunks.c.end,
        chunks.c.heading_path,
    )
    .join(documents, documents.c.id == chunks.c.document_id)
    .where(*_alive)
)
_OF_DOCUMENT = _CHUNKS.where(chunks.c.document_id == sa.bindparam("key")).order_by(chunks.c.ordinal)
_EXPORTED = _CHUNKS.where(configured, of_users).order_by(
    documents.c.source, documents.c.uri, chunks.c.ordinal
)
_COUNT_LIVE = sa.select(sa.func.count()).select_from(chunks).where(*_alive)
# Counted by themselves: a join of all chunks with their documents would take many times as long.
_COUNT_OWN = _CHUNKS.with_only_columns(sa.func.count()).where(own)


class Views(Backlog):
    """Reads for status, metrics, explain, export and the dead-letter list."""

    def documents(
        self, *, source: str | None = None, state: str | None = None, after: int = 0, limit: int = 100
    ) -> list[DocumentView]:
        """A page of documents by id; retired ones, and those of Headwater's own sources, only when asked
        for."""
        query = _DOCUMENT.where(documents.c.id > after)
        query = query.where(of_users if source is None else documents.c.source == source)
        if state is not None:
            query = query.where(shown_state.in_([state]))
        else:
            query = query.where(documents.c.standing != Standing.RETIRED)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(documents.c.id).limit(limit))
            return [_document(row) for row in rows]

    def document(self, document_id: int) -> DocumentView | None:
        return self._one(_BY_ID, {"key": document_id})

    def named(self, source: str, uri: str) -> DocumentView | None:
        return self._one(_BY_NAME, {"in_source": source, "at": uri})

    def history(self, document_id: int) -> list[AttemptView]:
        """What was tried for a document, oldest first."""
        with self._database.read() as connection:
            return [
                AttemptView(
                    row.generation,
                    row.lane,
                    row.outcome,
                    row.changed_at,
                    row.observed_at,
                    row.claimed_at,
                    row.staged_at,
                    row.finished_at,
                    row.chunks,
                    row.embedded,
                    row.reused,
                    row.detail,
                    row.edition,
                )
                for row in connection.execute(_HISTORY, {"key": document_id})
            ]

    def latest(self, limit: int) -> list[LatestView]:
        """What was tried last, in all sources of users and all editions, newest first."""
        with self._database.read() as connection:
            return [LatestView(*row) for row in connection.execute(_LATEST, {"at_most": limit})]

    def under_way(self, document_id: int) -> UnderWayView:
        """What is being done about a document in the live edition."""
        with self._database.read() as connection:
            row = connection.execute(_UNDER_WAY, {"key": document_id}).one_or_none()
        if row is None:
            return UnderWayView(None, None, None)
        claimed_at = None if row.lease_until is None else row.claimed_at
        return UnderWayView(row.sent_at or None, claimed_at, row.lease_until)

    def elsewhere(self, document_id: int) -> list[ElsewhereView]:
        """What became of a document in the editions beside the live one."""
        with self._database.read() as connection:
            return [
                ElsewhereView(
                    row.name,
                    row.description,
                    row.edition_state,
                    row.state,
                    row.live_generation,
                    row.attempts,
                    row.error,
                )
                for row in connection.execute(_ELSEWHERE, {"key": document_id})
            ]

    def chunks_of(self, document_id: int) -> list[ExportRow]:
        """The live chunks of a document in order."""
        with self._database.read() as connection:
            return [_export_row(row) for row in connection.execute(_OF_DOCUMENT, {"key": document_id})]

    def export(self) -> Iterator[ExportRow]:
        """Every live chunk of users' configured sources, by source, URI and place, as of one moment.

        One transaction until the last row is taken: take them without waiting for anybody.
        """
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=1000).execute(_EXPORTED):
                yield _export_row(row)

    def live_chunk_count(self) -> int:
        """Of users' sources."""
        with self._database.read() as connection:
            everything, ours = (connection.execute(one).scalar_one() for one in (_COUNT_LIVE, _COUNT_OWN))
            return int(everything - ours)

    def _one(self, query: sa.Select[Any], values: dict[str, object]) -> DocumentView | None:
        with self._database.read() as connection:
            row = connection.execute(query, values).one_or_none()
        return None if row is None else _document(row)


def _document(row: Any) -> DocumentView:
    return DocumentView(
        document_id=row.id,
        source=row.source,
        uri=row.uri,
        state=row.shown_state,
        reason=row.reason,
        size_bytes=row.size_bytes,
        wanted=row.wanted,
        generation=row.live_generation,
        lane=row.lane,
        changed_at=row.changed_at,
        observed_at=row.observed_at,
        pending_since=row.pending_since,
        published_at=row.published_at,
        attempts=row.attempts or 0,
        not_before=row.not_before or 0.0,
        error=row.error,
        failed_at=row.failed_at,
    )


def _export_row(row: Any) -> ExportRow:
    key, document_id, source, uri, ordinal, start, end, path = row
    headings, place = parted(path)
    return ExportRow(key, document_id, source, uri, ordinal, start, end, headings, place)
