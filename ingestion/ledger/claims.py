"""Who works on what: due, claimed, renewed, handed back, failed.

There is one retry mechanism, and it is here: attempts and ``not_before`` in the ledger. A message to a
worker is a hint that may be lost, doubled or late.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger import leases
from ingestion.ledger.reopening import MAX_ATTEMPTS, Reopening
from ingestion.ledger.sql import advance, among, live_edition, record_attempts, slices, workable
from ingestion.ledger.tables import NO_TOKEN, documents, is_pending, publications
from ingestion.ledger.values import Claim, Edition
from ingestion.records import Lane, PublicationState

FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 600.0
FAULT_DELAY_S = 2.0
SET_BACK_S = 5.0  # a clock that is behind itself by more was set back

_OPEN = (
    sa.select(publications.c.document_id)
    .join(documents, documents.c.id == publications.c.document_id)
    .where(
        publications.c.edition_id == sa.bindparam("edition"),
        publications.c.lane == sa.bindparam("in_lane"),
        is_pending,
        publications.c.lease_until.is_(None),
        workable,
    )
)
_DUE = (
    _OPEN.where(
        publications.c.sent_at < sa.bindparam("sent_before"), publications.c.not_before <= sa.bindparam("now")
    )
    .order_by(publications.c.sent_at)
    .limit(sa.bindparam("at_most"))
)
_SENT = _OPEN.where(publications.c.sent_at >= sa.bindparam("sent_before")).limit(1)
_SEND = (
    sa.update(publications)
    .where(publications.c.edition_id == sa.bindparam("edition"), publications.c.document_id.in_(_DUE))
    .values(sent_at=sa.bindparam("now"))
    .returning(publications.c.document_id, publications.c.alone)
)
# Not ``is_pending``: the ids lead to a few rows, the index of pending work to all of them.
_claimable = (
    publications.c.state == PublicationState.PENDING,
    publications.c.not_before <= sa.bindparam("now"),
    publications.c.lease_until.is_(None),
    sa.exists().where(documents.c.id == publications.c.document_id, workable),
)
_CLAIM = (
    sa.update(publications)
    .where(
        publications.c.document_id.in_(among("ids")),
        publications.c.edition_id == sa.bindparam("edition"),
        *_claimable,
    )
    .values(
        token=sa.bindparam("new_token"),
        lease_until=sa.bindparam("until"),
        claimed_at=sa.bindparam("now"),
    )
)
_CLAIM_TOGETHER = _CLAIM.where(publications.c.alone.is_(False))
_BOOST = (
    sa.update(publications)
    .where(
        publications.c.document_id.in_(among("ids")),
        publications.c.edition_id == live_edition,
        publications.c.lane == Lane.BULK,
        *_claimable,
    )
    .values(lane=Lane.FRESH, sent_at=sa.bindparam("now"))
    .returning(publications.c.document_id)
)
_FORGET_MESSAGES = (
    sa.update(publications)
    .where(is_pending)
    .values(
        sent_at=0.0,
        # No delay reaches so far: it counts from before the machine's clock was set back.
        not_before=sa.case(
            (publications.c.not_before > sa.bindparam("now") + LONGEST_DELAY_S, 0.0),
            else_=publications.c.not_before,
        ),
    )
)
_OF_CLAIM = sa.update(publications).where(
    publications.c.document_id == sa.bindparam("key"),
    publications.c.edition_id == sa.bindparam("edition"),
    publications.c.token == sa.bindparam("held_token"),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents to be sent to workers in one message."""

    lane: Lane
    document_ids: tuple[int, ...]


