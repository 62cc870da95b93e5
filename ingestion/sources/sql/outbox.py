"""The outbox in a user's PostgreSQL database: a row for each key that was touched, written by triggers in the
transaction that touched it, and deleted here once what it tells was looked at.

A key is noted once, however often it is touched: while nobody reads, it has no more rows than the table ever
had keys. It is only read and emptied here; ``outbox_setup`` says how it is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.sources.sql.database import postgres_engine
from ingestion.sources.sql.faults import translated, unavailable

EVERYTHING = "*"  # in the place of a key: the table was truncated
MOST_TAKEN = 5000
STATEMENT_S = 10
_FIND = sa.text(
    """SELECT n.nspname, c.relname, has_table_privilege(c.oid, 'SELECT')
    AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = :name AND c.relkind = 'r' AND has_schema_privilege(n.oid, 'USAGE')"""
)


@dataclass(frozen=True, slots=True)
class Told:
    """A row of the outbox. ``key``: its columns' values as text, None for everything."""

    place: str
    text: str
    number: int
    deleted: bool

    @property
    def key(self) -> Sequence[str] | None:
        return None if self.text == EVERYTHING else json.loads(self.text)


def name_of(source: str) -> str:
    """What the outbox of a source is called, and the channel that tells of it."""
    slug = re.sub(r"[^a-z0-9_]", "_", source.lower())[:30]
    if slug != source:
        slug = f"{slug}_{hashlib.sha256(source.encode()).hexdigest()[:6]}"
    return f"headwater_outbox_{slug}"


def schemas_of(connection: sa.Connection, source: str) -> list[str]:
    """Where there is an outbox of a source."""
    return [row[0] for row in connection.execute(_FIND, {"name": name_of(source)})]


class Outbox:
    """Safe to call from several threads, and from several processes for one source."""

    def __init__(self, url: sa.URL, source: str) -> None:
        self._url = url
        self._source = source
        self._name = name_of(source)
        self._lock = threading.Lock()
        self._made: sa.Engine | None = None

    def places(self) -> list[str]:
        """Where there is one, quoted. Raises SourceUnavailable, also where its rows may not be taken."""
        with self._writing() as connection:
            found = connection.execute(_FIND, {"name": self._name}).all()
            quote = connection.dialect.identifier_preparer.quote
            for schema, table, allowed in found:
                if not allowed:
                    place = f"{quote(schema)}.{quote(table)}"
                    user = quote(self._url.username or "its_user")
                    hint = f"GRANT SELECT, UPDATE, DELETE ON {place} TO {user};"
                    raise unavailable(self._source, f"its user may not take rows from {place}", hint)
            return [f"{quote(schema)}.{quote(table)}" for schema, table, _ in found]

    def take(self, places: Sequence[str]) -> list[Told]:
        """The oldest rows; they stay."""
        told: list[Told] = []
        with self._writing() as connection:
            for place in places:
                query = f"SELECT key, number, deleted FROM {place} ORDER BY number LIMIT {MOST_TAKEN}"
                told += [Told(place, *row) for row in connection.exec_driver_sql(query)]
        return told

    def drop(self, done: Sequence[Told]) -> None:
        """Delete these, unless their keys were touched again. Waits for nobody, so that no transaction of
        the database's users can meet it in a deadlock: what is locked stays for the next time."""
        by_place: dict[str, list[Told]] = {}
        for one in done:
            by_place.setdefault(one.place, []).append(one)
        with self._writing() as connection:
            for place, some in by_place.items():
                query = (
                    f"DELETE FROM {place} WHERE key IN (SELECT o.key FROM {place} o JOIN"
                    " unnest(%(keys)s::text[], %(numbers)s::bigint[]) AS d(key, number)"
                    " ON o.key = d.key AND o.number = d.number FOR UPDATE OF o SKIP LOCKED)"
                )
                values = {"keys": [one.text for one in some], "numbers": [one.number for one in some]}
                connection.exec_driver_sql(query, values)

    def listen(self, tell: Callable[[], None], stopping: threading.Event) -> None:
        """Tell of each word of a commit, until stopped. Raises psycopg's errors where the connection ends."""
        import psycopg

        arguments = self._engine.dialect.create_connect_args(self._engine.url)[1]
        with psycopg.connect(**{**arguments, **_patience()}, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._name)))
            tell()  # of what was committed before
            while not stopping.is_set():
                for _ in connection.notifies(timeout=LISTEN_S, stop_after=1):
                    tell()

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.dispose()

    @property
    def _engine(self) -> sa.Engine:
        with self._lock:
            if self._made is None:
                self._made = postgres_engine(self._url, pool_size=1, max_overflow=1, pool_pre_ping=True)
            return self._made

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{STATEMENT_S}s'")
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise translated(error, self._url, self._source) from None


LISTEN_S = 1.0  # between two looks at whether it is to stop


def _patience() -> dict[str, Any]:
    """A connection that is silent for hours is tried more often."""
    return {"keepalives_idle": 10, "keepalives_interval": 5, "connect_timeout": 5}
