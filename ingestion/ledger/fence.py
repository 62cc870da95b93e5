"""The fence: which of the chunks an index found may be served.

A search takes its horizon first, then asks the index, then serves exactly the chunks with
``born <= tick < died``. New chunks were acknowledged by the index before they got their tick, so nothing
is missing; all rounds of a search use one tick, so nothing is mixed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.errors import LedgerUnavailable
from ingestion.ledger.backlog import read_sight
from ingestion.ledger.edition_rows import as_edition
from ingestion.ledger.sql import configured, read_counter, slices
from ingestion.ledger.tables import chunks, counters, documents, editions, is_pending, publications, sources
from ingestion.ledger.values import Admitted, Edition, Horizon, Outset
from ingestion.own import is_own
from ingestion.places import parted
from ingestion.records import PublicationState, Standing

_COLUMNS = (
    chunks.c.id,
    chunks.c.document_id,
    chunks.c.ordinal,
    chunks.c.start,
    chunks.c.end,
    chunks.c.heading_path,
    documents.c.source,
    documents.c.uri,
    documents.c.standing,
    documents.c.wanted,
    documents.c.pending_since,
    publications.c.state,
    publications.c.live_generation,
    publications.c.published_tick,
    publications.c.changed_at,
    publications.c.published_at,
)


# Built once: every search runs them twice, and building them takes longer than running them.
_SERVED = (
    sa.select(*_COLUMNS)
    .join(documents, documents.c.id == chunks.c.document_id)
    .join(
        publications,
        sa.and_(
            publications.c.document_id == chunks.c.document_id,
            publications.c.edition_id == chunks.c.edition_id,
        ),
    )
    .where(
        chunks.c.edition_id == sa.bindparam("edition"),
        chunks.c.born <= sa.bindparam("tick"),
        sa.or_(chunks.c.died.is_(None), chunks.c.died > sa.bindparam("tick")),
        documents.c.standing.in_((Standing.PRESENT, Standing.HELD)),
        # A revival clears nothing of the old chunks' rows: only what is live again counts.
        publications.c.live_generation.is_not(None),
    )
)
_BY_CHUNK = _SERVED.where(chunks.c.id.in_(sa.bindparam("keys", expanding=True)))
_BY_DOCUMENT = _SERVED.where(chunks.c.document_id.in_(sa.bindparam("keys", expanding=True)))
_tick = sa.select(counters.c.value).where(counters.c.name == "tick").scalar_subquery()
_HORIZON = sa.select(editions, _tick.label("tick")).where(editions.c.state == "live")


class Fence:
    """Lets only live chunks through."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def horizon(self) -> Horizon:
        """The tick and the live edition, read together. Raises LedgerUnavailable where there is none."""
        with self._database.read() as connection:
            return _horizon(connection)

    def outset(self) -> Outset:
        """A horizon, and before it the watermark of the sources: what is said to be searchable is, at the
        horizon. Raises as ``horizon``."""

        def ask(connection: sa.Connection) -> Outset:
            states, oldest_pending = read_sight(connection)
            return Outset(states, oldest_pending, _horizon(connection))

        return self._database.look(ask)

    def horizon_with(
        self, document_ids: Collection[int], chunk_ids: Collection[str], *, within: Edition | None = None
    ) -> tuple[Horizon, dict[str, Admitted]]:
        """A horizon, and as of exactly that moment: these chunks and all chunks of these documents.

        ``within`` another edition than the live one, to try what it would answer.

        For a search whose documents are published again while it runs: their places and times are
        overwritten then, and here they were read before.
        """
        admitted: dict[str, Admitted] = {}
        with self._database.read() as connection:
            horizon = _horizon(connection, within)
            for some_documents in slices(list(document_ids)):
                admitted |= _admit(horizon, _BY_DOCUMENT, some_documents, connection)
            for some_chunks in slices(list(chunk_ids)):
                admitted |= _admit(horizon, _BY_CHUNK, some_chunks, connection)
        return horizon, admitted

    def active_sources(self) -> tuple[str, ...]:
        """The users' sources that are in service: those that are searched unless others are named."""
        return tuple(name for name in self.in_service() if not is_own(name))

    def in_service(self) -> tuple[str, ...]:
        """The sources in the settings, and the canary's: documents of any other are not served."""
        query = sa.select(sources.c.name).where(sources.c.active).order_by(sources.c.name)
        return self._database.look(lambda connection: tuple(connection.execute(query).scalars()))

    def admit(self, chunk_ids: Sequence[str], horizon: Horizon) -> dict[str, Admitted]:
        """Those of the chunks that were live at the horizon and whose document is not retired since.

        A document that was published again after the horizon comes with ``published_tick`` above the
        horizon's tick: its place and times are those of the newer revision.
        """
        admitted: dict[str, Admitted] = {}
        for some in slices(chunk_ids):  # as the rounds of a search, not all of one moment
            admitted |= self._database.look(partial(_admit, horizon, _BY_CHUNK, some))
        return admitted

    def behind(self, generation: int, names: Sequence[str] | None = None) -> int:
        """How many documents are still to be published before everything up to a generation is live.

        Failed and held documents are not awaited, nor those of sources that are not configured.
        """
        condition = [
            is_pending,
            editions.c.state == "live",
            documents.c.standing == Standing.PRESENT,
            sa.func.coalesce(publications.c.live_generation, 0) < generation,
            publications.c.live_generation.is_distinct_from(documents.c.wanted),
            configured,
        ]
        if names is not None:
            condition.append(documents.c.source.in_(names))
        query = (
            sa.select(sa.func.count())
            .select_from(publications)
            .join(documents, documents.c.id == publications.c.document_id)
            .join(editions, editions.c.id == publications.c.edition_id)
            .where(*condition)
        )
        return self._database.look(lambda connection: int(connection.execute(query).scalar_one()))

    def pending(self, document_ids: Sequence[int]) -> set[int]:
        """Those of the documents whose newer revision is still to be published (dead letters left out)."""
        query = (
            sa.select(publications.c.document_id)
            .join(editions, editions.c.id == publications.c.edition_id)
            .join(documents, documents.c.id == publications.c.document_id)
            .where(
                publications.c.document_id.in_(document_ids),
                publications.c.state == PublicationState.PENDING,
                publications.c.live_generation.is_distinct_from(documents.c.wanted),
                editions.c.state == "live",
            )
        )
        return self._database.look(lambda connection: set(connection.execute(query).scalars()))

    def generation(self) -> int:
        """The last generation that was issued."""
        return self._database.look(lambda connection: read_counter(connection, "generation"))


