"""Who works on what: due, claimed, renewed, handed back, failed.

There is one retry mechanism, and it is here: attempts and ``not_before`` in the ledger. A message to a
worker is a hint that may be lost, doubled or late.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger import leases
from ingestion.ledger.reopening import MAX_ATTEMPTS, Reopening
from ingestion.ledger.sql import among, live_edition, next_token, record_attempts, slices, workable
from ingestion.ledger.tables import NO_TOKEN, documents, editions, is_pending, publications
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
_take_free_ones: dict[str, Any] = {"of": publications, "skip_locked": True, "key_share": True}
_DUE = (
    _OPEN.add_columns(publications.c.alone)
    .where(
        publications.c.sent_at < sa.bindparam("sent_before"), publications.c.not_before <= sa.bindparam("now")
    )
    .order_by(publications.c.sent_at)
    .limit(sa.bindparam("at_most"))
)
_TAKE_DUE = _DUE.with_for_update(**_take_free_ones)
_WAITING = _OPEN.where(publications.c.not_before <= sa.bindparam("now")).limit(1)
_SENT = _OPEN.where(publications.c.sent_at >= sa.bindparam("sent_before")).limit(1)
_SEND = (
    sa.update(publications)
    .where(publications.c.edition_id == sa.bindparam("edition"), publications.c.document_id.in_(among("ids")))
    .values(sent_at=sa.bindparam("now"))
)
# Not ``is_pending``: the ids lead to a few rows, the index of pending work to all of them.
_claimable = (
    publications.c.state == PublicationState.PENDING,
    publications.c.not_before <= sa.bindparam("now"),
    publications.c.lease_until.is_(None),
    sa.exists().where(documents.c.id == publications.c.document_id, workable),
)
_of_ids = (
    publications.c.document_id.in_(among("ids")),
    publications.c.edition_id == sa.bindparam("edition"),
)
# Its own model's: a worker of another one, or of before a removal, gets nothing.
_of_this_model = sa.exists().where(
    editions.c.id == publications.c.edition_id,
    editions.c.fingerprint == sa.bindparam("model"),
    editions.c.state != "retired",
)
_TAKE = (
    sa.select(publications.c.document_id)
    .where(*_of_ids, *_claimable, _of_this_model)
    .with_for_update(**_take_free_ones)
)
_TAKE_TOGETHER = _TAKE.where(publications.c.alone.is_(False))
_CLAIM = (
    sa.update(publications)
    .where(*_of_ids)
    .values(
        token=sa.bindparam("new_token"),
        lease_until=sa.bindparam("until"),
        claimed_at=sa.bindparam("now"),
    )
)
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
    .where(
        is_pending,
        # Of a backlog of a million only what was sent is written: several processes may forget at once.
        sa.or_(
            publications.c.sent_at > 0.0,
            publications.c.not_before > sa.bindparam("now") + LONGEST_DELAY_S,
        ),
    )
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
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            values = {**_sent(edition, lane, now - resend_s), "now": now, "at_most": limit}
            set_back, self._latest = now < self._latest - SET_BACK_S, now
            if not set_back and connection.execute(_DUE, {**values, "at_most": 1}).first() is None:
                return []  # the usual case takes no write lock
        if set_back:
            self.forget_messages()
        with self._database.taking() as connection:
            rows = sorted(connection.execute(_TAKE_DUE, values).all())
            for some in slices(rows):
                ids = [row.document_id for row in some]
                connection.execute(_SEND, {"edition": edition.edition_id, "now": now, "ids": ids})
        together = [row.document_id for row in rows if not row.alone]
        size = max(1, min(batch, -(-len(together) // spread)))
        batches = [Batch(lane, tuple(some)) for some in slices(together, size)]
        return batches + [Batch(lane, (row.document_id,)) for row in rows if row.alone]

    def on_their_way(self, edition: Edition, lane: Lane, *, resend_s: float) -> bool:
        """Whether a message about a pending publication of this lane was sent and is not acted on yet."""
        with self._database.read() as connection:
            since = self._database.now(connection, self._clock) - resend_s
            return connection.execute(_SENT, _sent(edition, lane, since)).first() is not None

    def has_due(self, edition: Edition, lane: Lane) -> bool:
        """Whether something is pending, due and unclaimed there, on its way or not."""
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            values = {"edition": edition.edition_id, "in_lane": lane.value, "now": now}
            return connection.execute(_WAITING, values).first() is not None

    def claim(self, edition: Edition, document_ids: Sequence[int]) -> list[Claim]:
        """Claim those of the documents that are pending, due and unclaimed, under one new token.

        Of several ids, those that must be claimed alone are left out.
        """
        statement = _TAKE if len(document_ids) == 1 else _TAKE_TOGETHER
        with self._database.taking() as connection:
            now = self._database.now(connection, self._clock)
            values = {"edition": edition.edition_id, "now": now}
            wanted = {**values, "ids": document_ids, "model": edition.fingerprint}
            free = list(connection.execute(statement, wanted).scalars())
            if not free:
                return []
            token = next_token(connection)
            until = now + self.lease_s
            connection.execute(_CLAIM, {**values, "ids": free, "new_token": token, "until": until})
            return leases.claimed(connection, edition, free, token)

    def renew(self, claims: Iterable[Claim]) -> None:
        """Keep the leases of claims that are still valid for another ``lease_s``."""
        held = list(claims)
        if held:
            with self._database.write() as connection:
                now = self._database.now(connection, self._clock)
                leases.renew(connection, held, now + self.lease_s)

    def release(self, claims: Iterable[Claim], reason: str, *, delay_s: float = FAULT_DELAY_S) -> None:
        """Hand claims back after a fault of store, embedder, disk or network: it costs no attempt."""
        self._hand_back(claims, {"error": reason}, delay_s)

    def isolate(self, claims: Iterable[Claim], reason: str, *, delay_s: float = 0.0) -> None:
        """Hand back what is to be claimed one by one from now on: a batch that failed without saying which
        document is to blame, and documents that would keep others waiting."""
        self._hand_back(claims, {"alone": True, "error": reason}, delay_s)

    def to_bulk(self, claims: Iterable[Claim]) -> None:
        """Hand back documents with much to embed: they go on in the bulk lane."""
        self._hand_back(claims, {"lane": Lane.BULK})

    def fail(self, claim: Claim, message: str, *, terminal: bool) -> bool:
        """An attempt failed for a reason of the document's own. True if it is now a dead letter.

        The last good revision stays live. Delays grow exponentially, with jitter. Where a newer edit
        waits, the failure says nothing about it: it is tried at once, with all its attempts.
        """
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
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
            values = {"ids": document_ids, "now": self._database.now(connection, self._clock)}
            return list(connection.execute(_BOOST, values).scalars())

    def forget_messages(self) -> None:
        """The broker is new and empty, or the clock was set back: everything pending is to be sent again."""
        with self._database.write() as connection:
            connection.execute(_FORGET_MESSAGES, {"now": self._database.now(connection, self._clock)})

    def _hand_back(
        self, claims: Iterable[Claim], values: Mapping[str, object], delay_s: float | None = None
    ) -> None:
        held = list(claims)
        if held:
            with self._database.write() as connection:
                if delay_s is not None:
                    now = self._database.now(connection, self._clock)
                    values = {**values, "not_before": now + delay_s}
                _hand_back(connection, held, values)


def _sent(edition: Edition, lane: Lane, since: float) -> dict[str, object]:
    # Above zero in any case: zero is what was never sent.
    before = max(since, math.ulp(0.0))
    return {"edition": edition.edition_id, "in_lane": lane.value, "sent_before": before}


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
