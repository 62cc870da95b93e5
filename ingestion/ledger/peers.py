"""What publishing in one edition means for the others: statements of one transaction, for publishing.py.

Two editions may read one generation of a document at two moments, with a change in between that nobody has
observed. The live edition's reading is what the document's look speaks of, so no listing would find that
change for the other one: whichever publishes second notices, and the other edition reads again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.ledger.sql import among, live_edition, slices
from ingestion.ledger.tables import editions, publications
from ingestion.ledger.values import EditionState, Publishing
from ingestion.records import Lane, PublicationState

READ_AGAIN_S = 2.0  # by then the change that was read is observed

_FED = sa.select(editions.c.id, editions.c.state).where(editions.c.state != EditionState.RETIRED)
_PEERS = sa.select(
    publications.c.document_id,
    publications.c.state,
    publications.c.live_generation,
    publications.c.digest,
    publications.c.changed_at,
    publications.c.published_at,
).where(publications.c.edition_id == live_edition, publications.c.document_id.in_(among("ids")))
_LATER = {"state": PublicationState.PENDING, "lane": Lane.BULK, "sent_at": 0.0}
_READ_OTHERS_AGAIN = (
    sa.update(publications)
    .where(
        publications.c.document_id == sa.bindparam("key"),
        publications.c.edition_id != sa.bindparam("own"),
        publications.c.state == PublicationState.LIVE,
        publications.c.digest.is_distinct_from(sa.bindparam("content")),
    )
    .values(not_before=0.0, **_LATER)
)
_own = sa.update(publications).where(
    publications.c.document_id == sa.bindparam("key"), publications.c.edition_id == sa.bindparam("own")
)
_READ_AGAIN = _own.values(not_before=sa.bindparam("later"), **_LATER)
_DATE = _own.values(changed_at=sa.bindparam("changed"), published_at=sa.bindparam("published"))


@dataclass(frozen=True, slots=True)
class Beside:
    """The editions around one. ``alone``: there is no other that is fed."""

    live: bool
    alone: bool


def beside(connection: sa.Connection, edition_id: int) -> Beside:
    states = {row.id: row.state for row in connection.execute(_FED)}
    return Beside(states.get(edition_id) == EditionState.LIVE, alone=len(states) == 1)


def agree(connection: sa.Connection, revisions: Sequence[Publishing], around: Beside, now: float) -> None:
    """After these were published: have read again what two editions read differently."""
    if around.alone:
        return
    if around.live:
        rows = [_key(one) | {"content": one.digest} for one in revisions]
        connection.execute(_READ_OTHERS_AGAIN, rows)
        return
    again, dated = _compared(revisions, _peers(connection, revisions))
    if dated:
        connection.execute(_DATE, dated)
    if again:
        connection.execute(_READ_AGAIN, [_key(one) | {"later": now + READ_AGAIN_S} for one in again])


def _peers(connection: sa.Connection, revisions: Sequence[Publishing]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for some in slices(revisions):
        for row in connection.execute(_PEERS, {"ids": [one.claim.document_id for one in some]}):
            found[row.document_id] = row
    return found


def _compared(
    revisions: Sequence[Publishing], peers: Mapping[int, Any]
) -> tuple[list[Publishing], list[dict[str, object]]]:
    """Those to be read again, and the dates of those that are what the live edition shows: a passage does
    not become younger because it was embedded with another model."""
    again: list[Publishing] = []
    dated: list[dict[str, object]] = []
    for one in revisions:
        peer = peers.get(one.claim.document_id)
        if peer is None or peer.live_generation is None:
            continue
        if peer.digest == one.digest:
            dated.append(_key(one) | {"changed": peer.changed_at, "published": peer.published_at})
        elif peer.state == PublicationState.LIVE and peer.live_generation >= one.claim.wanted:
            again.append(one)
    return again, dated


def _key(revision: Publishing) -> dict[str, object]:
    return {"key": revision.claim.document_id, "own": revision.claim.edition_id}
