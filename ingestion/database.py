"""One database, opened the way both the ledger and the embedded index need it.

SQLite in WAL mode by default: many readers, one writer at a time, in any number of processes. Writers
start with BEGIN IMMEDIATE, because SQLAlchemy's default lets two read-modify-write transactions lose
each other's updates; within a process they take turns in the order of asking. Between processes they try
again every millisecond: SQLite's own busy handler sleeps up to 100 ms between tries, and beside a process
that writes back to back one of those naps after the other misses the gap (measured: 0.8 s).

Or a PostgreSQL server, with the same promises: what differs is in ``ingestion.postgres``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from ingestion import postgres
from ingestion.clock import Clock
from ingestion.errors import DataCorrupt, HeadwaterError, LedgerUnavailable, Misconfigured
from ingestion.turns import Turns

Answer = TypeVar("Answer")

BUSY_TIMEOUT_MS = 30_000
BUSY_PAUSE_S = 0.001
# A reader that lasts lets the log grow; once it ends, the file is cut back to this.
LOG_BYTES = 64 * 2**20
# Written back at once. With a quarter of it, a first index waited a fifth of its time for the disk.
LOG_PAGES = 4000

# Faults of the program, not of the database: trying again changes nothing, so they keep their name.
_OURS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError)


class Database:
    """Opens connections for reading and for writing; translates the driver's errors."""

    def __init__(self, url: str | sa.URL) -> None:
        """``sqlite:///file`` or ``postgresql://user:password@host:port/name``. Raises Misconfigured."""
        self.url = _understood(url)
        self.on_server = self.url.get_backend_name() == "postgresql"
        self._memory = self.url.get_backend_name() == "sqlite" and not self.url.database
        self._entered = False  # whether the server has let this process in
        self._turns = Turns()
        self._writer = self._engine(writing=True)
        # One shared connection is all an in-memory database has: readers then take the writers' turn.
        self._reader = self._writer if self._memory else self._engine(writing=False)
        self._looker = postgres.looker(self.url) if self.on_server else self._reader

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

    @property
    def description(self) -> str:
        """For people; never the password."""
        return postgres.described(self.url) if self.on_server else f"the data file {self.url.database}"

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one snapshot throughout and writes nothing.

        Keep it short too: while it lasts, the log of what is written cannot be reused and grows.
        """
        with contextlib.ExitStack() as stack:
            if self._memory:
                stack.enter_context(self._turns.turn())
            stack.enter_context(self._translated())
            yield stack.enter_context(self._reader.begin())

    def look(self, ask: Callable[[sa.Connection], Answer]) -> Answer:
        """What ``ask`` reads, each of its statements as of its own beginning; it may be called twice.

        For what every search asks: on a server, a transaction around one statement takes longer than the
        statement, and so does trying the connection first. Elsewhere as ``read``.
        """
        if not self.on_server:
            with self.read() as connection:
                return ask(connection)
        with self._translated():
            try:
                return self._looked(ask)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return self._looked(ask)  # the server had ended the connection since it was last used

    def _looked(self, ask: Callable[[sa.Connection], Answer]) -> Answer:
        with self._looker.connect() as connection:
            return ask(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write: committed when the block ends, rolled back when it raises.

        Keep it short: no network call, no embedding, no file is read inside one.
        """
        with self._turns.turn(), self._translated(), self._writer.begin() as connection:
            if self.on_server:
                postgres.take_turn(connection)
            yield connection

    @contextlib.contextmanager
    def taking(self) -> Iterator[sa.Connection]:
        """A transaction that takes work which nobody has: on a server it waits for no writer.

        So it may lock only rows that are free (SKIP LOCKED), and write only those. Elsewhere ``write``.
        """
        if not self.on_server:
            with self.write() as connection:
                yield connection
            return
        with self._translated(), self._writer.begin() as connection:
            postgres.take_time(connection)
            yield connection

    def now(self, connection: sa.Connection, clock: Clock) -> float:
        """The time that all processes of this ledger go by.

        A server's own, because clocks of several machines differ; of a file, the clock of this one.
        """
        return postgres.now(connection) if self.on_server else clock.now()

    def server_version(self) -> str:
        """As the server tells it; of a file, SQLite's."""
        with self.read() as connection:
            return ".".join(str(part) for part in connection.dialect.server_version_info or ())

    def close(self) -> None:
        for engine in (self._looker, self._reader, self._writer):
            engine.dispose()

    def _engine(self, *, writing: bool) -> sa.Engine:
        if self.on_server:
            made = postgres.engine(self.url, writing=writing)
            event.listen(made, "connect", self._enter)
            return made
        options: dict[str, Any] = {"connect_args": {"check_same_thread": False}}
        if self._memory:
            options["poolclass"] = StaticPool
        elif writing:
            options |= {"pool_size": 1, "max_overflow": 0}
        else:
            # The last one given back goes out first: its page cache is warm.
            options |= {"pool_size": 8, "max_overflow": 32, "pool_use_lifo": True}
        engine = sa.create_engine(self.url, **options)
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "connect", _fail_if_busy if writing else _forbid_writing)
        event.listen(engine, "begin", _begin_to_write if writing else _begin_to_read)
        return engine

    def _enter(self, _connection: object, _record: object) -> None:
        self._entered = True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            known = self._known(error)
            if known is None:
                raise
            raise known from error
        except sa.exc.TimeoutError as error:
            raise LedgerUnavailable(
                "Too many readers wait for the ledger at once.", hint="Ask again in a moment."
            ) from error

    def _known(self, error: sa.exc.DBAPIError) -> HeadwaterError | None:
        if self.on_server:
            return postgres.translated(error, self.url, entered=self._entered)
        return None if isinstance(error, _OURS) else translated(error, self.path)