def _horizon(connection: sa.Connection, within: Edition | None = None) -> Horizon:
    if within is not None:
        return Horizon(read_counter(connection, "tick"), within)
    row = connection.execute(_HORIZON).one_or_none()
    if row is None:
        raise LedgerUnavailable(
            "The ledger holds no index that answers: it was replaced by an empty one.",
            hint="Stop every process and start them again: the first makes what is missing.",
        )
    return Horizon(row.tick, as_edition(row))


def _admit(
    horizon: Horizon, query: sa.Select[Any], keys: Sequence[int | str], connection: sa.Connection
) -> dict[str, Admitted]:
    values = {"keys": keys, "edition": horizon.edition.edition_id, "tick": horizon.tick}
    return {row.id: _admitted(row) for row in connection.execute(query, values).all()}


def _admitted(row: Any) -> Admitted:
    heading_path, place = parted(row.heading_path)
    return Admitted(
        chunk_id=row.id,
        document_id=row.document_id,
        source=row.source,
        uri=row.uri,
        ordinal=row.ordinal,
        start=row.start,
        end=row.end,
        heading_path=heading_path,
        standing=Standing(row.standing),
        state=PublicationState(row.state),
        wanted=row.wanted,
        generation=row.live_generation,
        published_tick=row.published_tick,
        changed_at=row.changed_at,
        published_at=row.published_at,
        pending_since=row.pending_since,
        place=place,
    )
