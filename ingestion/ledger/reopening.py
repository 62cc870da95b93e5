"""What ended, and is to be done again: workers that died, dead letters, another pipeline, repairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import among, record_attempts, slices
from ingestion.ledger.tables import documents, publications
from ingestion.ledger.values import Edition, Pipelines
from ingestion.records import Lane, PublicationState

MAX_ATTEMPTS = 5

_DIED = (
    f"The worker ended {MAX_ATTEMPTS} times while it processed this document alone. Its last good revision "
    "stays live. Look at the worker's log, then replay it."
)
_RAN_OUT = sa.and_(
    publications.c.lease_until.is_not(None), publications.c.lease_until < sa.bindparam("until")
)
_REAPABLE = (
    sa.select(
        publications.c.document_id,
        publications.c.edition_id,
        publications.c.lane,
        publications.c.claimed_at,
        publications.c.alone,
        publications.c.attempts,
        documents.c.wanted,
        documents.c.pending_since,
        documents.c.observed_at,
    )
    .join(documents, documents.c.id == publications.c.document_id)
    .where(_RAN_OUT)
)
_BURY = (
    sa.update(publications)
    .where(_RAN_OUT, publications.c.alone, publications.c.attempts + 1 >= MAX_ATTEMPTS)
    .values(state=PublicationState.FAILED, failed_at=sa.bindparam("at"), error=_DIED)
)
_FREE = (
    sa.update(publications)
    .where(_RAN_OUT)
    .values(
        lease_until=None,
        sent_at=0.0,
        attempts=publications.c.attempts + sa.cast(publications.c.alone, sa.Integer),
        alone=True,
    )
)
_failed = publications.c.state == PublicationState.FAILED
_REPLAY = (
    sa.update(publications)
    .where(_failed)
    .values(
        state=PublicationState.PENDING, attempts=0, not_before=0.0, sent_at=0.0, error=None, failed_at=None
    )
)
_live = publications.c.state == PublicationState.LIVE
_skipped = publications.c.digest == ""
_AGAIN = (
    sa.update(publications)
    .where(publications.c.edition_id == sa.bindparam("edition"), _live)
    .values(state=PublicationState.PENDING, lane=Lane.BULK, sent_at=0.0, not_before=0.0)
)
_REINDEX = _AGAIN.where(
    sa.case(
        (_skipped, publications.c.pipeline != sa.bindparam("skipped_by")),
        else_=publications.c.pipeline.not_in(among("made_by")),
    )
)
# What waits already, or is a dead letter, keeps its lane and its turn; the mark is found when it comes.
_REPAIR = (
    sa.update(publications)
    .where(
        publications.c.edition_id == sa.bindparam("edition"),
        publications.c.document_id.in_(among("ids")),
        publications.c.state != PublicationState.WITHDRAWN,
        publications.c.repair.is_(False),
    )
    .values(
        repair=True,
        lane=sa.case((_live, Lane.BULK), else_=publications.c.lane),
        sent_at=sa.case((_live, 0.0), else_=publications.c.sent_at),
        not_before=sa.case((_live, 0.0), else_=publications.c.not_before),
        state=sa.case((_live, PublicationState.PENDING), else_=publications.c.state),
    )
)
_EVER = 1e18  # later than every lease


class Reopening:
    """The part of the ledger's book of work that takes up again what ended."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def reap(self, *, all_leases: bool = False) -> int:
        """End leases that ran out (or all, when the caller knows that every worker is dead).

        A claim of one that ended so cost its document an attempt: it may be what killed the worker.
        """
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            until = {"until": _EVER if all_leases else now}
            if connection.execute(_REAPABLE.limit(1), until).first() is None:
                return 0
        with self._database.write() as connection:
            rows = connection.execute(_REAPABLE, until).all()
            connection.execute(_BURY, {**until, "at": now})
            connection.execute(_FREE, until)
            record_attempts(connection, [_interrupted(row, now) for row in rows])
        return len(rows)

    def replay(self, document_ids: Sequence[int] | None = None) -> int:
        """Try dead letters again (all, or these)."""
        with self._database.write() as connection:
            if document_ids is None:
                return connection.execute(_REPLAY).rowcount
            these = _REPLAY.where(publications.c.document_id.in_(among("ids")))
            return sum(connection.execute(these, {"ids": some}).rowcount for some in slices(document_ids))

    def reindex(self, edition: Edition, pipelines: Pipelines) -> int:
        """Another parser or chunker: what was published with any other one is made again, in bulk.

        What was skipped is read again where more can be read now.
        """
        with self._database.write() as connection:
            values = {
                "edition": edition.edition_id,
                "made_by": list(pipelines.current),
                "skipped_by": pipelines.skipping,
            }
            again = connection.execute(_REINDEX, values).rowcount
            if pipelines.outgrown:
                values = {"edition": edition.edition_id, "text": pipelines.text}
                again += connection.execute(_outgrown(pipelines.outgrown), values).rowcount
        return again

    def mark_repair(self, edition: Edition, document_ids: Sequence[int]) -> int:
        """The index lacks something of these documents: process them even if their digest is the same.

        Returns how many were not marked before.
        """
        with self._database.write() as connection:
            return sum(
                connection.execute(_REPAIR, {"edition": edition.edition_id, "ids": some}).rowcount
                for some in slices(document_ids)
            )


def _outgrown(suffixes: Iterable[str]) -> sa.Update:
    """What ends so and was made as other text: once, as it is made otherwise then."""
    uri = sa.func.lower(documents.c.uri)
    of_them = sa.select(documents.c.id).where(sa.or_(*(uri.like(f"%{suffix}") for suffix in suffixes)))
    return _AGAIN.where(
        publications.c.pipeline == sa.bindparam("text"), publications.c.document_id.in_(of_them)
    )


def _interrupted(row: Any, now: float) -> dict[str, Any]:
    dead = row.alone and row.attempts + 1 >= MAX_ATTEMPTS
    return {
        "document_id": row.document_id,
        "edition_id": row.edition_id,
        "generation": row.wanted,
        "lane": row.lane,
        "outcome": "dead" if dead else "interrupted",
        "changed_at": row.pending_since,
        "observed_at": row.observed_at,
        "claimed_at": row.claimed_at,
        "finished_at": now,
        "detail": _DIED if dead else "the worker ended, or was silent for too long",
    }
