"""One database, opened the way both the ledger and the embedded index need it.

SQLite in WAL mode by default: many readers, one writer at a time, in any number of processes. Writers
start with BEGIN IMMEDIATE, because SQLAlchemy's default lets two read-modify-write transactions lose
each other's updates; within a process they queue on a lock, because SQLite's own busy handler sleeps up
to 100 ms between tries.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from ingestion.errors import DataCorrupt, HeadwaterError, LedgerUnavailable

BUSY_TIMEOUT_MS = 30_000


class Database:
    """Opens connections for reading and for writing; translates the driver's errors."""

    def __init__(self, url: str | sa.URL) -> None:
        self.url = sa.make_url(url)
        self._memory = self.url.get_backend_name() == "sqlite" and not self.url.database
        self._writing = threading.RLock()
        self._writer = self._engine(immediate=True)
        # One shared connection is all an in-memory database has: readers then take the writers' turn.
        self._reader = self._writer if self._memory else self._engine(immediate=False)

    @classmethod
    def file(cls, path: Path) -> Database:
        return cls(sa.URL.create("sqlite", database=str(path)))

    @classmethod
    def in_memory(cls) -> Database:
        """The twin for tests: the same dialect, no file, gone when closed."""
        return cls("sqlite://")

    @property
    def path(self) -> Path | None:
        """The file, where there is one."""
        database = self.url.database
        return Path(database) if self.url.get_backend_name() == "sqlite" and database else None

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one snapshot throughout and writes nothing."""
        with contextlib.ExitStack() as stack:
            if self._memory:
                stack.enter_context(self._writing)
            stack.enter_context(self._translated())
            yield stack.enter_context(self._reader.begin())

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write: committed when the block ends, rolled back when it raises.

        Keep it short: no network call, no embedding, no file is read inside one.
        """
        with self._writing, self._translated(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._reader.dispose()
        self._writer.dispose()

    def _engine(self, *, immediate: bool) -> sa.Engine:
        if self.url.get_backend_name() != "sqlite":
            return sa.create_engine(self.url, pool_pre_ping=True)
        options: dict[str, Any] = {"connect_args": {"check_same_thread": False}}
        if self._memory:
            options["poolclass"] = StaticPool
        else:
            options |= {"pool_size": 4, "max_overflow": 16}
        engine = sa.create_engine(self.url, **options)
        event.listen(engine, "connect", _set_pragmas)
        statement = "BEGIN IMMEDIATE" if immediate else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(statement))
        return engine

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise translated(error, self.path) from error


def translated(error: sa.exc.DBAPIError, path: Path | None) -> HeadwaterError:
    """The project's error for the driver's, by its code."""
    original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    name = getattr(original, "sqlite_errorname", type(original).__name__)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataCorrupt(
            f"The data file {path} is damaged or is not a Headwater data file ({name}).",
            hint="Move it away and start again: it is rebuilt from the sources.",
        )
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return LedgerUnavailable(
            f"The disk that holds {path} is full; nothing was written.",
            hint="Free some space: work goes on by itself.",
        )
    return LedgerUnavailable(
        f"The ledger could not be read or written ({name}: {original}).",
        hint="What is published stays searchable; it is tried again.",
    )


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event issues the BEGIN
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
