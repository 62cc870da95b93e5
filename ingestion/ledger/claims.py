"""Who works on what: due, claimed, renewed, handed back, failed.

There is one retry mechanism, and it is here: attempts and ``not_before`` in the ledger. A message to a
worker is a hint that may be lost, doubled or late.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import advance, record_attempts, slices
from ingestion.ledger.tables import documents, publications
from ingestion.ledger.values import Claim, Edition
from ingestion.records import Lane, PublicationState

MAX_ATTEMPTS = 5
FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 600.0
FAULT_DELAY_S = 2.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents to be sent to workers in one message."""

    lane: Lane
    document_ids: tuple[int, ...]


class Claims:
    """The ledger's book of who works on what. ``lease_s``: how long a silent worker keeps its claim."""

    def __init__(self, database: Database, clock: Clock, *, lease_s: float) -> None:
        self._database = database
        self._clock = clock
        self.lease_s = lease_s

    def take_due(
        self, edition: Edition, lane: Lane, *, limit: int, batch: int, resend_s: float
    ) -> list[Batch]:
        """Publications that are pending, due, unclaimed and not on their way: marked as sent, oldest first.

        A message that got lost is sent again after ``resend_s``. Documents whose batch once ended with
        a crash come one by one, so that a poisonous one takes no other with it.
        """
        now = self._clock.now()
        query = (
            sa.select(publications.c.document_id, publications.c.alone)
            .where(
                publications.c.edition_id == edition.edition_id,
                publications.c.state == PublicationState.PENDING,
                publications.c.lane == lane,
                publications.c.not_before <= now,
                publications.c.lease_until.is_(None),
                sa.or_(publications.c.sent_at.is_(None), publications.c.sent_at < now - resend_s),
            )
            .limit(limit)
        )
        with self._database.read() as connection:
            if not connection.execute(query.limit(1)).first():
                return []  # the usual case takes no write lock
        with self._database.write() as connection:
            rows = connection.execute(query).all()
            for some in slices([row.document_id for row in rows]):
                connection.execute(
                    sa.update(publications)
                    .where(
                        publications.c.document_id.in_(some),
                        publications.c.edition_id == edition.edition_id,
                    )
                    .values(sent_at=now)
                )
        together = [row.document_id for row in rows if not row.alone]
        batches = [Batch(lane, tuple(some)) for some in slices(together, batch)]
        return batches + [Batch(lane, (row.document_id,)) for row in rows if row.alone]

    def claim(self, edition: Edition, document_ids: Sequence[int]) -> list[Claim]:
        """Claim those of the documents that are pending, due and unclaimed, under one new token.

        Of several ids, those that must be claimed alone are left out.
        """
        now = self._clock.now()
        conditions = [
            publications.c.edition_id == edition.edition_id,
            publications.c.document_id.in_(document_ids),
            publications.c.state == PublicationState.PENDING,
            publications.c.not_before <= now,
            publications.c.lease_until.is_(None),
        ]
        if len(document_ids) > 1:
            conditions.append(publications.c.alone.is_(False))
        with self._database.write() as connection:
            token = advance(connection, "token")
            claimed = connection.execute(
                sa.update(publications)
                .where(*conditions)
                .values(token=token, lease_until=now + self.lease_s, claimed_at=now)
            ).rowcount
            return _claims(connection, edition, document_ids, token) if claimed else []

    def renew(self, claims: Iterable[Claim]) -> None:
        """Keep the leases of claims that are still valid for another ``lease_s``."""
        keys = list(claims)
        if keys:
            with self._database.write() as connection:
                renew(connection, keys, self._clock.now() + self.lease_s)

    def release(self, claims: Iterable[Claim], reason: str, *, delay_s: float = FAULT_DELAY_S) -> None:
        """Hand claims back after a fault of store, embedder, disk or network: it costs no attempt."""
        self._finish(
            claims,
            {
                "lease_until": None,
                "sent_at": None,
                "not_before": self._clock.now() + delay_s,
                "error": reason,
            },
        )

    def to_bulk(self, claims: Iterable[Claim]) -> None:
        """Hand back documents with much to embed: they go on in the bulk lane."""
        self._finish(claims, {"lease_until": None, "sent_at": None, "lane": Lane.BULK})

    def fail(self, claim: Claim, message: str, *, terminal: bool) -> bool:
        """An attempt failed for a reason of the document's own. True if it is now a dead letter.

        The last good revision stays live. Delays grow exponentially, with jitter.
        """
        now = self._clock.now()
        number = claim.attempts + 1
        dead = terminal or number >= MAX_ATTEMPTS
        values = {
            "attempts": number,
            "lease_until": None,
            "sent_at": None,
            "error": message,
            "not_before": now + _delay(number),
        }
        if dead:
            values |= {"state": PublicationState.FAILED, "failed_at": now}
        won = self._finish([claim], values)
        if won:
            with self._database.write() as connection:
                record_attempts(connection, [_failure(claim, "dead" if dead else "failed", message, now)])
        return dead and won > 0

    def boost(self, document_ids: Sequence[int]) -> list[int]:
        """A query wants these now: pending ones move to the fresh lane; the caller sends them."""
        if not document_ids:
            return []
        condition = (
            publications.c.document_id.in_(document_ids),
            publications.c.state == PublicationState.PENDING,
            publications.c.lane == Lane.BULK,
            publications.c.lease_until.is_(None),
        )
        with self._database.write() as connection:
            boosted = list(
                connection.execute(sa.select(publications.c.document_id).where(*condition)).scalars()
            )
            if boosted:
                connection.execute(
                    sa.update(publications)
                    .where(*condition)
                    .values(lane=Lane.FRESH, sent_at=self._clock.now())
                )
        return boosted

    def reap(self, *, all_leases: bool = False) -> int:
        """End leases that ran out (or all, when the caller knows that every worker is dead).

        A claim of one that ended so cost its document an attempt: it may be what killed the worker.
        """
        now = self._clock.now()
        ran_out: sa.ColumnElement[bool] = publications.c.lease_until.is_not(None)
        if not all_leases:
            ran_out = sa.and_(ran_out, publications.c.lease_until < now)
        with self._database.read() as connection:
            if not connection.execute(sa.select(publications.c.document_id).where(ran_out).limit(1)).first():
                return 0
        with self._database.write() as connection:
            connection.execute(
                sa.update(publications)
                .where(ran_out, publications.c.alone, publications.c.attempts + 1 >= MAX_ATTEMPTS)
                .values(
                    state=PublicationState.FAILED,
                    failed_at=now,
                    error=f"The worker ended {MAX_ATTEMPTS} times while it processed this document alone. "
                    "Its last good revision stays live. Look at the worker's log, then replay it.",
                )
            )
            return connection.execute(
                sa.update(publications)
                .where(ran_out)
                .values(
                    lease_until=None,
                    sent_at=None,
                    attempts=publications.c.attempts + sa.cast(publications.c.alone, sa.Integer),
                    alone=True,
                )
            ).rowcount

    def forget_messages(self) -> None:
        """The broker is new and empty: everything pending is to be sent again."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(publications)
                .where(publications.c.state == PublicationState.PENDING)
                .values(sent_at=None)
            )

    def replay(self, document_ids: Sequence[int] | None = None) -> int:
        """Try dead letters again (all, or these)."""
        condition = [publications.c.state == PublicationState.FAILED]
        if document_ids is not None:
            condition.append(publications.c.document_id.in_(document_ids))
        with self._database.write() as connection:
            return connection.execute(
                sa.update(publications)
                .where(*condition)
                .values(
                    state=PublicationState.PENDING,
                    attempts=0,
                    not_before=0.0,
                    sent_at=None,
                    error=None,
                    failed_at=None,
                )
            ).rowcount

    def reindex(self, edition: Edition, pipeline: str) -> int:
        """Another parser or chunker: what was published with any other one is made again, in bulk."""
        return self._reopen(
            edition, [publications.c.state == PublicationState.LIVE, publications.c.pipeline != pipeline], {}
        )

    def mark_repair(self, edition: Edition, document_ids: Sequence[int]) -> int:
        """The index lacks something of these documents: process them even if their digest is the same."""
        open_or_live = publications.c.state.in_((PublicationState.LIVE, PublicationState.PENDING))
        return sum(
            self._reopen(edition, [publications.c.document_id.in_(some), open_or_live], {"repair": True})
            for some in slices(document_ids)
        )

    def _reopen(
        self, edition: Edition, condition: list[sa.ColumnElement[bool]], more: Mapping[str, object]
    ) -> int:
        with self._database.write() as connection:
            return connection.execute(
                sa.update(publications)
                .where(publications.c.edition_id == edition.edition_id, *condition)
                .values(state=PublicationState.PENDING, lane=Lane.BULK, sent_at=None, not_before=0.0, **more)
            ).rowcount

    def _finish(self, claims: Iterable[Claim], values: Mapping[str, object]) -> int:
        """Write to publications whose token is still the claim's."""
        with self._database.write() as connection:
            return sum(
                connection.execute(
                    sa.update(publications)
                    .where(
                        publications.c.document_id == claim.document_id,
                        publications.c.edition_id == claim.edition_id,
                        publications.c.token == claim.token,
                    )
                    .values(**values)
                ).rowcount
                for claim in claims
            )


