"""Small pieces of SQL that several parts of the ledger need.

Statements are built once, when their module is imported: SQLAlchemy takes longer to build one than SQLite
to run it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from ingestion.ledger.tables import attempts, counters, documents, editions, sources, tokens
from ingestion.own import MARK
from ingestion.records import Standing

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

Element = TypeVar("Element")

# Far below SQLite's limit of 32,766 variables, and large enough that the statement count does not matter.
SLICE = 500

_ADVANCE = (
    sa.update(counters)
    .where(counters.c.name == sa.bindparam("counter"))
    .values(value=counters.c.value + sa.bindparam("by"))
    .returning(counters.c.value)
)
_READ = sa.select(counters.c.value).where(counters.c.name == sa.bindparam("counter"))
_NEXT_TOKEN = sa.select(tokens.next_value())
_RECORD = sa.insert(attempts)

live_edition = sa.select(editions.c.id).where(editions.c.state == "live").scalar_subquery()

# Those that receive edits and tombstones; of any other nothing is claimed, staged or published.
fed_editions = sa.select(editions.c.id).where(editions.c.state != "retired")

# A source that is no longer in the settings keeps its documents, but nobody can read or serve them.
configured = documents.c.source.not_in(sa.select(sources.c.name).where(sources.c.active.is_(False)))
# Of Headwater's own sources (``ingestion.own``): a range of names, so that an index finds them at once.
own = sa.and_(documents.c.source >= MARK, documents.c.source < chr(ord(MARK) + 1))
of_users = sa.not_(own)
# A held document is not there as far as anybody knows: reading it would fail until a person decides.
workable = sa.and_(documents.c.standing != Standing.HELD, configured)


def advance(connection: sa.Connection, counter: str, by: int = 1) -> int:
    """Move a counter on and return its new value. Its row lock makes commit order number order."""
    return int(connection.execute(_ADVANCE, {"counter": counter, "by": by}).scalar_one())


def read_counter(connection: sa.Connection, counter: str) -> int:
    return int(connection.execute(_READ, {"counter": counter}).scalar_one())


def next_token(connection: sa.Connection) -> int:
    """A number that no claim had. Waits for nobody where claims take no turn."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(_NEXT_TOKEN).scalar_one())
    return advance(connection, "token")


def inserting(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # 0.1 s that every command on SQLite would wait for

        return postgresql.insert(table)
    return sqlite.insert(table)


def among(name: str) -> sa.BindParameter[Any]:
    """A parameter of IN: takes a list at each execution."""
    return sa.bindparam(name, expanding=True)


def slices(elements: Sequence[Element], size: int = SLICE) -> Iterator[Sequence[Element]]:
    for start in range(0, len(elements), size):
        yield elements[start : start + size]


def write_rows(
    connection: sa.Connection, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Execute a statement once for each row; all rows name the same columns or parameters.

    In a file, SQLAlchemy takes longer to look at a row's parameters than SQLite to write it, so they are
    brought into their order here.
    """
    if not connection.dialect.positional:
        connection.execute(statement, rows)
        return
    text, ordered = _ordering(statement, connection.dialect, tuple(rows[0]))
    connection.exec_driver_sql(text, [ordered(row) for row in rows])


@functools.lru_cache(maxsize=256)
def _ordering(
    statement: sa.Insert | sa.Update, dialect: sa.Dialect, keys: tuple[str, ...]
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """The statement's text, and what makes its parameters of a row."""
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    assert isinstance(compiled, SQLCompiler)
    assert compiled.positiontup is not None
    names, constants = compiled.positiontup, dict(compiled.params)
    processors = {
        number: processor
        for number, name in enumerate(names)
        if (processor := compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }

    def ordered(row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = [row[name] if name in row else constants[name] for name in names]
        for number, processor in processors.items():
            values[number] = processor(values[number])
        return tuple(values)

    return str(compiled), ordered


def record_attempts(connection: sa.Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Add to the history. Rows name the columns of ``attempts``; all rows the same ones."""
    listed = list(rows)
    if listed:
        write_rows(connection, _RECORD, listed)
