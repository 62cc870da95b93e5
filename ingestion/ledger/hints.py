"""The ledger's book of hints: places that somebody says have changed, on their way to whoever watches.

A hint that is lost costs time and no more: the next listing finds what it spoke of.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.sql import inserting
from ingestion.ledger.tables import hints

_ANY = sa.select(hints.c.source).where(hints.c.source.in_(sa.bindparam("names", expanding=True))).limit(1)
_TAKE = (
    sa.delete(hints)
    .where(hints.c.source.in_(sa.bindparam("names", expanding=True)))
    .returning(hints.c.source, hints.c.place)
)


class Hints:
    """Every method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, source: str, places: Sequence[str]) -> None:
        """A place is a URI, a prefix that ends with '/', or '' for everything. Twice is once."""
        with self._database.write() as connection:
            insert = inserting(connection.dialect.name, hints).on_conflict_do_nothing()
            connection.execute(insert, [{"source": source, "place": place} for place in places])

    def take(self, sources: Sequence[str]) -> dict[str, list[str]]:
        """Those of these sources, which are the caller's from now on."""
        with self._database.read() as connection:
            if connection.execute(_ANY, {"names": list(sources)}).first() is None:
                return {}
        found: dict[str, list[str]] = {}
        with self._database.write() as connection:
            for row in connection.execute(_TAKE, {"names": list(sources)}).all():
                found.setdefault(row.source, []).append(row.place)
        return found
