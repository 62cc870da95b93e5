"""What is still to be done, and since when: by source, by lane, by state. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sources import as_state
from ingestion.ledger.sql import configured, live_edition, of_users
from ingestion.ledger.tables import documents, is_failed, is_pending, publications, sources
from ingestion.ledger.values import SourceLag, SourceState, Waiting
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
# By an index that holds both: no document's row is read.
_STANDING = sa.select(documents.c.source, documents.c.standing, sa.func.count()).group_by(
    documents.c.source, documents.c.standing
)
_FAILED = (
    sa.select(documents.c.source, sa.func.count())
    .select_from(publications)
    .join(documents, documents.c.id == publications.c.document_id)
    .where(publications.c.edition_id == live_edition, is_failed, documents.c.standing == Standing.PRESENT)
    .group_by(documents.c.source)
)
_leased = publications.c.lease_until.is_not(None)
_first_index = sa.and_(publications.c.lane == Lane.BULK, publications.c.live_generation.is_(None))
_overdue = sa.and_(
    documents.c.pending_since < sa.bindparam("now") - sources.c.within_s, sa.not_(_first_index)
)
_due = sa.and_(sa.not_(_leased), publications.c.not_before <= sa.bindparam("now"))


def _number_of(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


_WAITING = (
    _PENDING.join(sources, sources.c.name == documents.c.source)
    .add_columns(
        publications.c.lane,
        sa.func.count(),
        sa.func.min(sa.func.coalesce(documents.c.pending_since, documents.c.observed_at)),
        sa.func.min(documents.c.pending_since),
        _number_of(_overdue),
        _number_of(_leased),
        _number_of(_due),
        sa.func.max(publications.c.claimed_at),
        _number_of(_first_index),
        sa.func.min(sa.case((sa.not_(_first_index), documents.c.pending_since))),
    )
    .group_by(documents.c.source, publications.c.lane)
)
# What was tried last of what still waits.
_TROUBLE = (
    _PENDING.with_only_columns(publications.c.error)
    .where(
        (documents.c.source + "") == sa.bindparam("in_source"),
        publications.c.error.is_not(None),
        publications.c.error != "",
    )
    .order_by(publications.c.claimed_at.desc())
    .limit(1)
)
_LANES = (
    _PENDING.with_only_columns(
        publications.c.lane,
        sa.func.count().label("number"),
        sa.func.min(sa.func.coalesce(documents.c.pending_since, documents.c.observed_at)).label("oldest"),
    )
    .where(configured, of_users)
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

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def lags(self) -> dict[str, SourceLag]:
        """The backlog of every source that has documents, as of one moment."""
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            oldest = {row[0]: row[1] for row in connection.execute(_OLDEST)}
            failed = {row[0]: row[1] for row in connection.execute(_FAILED)}
            waiting: dict[str, list[Waiting]] = {}
            for source, *told in connection.execute(_WAITING, {"now": now}):
                waiting.setdefault(source, []).append(Waiting(*told))
            has_index = connection.execute(sa.select(live_edition)).scalar() is not None
            standings: dict[str, dict[str, int]] = {}
            for source, standing, number in connection.execute(_STANDING):
                standings.setdefault(source, {})[standing] = number
        return {
            source: _lag(
                source,
                _counts(numbers, waiting.get(source, ()), failed.get(source, 0), has_index=has_index),
                oldest.get(source),
                waiting.get(source, ()),
            )
            for source, numbers in standings.items()
        }

    def oldest_pending(self) -> dict[str, float]:
        """The oldest unpublished change by source, failed and held documents left out: the cheap part of
        ``lags``, for every search."""
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(_OLDEST).all() if row[1] is not None}

    def lanes(self) -> list[LaneView]:
        """The open work of both lanes in users' sources that are configured, reindexing and repairs too."""
        with self._database.read() as connection:
            rows = {row.lane: row for row in connection.execute(_LANES)}
        return [
            LaneView(lane.value, rows[lane].number, rows[lane].oldest)
            if lane in rows
            else LaneView(lane.value, 0, None)
            for lane in Lane
        ]

    def trouble(self, source: str) -> str | None:
        """Why what waits of a source could not be published when that was last tried, if it was."""
        with self._database.read() as connection:
            error: str | None = connection.execute(_TROUBLE, {"in_source": source}).scalar()
        return error

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


def _counts(
    standings: Mapping[str, int], waiting: Sequence[Waiting], failed: int, *, has_index: bool
) -> dict[str, int]:
    """Documents by state. What is there and neither waits nor failed is live; all that is there waits, as
    long as there is no index."""
    there = standings.get(Standing.PRESENT, 0)
    pending = sum(one.pending for one in waiting) if has_index else there
    counts = dict.fromkeys(STATES, 0)
    counts |= {"pending": pending, "failed": failed, "live": max(0, there - pending - failed)}
    return counts | {state: standings[state] for state in STATES if state in standings}


def _lag(source: str, counts: dict[str, int], oldest: float | None, waiting: Sequence[Waiting]) -> SourceLag:
    return SourceLag(
        source, oldest, counts["pending"], counts["failed"], counts["held"], counts, tuple(waiting)
    )
