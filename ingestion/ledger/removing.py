"""Ends a source that nobody has in their settings any more, with everything that is known of it.

In short transactions, each of which may be the last one: the source's own row goes at the very end, so
whoever begins again finds what is left to do.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import among
from ingestion.ledger.tables import documents, hints, kept, punctuality, rhythms, sources, turns
from ingestion.ledger.tombstones import retire
from ingestion.records import Standing

AT_ONCE = 500
EVIDENCE = "its source was removed"

_there = sa.and_(documents.c.source == sa.bindparam("of"), documents.c.standing != Standing.RETIRED)
_COUNT = sa.select(sa.func.count()).select_from(documents).where(_there)
_SOME = sa.select(documents.c.id).where(_there).limit(AT_ONCE)
_KEPT = sa.select(kept.c.uri).where(kept.c.source == sa.bindparam("of")).limit(AT_ONCE)
_FORGET_KEPT = sa.delete(kept).where(kept.c.source == sa.bindparam("of"), kept.c.uri.in_(among("uris")))
_STATE = sa.select(sources.c.active, sources.c.kept_at).where(sources.c.name == sa.bindparam("of"))
_OUT = sa.update(sources).where(sources.c.name == sa.bindparam("of")).values(active=False)
_FORGET = [
    sa.delete(table).where(table.c.source == sa.bindparam("of"))
    for table in (hints, rhythms, turns, punctuality)
]
_END = sa.delete(sources).where(sources.c.name == sa.bindparam("of"))


class Removing:
    """Every method is one short transaction, and may be called again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def count(self, source: str) -> int:
        """How many documents it would take away."""
        with self._database.read() as connection:
            return int(connection.execute(_COUNT, {"of": source}).scalar_one())

    def begin(self, source: str, *, unkept_for_s: float) -> float | None:
        """Take it out of service. Where a process has said within so many seconds that it has this source,
        nothing is done, and how long ago that was is returned."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            row = connection.execute(_STATE, {"of": source}).one_or_none()
            if row is not None and row.kept_at is not None and now - row.kept_at < unkept_for_s:
                return max(0.0, now - float(row.kept_at))
            connection.execute(_OUT, {"of": source})
        return None

    def retire(self, source: str) -> int:
        """Tombstones for some of its documents, whatever their standing; returns for how many."""
        with self._database.write() as connection:
            ids = connection.execute(_SOME, {"of": source}).scalars().all()
            if ids:
                now = self._database.now(connection, self._clock)
                retire(connection, dict.fromkeys(ids, EVIDENCE), now, unasked=True)
        return len(ids)

    def forget_kept(self, source: str) -> int:
        """Forget what is kept of some of its documents; returns of how many. Bodies that nobody has are
        swept."""
        with self._database.write() as connection:
            uris = connection.execute(_KEPT, {"of": source}).scalars().all()
            if uris:
                connection.execute(_FORGET_KEPT, {"of": source, "uris": list(uris)})
        return len(uris)

    def end(self, source: str) -> None:
        """Everything else, and the source itself."""
        with self._database.write() as connection:
            for statement in (*_FORGET, _END):
                connection.execute(statement, {"of": source})
