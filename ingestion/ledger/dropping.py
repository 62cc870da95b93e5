"""Dead letters that nobody wants to see again until their documents change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.sql import live_edition, slices
from ingestion.ledger.tables import documents, publications
from ingestion.records import PublicationState, Standing


def drop(database: Database, document_ids: Sequence[int]) -> int:
    """Give up these dead letters; returns how many were given up.

    What is live of such a document stays live, and stale. One of which nothing is live counts as
    skipped. The look is kept, so either is read again when the document changes, and not before. Those of
    an edition that is not live are that edition's affair.
    """
    dropped = 0
    with database.write() as connection:
        for some in slices(document_ids):
            failed = sa.and_(
                publications.c.document_id.in_(some),
                publications.c.edition_id == live_edition,
                publications.c.state == PublicationState.FAILED,
            )
            rows = connection.execute(
                sa.select(
                    publications.c.document_id,
                    publications.c.edition_id,
                    publications.c.live_generation,
                    publications.c.error,
                ).where(failed)
            ).all()
            for row in rows:
                _give_up(connection, row)
            dropped += len({row.document_id for row in rows})
    return dropped


def _give_up(connection: sa.Connection, row: Any) -> None:
    lives = row.live_generation is not None
    connection.execute(
        sa.update(publications)
        .where(publications.c.document_id == row.document_id, publications.c.edition_id == row.edition_id)
        .values(
            state=PublicationState.LIVE if lives else PublicationState.WITHDRAWN, error=None, failed_at=None
        )
    )
    values: dict[str, object] = {"pending_since": None}
    if not lives:
        values |= {"standing": Standing.SKIPPED, "reason": f"given up: {row.error or 'it failed'}"}
    connection.execute(
        sa.update(documents)
        .where(documents.c.id == row.document_id, documents.c.standing == Standing.PRESENT)
        .values(values)
    )