class Claims(Reopening):
    """The ledger's book of who works on what. ``lease_s``: how long a silent worker keeps its claim."""

    def __init__(self, database: Database, clock: Clock, *, lease_s: float) -> None:
        super().__init__(database, clock)
        self.lease_s = lease_s
        self._latest = 0.0

    def take_due(
        self, edition: Edition, lane: Lane, *, limit: int, batch: int, resend_s: float, spread: int = 1
    ) -> list[Batch]:
        """Publications that are pending, due, unclaimed and not on their way: marked as sent.

        Those that were never sent come first. A message that got lost is sent again after ``resend_s``.
        Documents whose batch once ended with a crash come one by one, so that a poisonous one takes no
        other with it. ``spread``: into how many batches the others are divided, if they fit.
        """
        now = self._clock.now()
        if now < self._latest - SET_BACK_S:
            self.forget_messages()
        self._latest = now
        values = {**self._sent(edition, lane, resend_s), "now": now, "at_most": limit}
        with self._database.read() as connection:
            if connection.execute(_DUE, {**values, "at_most": 1}).first() is None:
                return []  # the usual case takes no write lock
        with self._database.write() as connection:
            rows = sorted(connection.execute(_SEND, values).all())
        together = [row.document_id for row in rows if not row.alone]
        size = max(1, min(batch, -(-len(together) // spread)))
        batches = [Batch(lane, tuple(some)) for some in slices(together, size)]
        return batches + [Batch(lane, (row.document_id,)) for row in rows if row.alone]

    def on_their_way(self, edition: Edition, lane: Lane, *, resend_s: float) -> bool:
        """Whether a message about a pending publication of this lane was sent and is not acted on yet."""
        with self._database.read() as connection:
            return connection.execute(_SENT, self._sent(edition, lane, resend_s)).first() is not None

    def claim(self, edition: Edition, document_ids: Sequence[int]) -> list[Claim]:
        """Claim those of the documents that are pending, due and unclaimed, under one new token.

        Of several ids, those that must be claimed alone are left out.
        """
        now = self._clock.now()
        statement = _CLAIM if len(document_ids) == 1 else _CLAIM_TOGETHER
        with self._database.write() as connection:
            token = advance(connection, "token")
            values = {
                "ids": document_ids,
                "edition": edition.edition_id,
                "new_token": token,
                "until": now + self.lease_s,
                "now": now,
            }
            if not connection.execute(statement, values).rowcount:
                return []
            return leases.claimed(connection, edition, document_ids, token)

    def renew(self, claims: Iterable[Claim]) -> None:
        """Keep the leases of claims that are still valid for another ``lease_s``."""
        held = list(claims)
        if held:
            with self._database.write() as connection:
                leases.renew(connection, held, self._clock.now() + self.lease_s)

    def release(self, claims: Iterable[Claim], reason: str, *, delay_s: float = FAULT_DELAY_S) -> None:
        """Hand claims back after a fault of store, embedder, disk or network: it costs no attempt."""
        self._hand_back(claims, {"not_before": self._clock.now() + delay_s, "error": reason})

    def isolate(self, claims: Iterable[Claim], reason: str) -> None:
        """Hand back a batch that failed without saying which document is to blame: one by one from now on."""
        self._hand_back(claims, {"alone": True, "error": reason})

    def to_bulk(self, claims: Iterable[Claim]) -> None:
        """Hand back documents with much to embed: they go on in the bulk lane."""
        self._hand_back(claims, {"lane": Lane.BULK})

    def fail(self, claim: Claim, message: str, *, terminal: bool) -> bool:
        """An attempt failed for a reason of the document's own. True if it is now a dead letter.

        The last good revision stays live. Delays grow exponentially, with jitter. Where a newer edit
        waits, the failure says nothing about it: it is tried at once, with all its attempts.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            found = leases.current(connection, [claim]).get(claim.document_id)
            if found is None:
                return False
            values: dict[str, object] = {"error": message}
            dead = False
            if found.wanted == claim.wanted:
                number = found.attempts + 1
                dead = terminal or number >= MAX_ATTEMPTS
                values |= {"attempts": number, "not_before": now + _delay(number)}
            if dead:
                values |= {"state": PublicationState.FAILED, "failed_at": now}
            _hand_back(connection, [claim], values)
            record_attempts(connection, [_failure(claim, "dead" if dead else "failed", message, now)])
        return dead

    def boost(self, document_ids: Sequence[int]) -> list[int]:
        """A query wants these now: due ones move to the fresh lane; the caller sends them."""
        if not document_ids:
            return []
        with self._database.write() as connection:
            values = {"ids": document_ids, "now": self._clock.now()}
            return list(connection.execute(_BOOST, values).scalars())

    def forget_messages(self) -> None:
        """The broker is new and empty, or the clock was set back: everything pending is to be sent again."""
        with self._database.write() as connection:
            connection.execute(_FORGET_MESSAGES, {"now": self._clock.now()})

    def _sent(self, edition: Edition, lane: Lane, resend_s: float) -> dict[str, object]:
        # Above zero in any case: zero is what was never sent.
        before = max(self._clock.now() - resend_s, math.ulp(0.0))
        return {"edition": edition.edition_id, "in_lane": lane.value, "sent_before": before}

    def _hand_back(self, claims: Iterable[Claim], values: Mapping[str, object]) -> None:
        held = list(claims)
        if held:
            with self._database.write() as connection:
                _hand_back(connection, held, values)


def _hand_back(connection: sa.Connection, claims: Sequence[Claim], values: Mapping[str, object]) -> None:
    """End the claims whose token is current, and have their documents sent again."""
    connection.execute(
        _OF_CLAIM.values(token=NO_TOKEN, lease_until=None, sent_at=0.0, **values),
        [
            {"key": claim.document_id, "edition": claim.edition_id, "held_token": claim.token}
            for claim in claims
        ],
    )


def _delay(attempt: int) -> float:
    """Full jitter over the upper half of an exponential delay, in seconds."""
    delay: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 4 ** (attempt - 1))
    return delay * random.uniform(0.5, 1.0)


def _failure(claim: Claim, outcome: str, message: str, now: float) -> dict[str, object]:
    return {
        "document_id": claim.document_id,
        "edition_id": claim.edition_id,
        "generation": claim.wanted,
        "lane": claim.lane,
        "outcome": outcome,
        "changed_at": claim.pending_since,
        "observed_at": claim.observed_at,
        "claimed_at": claim.claimed_at,
        "finished_at": now,
        "detail": message,
    }
