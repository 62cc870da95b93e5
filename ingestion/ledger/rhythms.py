"""The ledger's book of rhythms: what looks have taught of how often documents change.

A row that is lost, or older than what was learnt since, costs a few looks and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.sql import inserting, slices
from ingestion.ledger.tables import rhythms

_ALL = sa.select(rhythms.c.uri, rhythms.c.looked_at, rhythms.c.shape, rhythms.c.span_s).where(
    rhythms.c.source == sa.bindparam("in_source")
)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Of a document: when it was last looked at, and the distribution of its rate of change
    (``ingestion.adaptive``)."""

    uri: str
    looked_at: float
    shape: float
    span_s: float


class Rhythms:
    """Every method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, source: str) -> list[Rhythm]:
        with self._database.read() as connection:
            return [Rhythm(*row) for row in connection.execute(_ALL, {"in_source": source})]

    def keep(self, source: str, known: Iterable[Rhythm]) -> None:
        rows = [
            {"source": source, "uri": one.uri, "looked_at": one.looked_at, "shape": one.shape}
            | {"span_s": one.span_s}
            for one in known
        ]
        if not rows:
            return
        with self._database.write() as connection:
            insert = inserting(connection.dialect.name, rhythms)
            new = {name: insert.excluded[name] for name in ("looked_at", "shape", "span_s")}
            keep = insert.on_conflict_do_update(index_elements=["source", "uri"], set_=new)
            connection.execute(keep, rows)

    def forget(self, source: str, uris: Collection[str]) -> None:
        with self._database.write() as connection:
            for some in slices(sorted(uris)):
                at = sa.and_(rhythms.c.source == source, rhythms.c.uri.in_(some))
                connection.execute(sa.delete(rhythms).where(at))
