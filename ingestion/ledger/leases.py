"""Statements about claims that are under way: whose token is current, whose lease goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.ledger.sql import among, fed_editions, live_edition, slices
from ingestion.ledger.tables import documents, publications
from ingestion.ledger.values import Claim, Edition
from ingestion.records import Lane

_CURRENT = (
    sa.select(
        publications.c.document_id,
        publications.c.token,
        publications.c.repair,
        publications.c.attempts,
        documents.c.wanted,
    )
    .join(documents, documents.c.id == publications.c.document_id)
    .where(
        publications.c.document_id.in_(among("ids")),
        publications.c.edition_id == sa.bindparam("edition"),
        publications.c.edition_id.in_(fed_editions),
    )
    # On a server claims take no turn: from here to the commit none may change these tokens.
    .with_for_update(of=publications, key_share=True)
)
_RENEW = (
    sa.update(publications)
    .where(
        publications.c.document_id.in_(among("ids")),
        publications.c.edition_id == sa.bindparam("edition"),
        publications.c.token.in_(among("tokens")),
        publications.c.lease_until.is_not(None),
    )
    .values(lease_until=sa.bindparam("until"))
)
_CLAIMED = (
    sa.select(
        publications,
        documents.c.source,
        documents.c.uri,
        documents.c.wanted,
        # What waits for other editions was published in the live one: no change waits there.
        sa.case((publications.c.edition_id == live_edition, documents.c.pending_since)).label(
            "pending_since"
        ),
        documents.c.observed_at,
        documents.c.changed_at.label("noticed_change"),
    )
    .join(documents, documents.c.id == publications.c.document_id)
    .where(
        publications.c.document_id.in_(among("ids")),
        publications.c.edition_id == sa.bindparam("edition"),
        publications.c.token == sa.bindparam("current"),
    )
)
_LANES = {lane.value: lane for lane in Lane}


@dataclass(frozen=True, slots=True)
class Current:
    """What a valid claim finds now: a newer edit or a repair mark may have come since it was made."""

    wanted: int
    repair: bool
    attempts: int

    def outdates(self, claim: Claim) -> bool:
        """Whether there is something to do that this attempt did not know of."""
        return self.wanted > claim.wanted or (self.repair and not claim.repair)


def current(connection: sa.Connection, claims: Sequence[Claim]) -> dict[int, Current]:
    """By document id, for the claims (all of one edition) whose token is still the publication's.

    Within ``write``: what is found holds until the transaction ends.
    """
    tokens = {claim.document_id: claim.token for claim in claims}
    found: dict[int, Current] = {}
    for some in slices(claims):
        values = {"ids": [claim.document_id for claim in some], "edition": some[0].edition_id}
        for document_id, token, repair, attempts, wanted in connection.execute(_CURRENT, values):
            if token == tokens[document_id]:
                found[document_id] = Current(wanted, repair, attempts)
    return found


def renew(connection: sa.Connection, claims: Iterable[Claim], until: float) -> None:
    """Leases of claims (all of one edition) whose token is still current last until then."""
    for some in slices(list(claims)):
        connection.execute(
            _RENEW,
            {
                "ids": [claim.document_id for claim in some],
                "edition": some[0].edition_id,
                "tokens": list({claim.token for claim in some}),
                "until": until,
            },
        )


def claimed(
    connection: sa.Connection, edition: Edition, document_ids: Sequence[int], token: int
) -> list[Claim]:
    """The claims that one token stands for."""
    values = {"ids": document_ids, "edition": edition.edition_id, "current": token}
    return [
        Claim(
            document_id=row.document_id,
            edition_id=row.edition_id,
            source=row.source,
            uri=row.uri,
            lane=_LANES[row.lane],
            token=row.token,
            wanted=row.wanted,
            live_generation=row.live_generation,
            digest=row.digest,
            pipeline=row.pipeline,
            repair=row.repair,
            attempts=row.attempts,
            changed_at=row.noticed_change,
            pending_since=row.pending_since,
            observed_at=row.observed_at,
            claimed_at=row.claimed_at,
        )
        for row in connection.execute(_CLAIMED, values)
    ]
