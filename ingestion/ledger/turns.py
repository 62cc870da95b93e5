"""The ledger's book of turns: which process looks at a source, of several that could.

A turn ends by itself: whoever holds one, and dies, is followed a little later.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import inserting
from ingestion.ledger.tables import turns

TURN_S = 30.0


class Turns:
    """Of one process, by a name of its own. Every method is one short transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._holder = uuid.uuid4().hex

    def take(self, source: str) -> bool:
        """Whether it is this process's turn, for ``TURN_S`` from now; it may be already."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            insert = inserting(connection.dialect.name, turns)
            free = sa.or_(
                turns.c.holder == self._holder, turns.c.until < now, turns.c.until > now + 2 * TURN_S
            )
            taken = insert.on_conflict_do_update(
                index_elements=["source"],
                set_={name: insert.excluded[name] for name in ("holder", "until")},
                where=free,
            ).returning(turns.c.holder)
            values = {"source": source, "holder": self._holder, "until": now + TURN_S}
            return connection.execute(taken, values).first() is not None

    def end(self, sources: Collection[str]) -> None:
        """Of those that are this process's."""
        at = sa.and_(turns.c.source.in_(list(sources)), turns.c.holder == self._holder)
        with self._database.write() as connection:
            connection.execute(sa.delete(turns).where(at))