def renew(connection: sa.Connection, claims: Sequence[Claim], until: float) -> None:
    """Within a transaction: leases of claims whose token is still current last until then."""
    for some in slices(claims):
        connection.execute(
            sa.update(publications)
            .where(
                publications.c.document_id.in_([claim.document_id for claim in some]),
                publications.c.edition_id == some[0].edition_id,
                publications.c.token.in_({claim.token for claim in some}),
                publications.c.lease_until.is_not(None),
            )
            .values(lease_until=until)
        )


def _delay(attempt: int) -> float:
    """Full jitter over the upper half of an exponential delay, in seconds."""
    delay: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 4 ** (attempt - 1))
    return delay * random.uniform(0.5, 1.0)


def _claims(
    connection: sa.Connection, edition: Edition, document_ids: Sequence[int], token: int
) -> list[Claim]:
    query = (
        sa.select(
            publications,
            documents.c.source,
            documents.c.uri,
            documents.c.wanted,
            documents.c.pending_since,
            documents.c.observed_at,
            documents.c.changed_at.label("noticed_change"),
        )
        .join(documents, documents.c.id == publications.c.document_id)
        .where(
            publications.c.document_id.in_(document_ids),
            publications.c.edition_id == edition.edition_id,
            publications.c.token == token,
        )
    )
    return [
        Claim(
            document_id=row.document_id,
            edition_id=row.edition_id,
            source=row.source,
            uri=row.uri,
            lane=Lane(row.lane),
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
        for row in connection.execute(query)
    ]


def _failure(claim: Claim, outcome: str, message: str, now: float) -> dict[str, object]:
    return {
        "document_id": claim.document_id,
        "edition_id": claim.edition_id,
        "generation": claim.wanted,
        "lane": claim.lane,
        "outcome": outcome,
        "changed_at": claim.changed_at,
        "observed_at": claim.observed_at,
        "claimed_at": claim.claimed_at,
        "finished_at": now,
        "detail": message,
    }