def _understood(url: str | sa.URL) -> sa.URL:
    try:
        made = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        made = None  # without the cause: it may show the password
    kind = "" if made is None else made.get_backend_name()
    if made is not None and kind == "sqlite":
        return made
    if made is not None and kind in ("postgresql", "postgres"):
        return postgres.understood(made)
    raise Misconfigured(
        "ledger.url is not the address of a database that can hold a ledger.",
        hint="Write it as postgresql://user:password@host:5432/name; signs such as @ or / in the password "
        "as %40 or %2F.",
    )


def translated(error: sa.exc.DBAPIError, path: Path | None) -> HeadwaterError:
    """The project's error for the driver's, by its code."""
    original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    name = getattr(original, "sqlite_errorname", type(original).__name__)
    primary = None if code is None else code & 0xFF  # the rest refines it
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataCorrupt(
            f"The data file {path} is damaged or is not a Headwater data file ({name}).",
            hint="Move it away and start again: it is rebuilt from the sources.",
        )
    if primary == sqlite3.SQLITE_FULL:
        return LedgerUnavailable(
            f"The disk that holds {path} is full; nothing was written.",
            hint="Free some space: work goes on by itself.",
        )
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return LedgerUnavailable(
            f"The data file {path} cannot be opened for writing ({name}).",
            hint="Its folder must exist, and this user must be allowed to write there.",
        )
    return LedgerUnavailable(
        f"The ledger could not be read or written ({name}: {original}).",
        hint="What is published stays searchable; it is tried again.",
    )


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event issues the BEGIN
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}").close()
    _use_log(connection)
    for pragma in (
        f"journal_size_limit={LOG_BYTES}",
        "synchronous=NORMAL",
        f"wal_autocheckpoint={LOG_PAGES}",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "secure_delete=FAST",  # some builds overwrite all that is freed: ten times the time of a DROP
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _use_log(connection: sqlite3.Connection) -> None:
    """WAL mode. Two that turn a new file into one at once do not wait for each other: SQLite asks no busy
    handler there, so the loser tries again."""
    ends = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.005)


def _fail_if_busy(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout=0").close()


def _forbid_writing(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON").close()


def _begin_to_read(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_to_write(connection: sa.Connection) -> None:
    """Waits for other processes; within this one it is this thread's turn already."""
    for _ in range(int(BUSY_TIMEOUT_MS / 1000 / BUSY_PAUSE_S)):
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(BUSY_PAUSE_S)
        else:
            return
    connection.exec_driver_sql("BEGIN IMMEDIATE")
