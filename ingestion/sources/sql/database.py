"""A database of users, read and never written: short transactions, with a limit on each statement.

What differs between databases is here: how a transaction is made one that only reads, how a statement that
takes too long is ended, and that no value may end the reading of all others.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event

from ingestion.postgres import lasting
from ingestion.sources.sql.faults import translated, unavailable

CONNECT_S = 10
ROWS_AT_ONCE = 1000
LOOK_EVERY_STEPS = 20_000  # of SQLite's machine: some tenths of a millisecond
_KEPT, _MORE = 1, 4  # connections

# Transactions that only read, where the database has them and neither of the two below is meant.
_READ_ONLY = {"mysql": "SET TRANSACTION READ ONLY", "mariadb": "SET TRANSACTION READ ONLY"}


class RowDatabase:
    """Connections are made when they are needed. Safe to call from several threads."""

    def __init__(self, url: sa.URL, *, source: str, statement_timeout_s: float) -> None:
        self.url = url
        self.kind = url.get_backend_name()
        self._source = source
        self._timeout_s = statement_timeout_s
        self._lock = threading.Lock()
        self._made: sa.Engine | None = None

    @property
    def file(self) -> Path | None:
        """Where it lies, if it is a file."""
        return Path(self.url.database) if self.kind == "sqlite" and self.url.database else None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that cannot write. Raises SourceUnavailable for whatever the database refuses."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise translated(error, self.url, self._source) from None  # its cause may show values
        except UnicodeDecodeError:
            raise unavailable(self._source, "it holds text that is not in its encoding") from None

    @contextlib.contextmanager
    def streamed(self, connection: sa.Connection, statement: sa.Executable) -> Iterator[sa.CursorResult[Any]]:
        """Rows from a cursor at the server, so many at once."""
        streaming = connection.execution_options(stream_results=True, max_row_buffer=ROWS_AT_ONCE)
        result = streaming.execute(statement)
        try:
            yield result.yield_per(ROWS_AT_ONCE)
        finally:
            result.close()

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.dispose()

    @property
    def _engine(self) -> sa.Engine:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> sa.Engine:
        common: dict[str, Any] = {"pool_size": _KEPT, "max_overflow": _MORE, "pool_use_lifo": True}
        if self.kind == "sqlite":
            # Opened for each look: another file may lie there by now, or none.
            engine = sa.create_engine("sqlite://", creator=self._open_file, poolclass=sa.NullPool)
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        elif self.kind == "postgresql":
            engine = postgres_engine(self.url, pool_pre_ping=True, **common)
            event.listen(engine, "connect", _tolerate_times)
            event.listen(engine, "begin", self._begin_at_server)
        else:
            engine = sa.create_engine(self.url, pool_pre_ping=True, **common)
            event.listen(engine, "begin", self._begin_elsewhere)
        return engine

    def _open_file(self) -> sqlite3.Connection:
        """Never makes one. What is no text is handed out with the bytes that are none as lone surrogates."""
        assert self.file is not None
        address = f"file:{quote(str(self.file.absolute()))}?mode=ro"
        connection = sqlite3.connect(
            address, uri=True, timeout=self._timeout_s, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA query_only=ON").close()
        connection.text_factory = lambda held: held.decode("utf-8", "surrogateescape")
        return connection

    def _begin_at_server(self, connection: sa.Connection) -> None:
        """Of this transaction, not of the connection: a pooler in between may not know those settings."""
        connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
            f"SET LOCAL statement_timeout = {int(self._timeout_s * 1000)};"
            "SET LOCAL timezone = 'UTC'"
        )

    def _begin_elsewhere(self, connection: sa.Connection) -> None:
        if statement := _READ_ONLY.get(connection.dialect.name):
            connection.exec_driver_sql(statement)
        if connection.dialect.name == "mysql":
            limit = int(self._timeout_s * 1000)
            connection.exec_driver_sql(f"SET SESSION MAX_EXECUTION_TIME = {limit}")

    @contextlib.contextmanager
    def timed(self, connection: sa.Connection) -> Iterator[Callable[[], None]]:
        """Ends a statement of SQLite that takes too long; what it gives begins the time anew."""
        if self.kind != "sqlite":
            yield lambda: None
            return
        held = connection.connection.dbapi_connection
        assert isinstance(held, sqlite3.Connection)
        ends = time.monotonic() + self._timeout_s

        def anew() -> None:
            nonlocal ends
            ends = time.monotonic() + self._timeout_s

        held.set_progress_handler(lambda: time.monotonic() > ends, LOOK_EVERY_STEPS)
        try:
            yield anew
        finally:
            held.set_progress_handler(None, 0)


def names_of(result: sa.CursorResult[Any]) -> list[str]:
    """Of its columns, as the database tells them: SQLAlchemy knows them as one, which stands for all."""
    assert result.cursor is not None
    return [column[0] for column in result.cursor.description or ()]


def postgres_engine(url: sa.URL, **options: Any) -> sa.Engine:
    """Connections that give up on a server that does not answer, and go through poolers."""
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={**lasting(url, CONNECT_S), "prepare_threshold": None},
        **options,
    )


def _tolerate_times(connection: Any, _record: object) -> None:
    """Times that Python cannot hold (infinity, the year 20000) are read as text."""
    from psycopg import DataError
    from psycopg.abc import Buffer
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    for name in ("date", "timestamp", "timestamptz"):
        usual = connection.adapters.get_loader(connection.adapters.types[name].oid, Format.TEXT)

        class Tolerant(Loader):
            _usual = usual

            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._inner = self._usual(oid, context)

            def load(self, data: Buffer) -> Any:
                try:
                    return self._inner.load(data)
                except DataError:
                    return bytes(data).decode()

        connection.adapters.register_loader(name, Tolerant)
