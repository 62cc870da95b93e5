"""What ends a document or gives it another name: statements of one transaction each, for documents.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.ledger.sql import advance, among, next_token, record_attempts, slices
from ingestion.ledger.tables import attempts, chunks, documents, publications
from ingestion.records import Lane, PublicationState, Standing

_RETIRE = (
    sa.update(documents)
    .where(documents.c.id == sa.bindparam("key"))
    .values(
        standing=Standing.RETIRED,
        reason=sa.bindparam("why"),
        wanted=sa.bindparam("generation"),
        observed=sa.bindparam("generation"),
        identity=None,
        pending_since=None,
        retired_at=sa.bindparam("unasked_at"),
    )
)
# Without ``born`` they are outside every horizon, of searches that began before this moment too: a
# revival, or a rename onto the tombstone, must not show them again.
_KILL = (
    sa.update(chunks)
    .where(chunks.c.document_id.in_(among("ids")))
    .values(
        born=None,
        died=sa.func.coalesce(chunks.c.died, sa.bindparam("tick")),
        died_at=sa.func.coalesce(chunks.c.died_at, sa.bindparam("at")),
    )
)
_WITHDRAW = (
    sa.update(publications)
    .where(publications.c.document_id.in_(among("ids")))
    .values(
        state=PublicationState.WITHDRAWN,
        live_generation=None,
        digest=None,
        pipeline=None,
        changed_at=None,
        published_at=None,
        published_tick=None,
        token=sa.bindparam("new_token"),
        lease_until=None,
        repair=False,
        error=None,
        failed_at=None,
    )
)
_OLD = (
    sa.select(documents.c.id)
    .where(
        documents.c.standing == Standing.RETIRED,
        documents.c.retired_at < sa.bindparam("before"),
        ~sa.exists().where(chunks.c.document_id == documents.c.id),
    )
    .limit(sa.bindparam("at_most"))
)
_AT = sa.select(documents.c.id, documents.c.standing).where(
    documents.c.source == sa.bindparam("in_source"),
    documents.c.uri == sa.bindparam("at_uri"),
    documents.c.id != sa.bindparam("key"),
)


def retire(connection: sa.Connection, evidence: Mapping[int, str], now: float, *, unasked: bool) -> None:
    """Tombstones for documents that are not retired yet; ``unasked`` ones count against the guard."""
    last = advance(connection, "generation", len(evidence))
    generations = dict(zip(evidence, range(last - len(evidence) + 1, last + 1), strict=True))
    connection.execute(
        _RETIRE,
        [
            {"key": key, "why": why, "generation": generations[key], "unasked_at": now if unasked else None}
            for key, why in evidence.items()
        ],
    )
    withdraw(connection, list(evidence), now)
    record_attempts(
        connection, [event(key, generations[key], "retired", now, why, now) for key, why in evidence.items()]
    )


def withdraw(connection: sa.Connection, document_ids: Sequence[int], now: float) -> None:
    """End everything that is served or under way of these documents, in every edition, at one tick."""
    tick = advance(connection, "tick")
    token = next_token(connection)
    for some in slices(document_ids):
        connection.execute(_KILL, {"ids": some, "tick": tick, "at": now})
        connection.execute(_WITHDRAW, {"ids": some, "new_token": token})


def absorb(connection: sa.Connection, source: str, uri: str, document_id: int) -> bool:
    """Make way for a document that is renamed to this URI. False if another document lives there.

    A tombstone's dead chunks still wait to be swept, so they change hands, with its history.
    """
    values = {"in_source": source, "at_uri": uri, "key": document_id}
    other = connection.execute(_AT, values).one_or_none()
    if other is None:
        return True
    if other.standing != Standing.RETIRED:
        return False
    for table in (chunks, attempts):
        connection.execute(
            sa.update(table).where(table.c.document_id == other.id).values(document_id=document_id)
        )
    connection.execute(sa.delete(publications).where(publications.c.document_id == other.id))
    connection.execute(sa.delete(documents).where(documents.c.id == other.id))
    return True


def event(
    document_id: int, generation: int, outcome: str, now: float, detail: str, observed_at: float
) -> dict[str, Any]:
    """A line of history that is no attempt of a worker."""
    return {
        "document_id": document_id,
        "generation": generation,
        "lane": Lane.FRESH.value,
        "outcome": outcome,
        "observed_at": observed_at,
        "finished_at": now,
        "detail": detail,
    }


def prune(connection: sa.Connection, before: float, at_most: int) -> int:
    """Remove tombstones from before a moment that hold no chunk any more, with their history."""
    old = list(connection.execute(_OLD, {"before": before, "at_most": at_most}).scalars())
    for some in slices(old):
        for table in (attempts, publications):
            connection.execute(sa.delete(table).where(table.c.document_id.in_(some)))
        connection.execute(sa.delete(documents).where(documents.c.id.in_(some)))
    return len(old)
