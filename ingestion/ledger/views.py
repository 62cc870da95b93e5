"""What people and monitors ask of the ledger. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.tables import attempts, chunks, documents, editions, publications
from ingestion.ledger.values import SourceLag
from ingestion.records import Lane, PublicationState, Standing

# What `state` means to users: the standing, refined by the publication for documents that are there.
STATES = ("live", "pending", "failed", "held", "skipped", "retired")


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


@dataclass(frozen=True, slots=True)
class LaneView:
    """Open work of one lane. ``oldest`` is when the longest waiting change happened."""

    lane: str
    pending: int
    oldest: float | None


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


_STATE = sa.case(
    (documents.c.standing != Standing.PRESENT, documents.c.standing),
    (publications.c.state.is_(None), PublicationState.PENDING.value),
    else_=publications.c.state,
).label("shown_state")

_LIVE_EDITION = sa.select(editions.c.id).where(editions.c.state == "live").scalar_subquery()

_DOCUMENTS = documents.outerjoin(
    publications,
    sa.and_(publications.c.document_id == documents.c.id, publications.c.edition_id == _LIVE_EDITION),
)


class Views:
    """Reads for status, metrics, explain, export and the dead-letter list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lags(self) -> dict[str, SourceLag]:
        """The backlog of every source that has documents."""
        pending = sa.and_(
            documents.c.standing == Standing.PRESENT,
            documents.c.pending_since.is_not(None),
            publications.c.state == PublicationState.PENDING,
        )
        oldest = (
            sa.select(documents.c.source, sa.func.min(documents.c.pending_since).label("oldest"))
            .select_from(_DOCUMENTS)
            .where(pending)
            .group_by(documents.c.source)
        )
        counted = (
            sa.select(documents.c.source, _STATE, sa.func.count().label("number"))
            .select_from(_DOCUMENTS)
            .group_by(documents.c.source, _STATE)
        )
        counts: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            waiting = {row.source: row.oldest for row in connection.execute(oldest)}
            for row in connection.execute(counted):
                counts.setdefault(row.source, dict.fromkeys(STATES, 0))[row.shown_state] = row.number
        return {
            source: SourceLag(
                source, waiting.get(source), states["pending"], states["failed"], states["held"], states
            )
            for source, states in counts.items()
        }

    def oldest_pending(self) -> dict[str, float]:
        """The oldest unpublished change by source, failed and held documents left out: the cheap part of
        ``lags``, for every search."""
        query = (
            sa.select(documents.c.source, sa.func.min(documents.c.pending_since).label("oldest"))
            .join(publications, publications.c.document_id == documents.c.id)
            .where(
                documents.c.pending_since.is_not(None),
                documents.c.standing == Standing.PRESENT,
                publications.c.edition_id == _LIVE_EDITION,
                publications.c.state == PublicationState.PENDING,
            )
            .group_by(documents.c.source)
        )
        with self._database.read() as connection:
            return {row.source: row.oldest for row in connection.execute(query)}

    def lanes(self) -> list[LaneView]:
        query = (
            sa.select(
                publications.c.lane,
                sa.func.count().label("number"),
                sa.func.min(sa.func.coalesce(documents.c.pending_since, documents.c.observed_at)).label(
                    "oldest"
                ),
            )
            .join(documents, documents.c.id == publications.c.document_id)
            .where(
                publications.c.edition_id == _LIVE_EDITION,
                publications.c.state == PublicationState.PENDING,
                documents.c.standing == Standing.PRESENT,
            )
            .group_by(publications.c.lane)
        )
        with self._database.read() as connection:
            rows = {row.lane: row for row in connection.execute(query)}
        return [
            LaneView(lane.value, rows[lane].number, rows[lane].oldest)
            if lane in rows
            else LaneView(lane.value, 0, None)
            for lane in Lane
        ]

    def unfinished(self, source: str, generation: int) -> int:
        """Documents of a source, wanted up to a generation, that are neither live nor dead letters."""
        query = (
            sa.select(sa.func.count())
            .select_from(_DOCUMENTS)
            .where(
                documents.c.source == source,
                documents.c.standing == Standing.PRESENT,
                documents.c.wanted <= generation,
                publications.c.state == PublicationState.PENDING,
            )
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def documents(
        self, *, source: str | None = None, state: str | None = None, after: int = 0, limit: int = 100
    ) -> list[DocumentView]:
        """A page of documents by id; retired ones only when asked for."""
        query = _document_query().where(documents.c.id > after)
        if source is not None:
            query = query.where(documents.c.source == source)
        if state is not None:
            query = query.where(_STATE.in_([state]))
        else:
            query = query.where(documents.c.standing != Standing.RETIRED)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(documents.c.id).limit(limit))
            return [_document(row) for row in rows]

    def document(self, document_id: int) -> DocumentView | None:
        with self._database.read() as connection:
            row = connection.execute(_document_query().where(documents.c.id == document_id)).one_or_none()
        return None if row is None else _document(row)

    def named(self, source: str, uri: str) -> DocumentView | None:
        with self._database.read() as connection:
            query = _document_query().where(documents.c.source == source, documents.c.uri == uri)
            row = connection.execute(query).one_or_none()
        return None if row is None else _document(row)

    def history(self, document_id: int) -> list[AttemptView]:
        """What was tried for a document, oldest first."""
        query = sa.select(attempts).where(attempts.c.document_id == document_id).order_by(attempts.c.id)
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
                )
                for row in connection.execute(query)
            ]

    def chunks_of(self, document_id: int) -> list[ExportRow]:
        """The live chunks of a document in order."""
        with self._database.read() as connection:
            query = _chunk_query().where(chunks.c.document_id == document_id).order_by(chunks.c.ordinal)
            return [_export_row(row) for row in connection.execute(query)]

    def export(self) -> Iterator[ExportRow]:
        """Every live chunk of active sources, by source, URI and place, as of one moment."""
        query = _chunk_query().order_by(documents.c.source, documents.c.uri, chunks.c.ordinal)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield _export_row(row)

    def live_chunk_count(self) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(chunks)
            .where(chunks.c.edition_id == _LIVE_EDITION, chunks.c.born.is_not(None), chunks.c.died.is_(None))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())


def _document_query() -> sa.Select[Any]:
    return sa.select(
        documents,
        _STATE,
        publications.c.live_generation,
        publications.c.lane,
        publications.c.published_at,
        publications.c.changed_at.label("live_changed_at"),
        publications.c.attempts,
        publications.c.not_before,
        publications.c.error,
        publications.c.failed_at,
    ).select_from(_DOCUMENTS)


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


def _chunk_query() -> sa.Select[Any]:
    return (
        sa.select(
            chunks.c.id,
            chunks.c.document_id,
            chunks.c.ordinal,
            chunks.c.start,
            chunks.c.end,
            chunks.c.heading_path,
            documents.c.source,
            documents.c.uri,
        )
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(
            chunks.c.edition_id == _LIVE_EDITION,
            chunks.c.born.is_not(None),
            chunks.c.died.is_(None),
        )
    )


def _export_row(row: Any) -> ExportRow:
    return ExportRow(
        row.id, row.document_id, row.source, row.uri, row.ordinal, row.start, row.end, tuple(row.heading_path)
    )
