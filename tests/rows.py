"""A table in a database, and a source of its rows: what tests of the kind sql share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from ingestion.clock import Clock, SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.records import Listing, Seen
from ingestion.sources.sql.source import SqlSource
from ops.kinds.base import Means
from ops.kinds.sql import SqlSettings


class Shop:
    """``url``: of the database, as a user writes it."""

    def __init__(self, url: str, *, clock: Clock | None = None, ledger: Ledger | None = None) -> None:
        self.url = url
        self.clock = clock or SystemClock()
        self._own = None if ledger else Ledger(Database.in_memory(), self.clock)
        self.ledger = ledger or self._own
        self.engine = sa.create_engine(sa.make_url(url), poolclass=sa.NullPool)
        self._sources: list[SqlSource] = []

    def execute(self, statement: str, *rows: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), list(rows) or None)

    def settings(self, **given: Any) -> SqlSettings:
        values = {"name": "shop", "url": SecretStr(self.url), "query": "SELECT * FROM items", "key": ("id",)}
        return SqlSettings(**{**values, **given})

    def source(self, **given: Any) -> SqlSource:
        assert self.ledger is not None
        made = self.settings(**given).source(Means(self.clock, self.ledger, Path()))
        self._sources.append(made)
        return made

    def close(self) -> None:
        for source in self._sources:
            source.close()
        self.engine.dispose()
        if self._own is not None:
            self._own.database.close()


def seen(listing: Listing) -> dict[str, Seen]:
    return {one.uri: one for one in listing.sightings if isinstance(one, Seen)}


def body(source: SqlSource, uri: str) -> str:
    return source.read(uri).body.decode()
