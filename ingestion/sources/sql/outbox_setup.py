"""What makes an outbox in a user's PostgreSQL database, and what removes it.

Triggers of statements, not of rows, with the rows that were touched as a table: a statement that touches many
costs one insertion. Their functions run with the rights of whoever installs them: those who write to the
table need none. They make nobody wait for whom the table itself would not: the key must be unique in it, so
transactions that touch one row of the outbox touch one row of the table before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ingestion.errors import Misconfigured
from ingestion.sources.sql.database import postgres_engine
from ingestion.sources.sql.outbox import EVERYTHING, name_of

_FROM = re.compile(r"\bfrom\s+((?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?)", re.I)
_SEVERAL = re.compile(r"\b(join|union|intersect|except)\b|\bfrom\s+[^()]*?,", re.I | re.S)
_TABLE = sa.text(
    """SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(:name)"""
)
_COLUMNS = sa.text(
    "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = :oid AND attnum > 0 AND NOT attisdropped"
)
_UNIQUE = sa.text(
    """SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = :oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
    AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts GROUP BY i.indexrelid"""
)
# What values are written as must not depend on whose session writes them.
_WRITTEN = "SET timezone = 'UTC' SET datestyle = 'ISO' SET bytea_output = 'hex' SET extra_float_digits = '1'"


@dataclass(frozen=True, slots=True)
class Place:
    """A table with the columns of the key, and the user who reads the outbox beside it."""

    schema: str
    table: str
    key: tuple[str, ...]
    reader: str


def table_of(query: str) -> str | None:
    """The one table that a query reads, where that can be seen."""
    found = {one.group(1) for one in _FROM.finditer(query)}
    return found.pop() if len(found) == 1 and not _SEVERAL.search(query) else None


def find_place(connection: sa.Connection, source: str, table: str, key: Sequence[str], reader: str) -> Place:
    """Raises Misconfigured for a table whose rows cannot be told by the key."""
    row = connection.execute(_TABLE, {"name": table}).one_or_none()
    if row is None or row.relkind not in ("r", "p"):
        raise Misconfigured(
            f"There is no table {table} in the database of source {source}.",
            hint="Name the table that holds the key: headwater sql install SOURCE --table TABLE",
        )
    columns = set(connection.execute(_COLUMNS, {"oid": row.oid}).scalars())
    missing = [one for one in key if one not in columns]
    unique = [tuple(one) for one in connection.execute(_UNIQUE, {"oid": row.oid}).scalars()]
    if missing or tuple(sorted(key)) not in unique:
        why = f"it has no column {missing[0]}" if missing else f"{', '.join(key)} is not unique there"
        raise Misconfigured(
            f"The rows of {table} cannot be told by the key of source {source}: {why}.",
            hint="Give the table a unique index on just these columns, or name another one with --table.",
        )
    return Place(row.nspname, row.relname, tuple(key), reader)


def installing(source: str, place: Place) -> Iterator[str]:
    """Statements that may be run again."""
    quote, name = _quote, name_of(source)
    outbox = f"{quote(place.schema)}.{quote(name)}"
    numbers = f"{quote(place.schema)}.{quote(name + '_numbers')}"
    table = f"{quote(place.schema)}.{quote(place.table)}"
    yield f"CREATE SEQUENCE IF NOT EXISTS {numbers}"
    yield (
        f"CREATE TABLE IF NOT EXISTS {outbox} (key text PRIMARY KEY, number bigint NOT NULL,"
        " deleted boolean NOT NULL, noted_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    yield f"CREATE INDEX IF NOT EXISTS {quote(name + '_order')} ON {outbox} (number)"
    yield f"GRANT SELECT, UPDATE, DELETE ON {outbox} TO {quote(place.reader)}"
    for event, rows in _touched(place.key).items():
        function = f"{quote(place.schema)}.{quote(f'{name}_{event.lower()}')}"
        yield (
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n"
            f"SET search_path = pg_catalog, pg_temp {_WRITTEN} AS $$\nBEGIN\n"
            f"  INSERT INTO {outbox} AS o (key, number, deleted)\n"
            f"    SELECT k, nextval({_literal(numbers)}), bool_and(d) FROM ({rows}) AS touched (k, d)"
            " GROUP BY k\n"
            "  ON CONFLICT (key) DO UPDATE SET number = excluded.number, deleted = excluded.deleted,"
            " noted_at = excluded.noted_at;\n"
            f"  PERFORM pg_notify({_literal(name)}, '');\n  RETURN NULL;\nEND $$"
        )
        trigger = quote(f"{name}_{event.lower()}")
        yield f"DROP TRIGGER IF EXISTS {trigger} ON {table}"
        yield (
            f"CREATE TRIGGER {trigger} AFTER {event} ON {table}{_REFERENCING[event]}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )


def removing(source: str, schemas: Sequence[str]) -> Iterator[str]:
    """Statements that remove it, its triggers included."""
    name = name_of(source)
    for schema in schemas:
        for event in _REFERENCING:
            function = f"{_quote(schema)}.{_quote(f'{name}_{event.lower()}')}"
            yield f"DROP FUNCTION IF EXISTS {function}() CASCADE"
        yield f"DROP TABLE IF EXISTS {_quote(schema)}.{_quote(name)}"
        yield f"DROP SEQUENCE IF EXISTS {_quote(schema)}.{_quote(name + '_numbers')}"


def carry_out(url: sa.URL, statements: Sequence[str], source: str) -> None:
    """All of them or none. Raises Misconfigured where the database refuses."""
    engine = postgres_engine(url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))  # no place of a parameter
    except sa.exc.DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise Misconfigured(
            f"The database of source {source} refuses this: {lines[0]} (SQLSTATE {state}). Nothing was done.",
            hint=_HINTS.get(str(state), "") or _NEEDED,
        ) from None


_NEEDED = (
    "It needs TRIGGER on the table and CREATE on its schema, as its owner has. Somebody who has them can run "
    "what --print shows."
)
_HINTS = {"55P03": "Somebody holds a lock on the table: try again when no long transaction uses it."}
_REFERENCING = {
    "INSERT": " REFERENCING NEW TABLE AS touched_new",
    "UPDATE": " REFERENCING OLD TABLE AS touched_old NEW TABLE AS touched_new",
    "DELETE": " REFERENCING OLD TABLE AS touched_old",
    "TRUNCATE": "",
}


def _touched(key: Sequence[str]) -> dict[str, str]:
    """What each event touched: keys as text, and whether their rows went."""
    values = ", ".join(f"{_quote(one)}::text" for one in key)
    # A key with no value has no document.
    there = " AND ".join(f"{_quote(one)} IS NOT NULL" for one in key)
    new = f"SELECT json_build_array({values})::text, false FROM touched_new WHERE {there}"
    old = f"SELECT json_build_array({values})::text, true FROM touched_old WHERE {there}"
    return {
        "INSERT": new,
        "UPDATE": f"{old} UNION ALL {new}",
        "DELETE": old,
        "TRUNCATE": f"SELECT {_literal(EVERYTHING)}, true",
    }


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
