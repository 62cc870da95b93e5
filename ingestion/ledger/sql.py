"""Small pieces of SQL that several parts of the ledger need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion.ledger.tables import attempts, counters

Element = TypeVar("Element")

# Far below SQLite's limit of 32,766 variables, and large enough that the statement count does not matter.
SLICE = 500


def advance(connection: sa.Connection, counter: str, by: int = 1) -> int:
    """Move a counter on and return its new value. Its row lock makes commit order number order."""
    statement = (
        sa.update(counters)
        .where(counters.c.name == counter)
        .values(value=counters.c.value + by)
        .returning(counters.c.value)
    )
    return int(connection.execute(statement).scalar_one())


def read_counter(connection: sa.Connection, counter: str) -> int:
    return int(connection.execute(sa.select(counters.c.value).where(counters.c.name == counter)).scalar_one())


def inserting(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT, in the connection's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def slices(elements: Sequence[Element], size: int = SLICE) -> Iterator[Sequence[Element]]:
    for start in range(0, len(elements), size):
        yield elements[start : start + size]


def record_attempts(connection: sa.Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Add to the history. Rows name the columns of ``attempts``; all rows the same ones."""
    listed = list(rows)
    if listed:
        connection.execute(sa.insert(attempts), listed)
