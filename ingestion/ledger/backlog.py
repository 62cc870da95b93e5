"""What is still to be done, and since when: by source, by lane, by state. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.sources import as_state
from ingestion.ledger.sql import configured, live_edition
from ingestion.ledger.tables import documents, is_pending, publications, sources
from ingestion.ledger.values import SourceLag, SourceState
from ingestion.records import Lane, PublicationState, Standing

# What `state` means to users: the standing, refined by the publication for documents that are there.
STATES = ("live", "pending", "failed", "held", "skipped", "retired")

shown_state = sa.case(
    (documents.c.standing != Standing.PRESENT, documents.c.standing),
    (publications.c.state.is_(None), PublicationState.PENDING.value),
    else_=publications.c.state,
).label("shown_state")

with_publication = documents.outerjoin(
    publications,
    sa.and_(publications.c.document_id == documents.c.id, publications.c.edition_id == live_edition),
)


@dataclass(frozen=True, slots=True)
class LaneView:
    """Open work of one lane. ``oldest`` is when the longest waiting change happened."""

    lane: str
    pending: int
    oldest: float | None


_PENDING = (
    sa.select(documents.c.source)
    .select_from(publications)
    .join(documents, documents.c.id == publications.c.document_id)
    .where(publications.c.edition_id == live_edition, is_pending, documents.c.standing == Standing.PRESENT)
)
# The first row in the order of an index: the rest of the backlog is not read.
_oldest = (
    sa.select(documents.c.pending_since)
    .join(publications, publications.c.document_id == documents.c.id)
    .where(
        documents.c.source == sources.c.name,
        documents.c.pending_since.is_not(None),
        documents.c.standing == Standing.PRESENT,
        publications.c.edition_id == live_edition,
        publications.c.state == PublicationState.PENDING,
    )
    .order_by(documents.c.pending_since)
    .limit(1)
    .scalar_subquery()
)
_OLDEST = sa.select(sources.c.name, _oldest)
_SIGHT = sa.select(sources, _oldest.label("oldest_pending")).order_by(sources.c.name)
_COUNTED = (
    sa.select(documents.c.source, shown_state, sa.func.count())
    .select_from(with_publication)
    .group_by(documents.c.source, shown_state)
)
_LANES = (
    _PENDING.with_only_columns(
        publications.c.lane,
        sa.func.count().label("number"),
        sa.func.min(sa.func.coalesce(documents.c.pending_since, documents.c.observed_at)).label("oldest"),
    )
    .where(configured)
    .group_by(publications.c.lane)
)
_UNFINISHED = _PENDING.with_only_columns(sa.func.count()).where(
    # Not by the index of sources: it leads to every document, that of pending work to what is asked for.
    (documents.c.source + "") == sa.bindparam("in_source"),
    documents.c.wanted <= sa.bindparam("generation"),
)
_NEVER_LIVE = _UNFINISHED.where(publications.c.live_generation.is_(None))


def read_sight(connection: sa.Connection) -> tuple[list[SourceState], dict[str, float]]:
    """Every source by name, and the oldest unpublished change of each that has one."""
    rows = connection.execute(_SIGHT).all()
    oldest = {row.name: row.oldest_pending for row in rows if row.oldest_pending is not None}
    return [as_state(row) for row in rows], oldest


class Backlog:
    """The part of the views that says what is still to be done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lags(self) -> dict[str, SourceLag]:
        """The backlog of every source that has documents."""
        counts: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            waiting = {row[0]: row[1] for row in connection.execute(_OLDEST)}
            for source, state, number in connection.execute(_COUNTED):
                counts.setdefault(source, dict.fromkeys(STATES, 0))[state] += number
        return {
            source: SourceLag(
                source, waiting.get(source), states["pending"], states["failed"], states["held"], states
            )
            for source, states in counts.items()
        }

    def oldest_pending(self) -> dict[str, float]:
        """The oldest unpublished change by source, failed and held documents left out: the cheap part of
        ``lags``, for every search."""
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(_OLDEST).all() if row[1] is not None}

    def lanes(self) -> list[LaneView]:
        """The open work of both lanes in sources that are configured, reindexing and repairs too."""
        with self._database.read() as connection:
            rows = {row.lane: row for row in connection.execute(_LANES)}
        return [
            LaneView(lane.value, rows[lane].number, rows[lane].oldest)
            if lane in rows
            else LaneView(lane.value, 0, None)
            for lane in Lane
        ]

    def unfinished(self, source: str, generation: int) -> int:
        """Documents of a source, wanted up to a generation, that are neither live nor dead letters."""
        with self._database.read() as connection:
            values = {"in_source": source, "generation": generation}
            return int(connection.execute(_UNFINISHED, values).scalar_one())

    def never_live(self, source: str, generation: int) -> int:
        """Those of ``unfinished`` of which no revision answers."""
        with self._database.read() as connection:
            values = {"in_source": source, "generation": generation}
            return int(connection.execute(_NEVER_LIVE, values).scalar_one())
