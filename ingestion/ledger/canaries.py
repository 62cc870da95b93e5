"""The ledger's book of canaries: one round of a kind at a time in all processes, and how the last went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import inserting
from ingestion.ledger.tables import canaries, sources
from ingestion.own import canary_of

LONGEST_LEASE_S = 900.0  # more than anybody asks for
_due = canaries.c.begun_at + sa.bindparam("every_s") <= sa.bindparam("now")
# A clock that was set back would have rounds wait for as long.
_ahead = canaries.c.begun_at > sa.bindparam("now")
_free = sa.or_(
    canaries.c.lease_until.is_(None),
    canaries.c.lease_until <= sa.bindparam("now"),
    canaries.c.lease_until > sa.bindparam("now") + LONGEST_LEASE_S,
)
_BEGIN = (
    sa.update(canaries)
    .where(canaries.c.kind == sa.bindparam("of"), _free, sa.or_(_due, _ahead))
    .values(
        round=canaries.c.round + 1,
        begun_at=sa.bindparam("now"),
        lease_until=sa.bindparam("until"),
        silent_at=sa.bindparam("until"),
    )
    .returning(canaries.c.round)
)
_ours = sa.and_(canaries.c.kind == sa.bindparam("of"), canaries.c.round == sa.bindparam("number"))
_KEEP = (
    sa.update(canaries)
    .where(_ours)
    .values(lease_until=sa.bindparam("until"), silent_at=sa.bindparam("until"))
)
_END = (
    sa.update(canaries)
    .where(_ours)
    .values(
        lease_until=None,
        silent_at=sa.bindparam("again"),
        finished_at=sa.bindparam("now"),
        took=sa.bindparam("seconds", type_=sa.JSON),
        failed=sa.bindparam("step"),
        detail=sa.bindparam("why"),
        succeeded_at=sa.case(
            (sa.bindparam("step", type_=sa.String).is_(None), sa.bindparam("now")),
            else_=canaries.c.succeeded_at,
        ),
    )
)
_LEAVE = sa.update(canaries).where(_ours).values(lease_until=None)
_FREE_ALL = sa.update(canaries).values(lease_until=None)
_ALL = sa.select(canaries).order_by(canaries.c.kind)
_IN_SERVICE = sa.select(sources.c.name).where(sources.c.active)


@dataclass(frozen=True, slots=True)
class CanaryState:
    """How the last round of a canary went. ``failed``: the step that did, and ``detail`` why; None where it
    succeeded. ``took``: seconds by step. ``succeeded_at``: the end of the last one that did, if any.
    ``silent_at``: when to have heard of it again."""

    kind: str
    finished_at: float
    took: Mapping[str, float]
    failed: str | None
    detail: str
    succeeded_at: float | None
    silent_at: float

    def is_silent(self, now: float) -> bool:
        """Whether nobody sings any more, or nobody can write how it went."""
        return now > self.silent_at

    def sings(self, now: float) -> bool:
        """Whether all is well."""
        return self.failed is None and not self.is_silent(now)


class Canaries:
    """Rounds are claimed, and kept by a lease: whoever falls silent gives way to another process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, kind: str, *, every_s: float, lease_s: float) -> int | None:
        """The number of a round that is ours now; None while none is due, or one is under way."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            insert = inserting(connection.dialect.name, canaries)
            before = now - every_s
            values = {
                "kind": kind,
                "round": 0,
                "begun_at": before,
                "silent_at": now,
                "took": {},
                "detail": "",
            }
            connection.execute(insert.values(values).on_conflict_do_nothing(index_elements=["kind"]))
            wanted = {"of": kind, "now": now, "every_s": every_s, "until": now + lease_s}
            number: int | None = connection.execute(_BEGIN, wanted).scalar()
        return number

    def keep(self, kind: str, number: int, *, lease_s: float) -> bool:
        """Have it for so long from now; False where another process has begun one since."""
        with self._database.write() as connection:
            until = self._database.now(connection, self._clock) + lease_s
            kept = connection.execute(_KEEP, {"of": kind, "number": number, "until": until}).rowcount
        return bool(kept)

    def end(
        self,
        kind: str,
        number: int,
        *,
        took: Mapping[str, float],
        failed: str | None,
        detail: str = "",
        again_s: float,
    ) -> None:
        """It is over, in this way, unless another process has begun one since; the next is to be well under
        way in ``again_s``."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            told = {"seconds": dict(took), "step": failed, "why": detail, "again": now + again_s}
            connection.execute(_END, {"of": kind, "number": number, "now": now, **told})

    def leave(self, kind: str, number: int) -> None:
        """It is given up, and tells nothing."""
        with self._database.write() as connection:
            connection.execute(_LEAVE, {"of": kind, "number": number})

    def forget_rounds(self) -> None:
        """Whoever had one under way is dead: for a process that is alone with this ledger."""
        with self._database.write() as connection:
            connection.execute(_FREE_ALL)

    def latest(self) -> list[CanaryState]:
        """Of those in service, how the last round went; one that never ended any is left out."""
        with self._database.read() as connection:
            in_service = set(connection.execute(_IN_SERVICE).scalars())
            rows = connection.execute(_ALL).all()
        return [
            _state(row) for row in rows if row.finished_at is not None and canary_of(row.kind) in in_service
        ]


def _state(row: Any) -> CanaryState:
    return CanaryState(
        row.kind, row.finished_at, row.took, row.failed, row.detail, row.succeeded_at, row.silent_at
    )
