"""How the ledger's database is used on a PostgreSQL server: connections, turns, its clock, its faults.

Writers take turns by an advisory lock at READ COMMITTED: whoever has the turn sees all that was committed
before it, which is what SQLite gives, and ticks are committed in order. Only the taking of work goes without
a turn, and never waits for a row (``ops/decisions/0008-postgres-ledger.md``). The driver is imported when an
engine is made, not before.
"""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from ingestion.errors import HeadwaterError, LedgerRejected, LedgerUnavailable, Misconfigured

OLDEST = 14  # the oldest PostgreSQL that its makers still mend
CONNECT_S = 5
# Longer than any transaction may last, shorter than SQLAlchemy waits for one of its connections (30 s).
TURN_S = 25
STATEMENT_S = 60
# A process that is stopped in the middle of a transaction keeps its turn no longer; shorter than a lease.
SILENT_WRITER_S = 10
SILENT_READER_S = 600  # an export is as slow as whoever takes its rows
_TURN_KEY = 0x4845_4144_5741_5445  # "HEADWATE"
_NOW = "headwater_now"
_TIME = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8)")
# A function in FROM is called first: this is the time when the turn came.
_TAKE_TURN = sa.text(f"{_TIME} FROM pg_advisory_xact_lock({_TURN_KEY})")

# Every thread that reads may wait a moment for a connection; forty that sleep cost the server more. Those
# that look are kept once they were needed: as many searches at once would open and close one for each of
# their looks, and a connection costs both sides as much as a search.
_WRITERS: dict[str, Any] = {"pool_size": 2, "max_overflow": 6}
_READERS: dict[str, Any] = {"pool_size": 4, "max_overflow": 8}
_LOOKERS: dict[str, Any] = {"pool_size": 16, "max_overflow": 0}
# Settings of a connection, not of each transaction: those would be set and reset with each.
_WRITING = r"-c default_transaction_isolation=read\ committed"
_READING = r"-c default_transaction_isolation=repeatable\ read -c default_transaction_read_only=on"
_TRY_AGAIN = "What is published stays searchable; it is tried again."


class LoginRefused(LedgerUnavailable):
    """The server refuses the user or the password: wrong settings at the start, an outage later."""


def understood(url: sa.URL) -> sa.URL:
    """The URL with our driver, however it is spelled."""
    return url.set(drivername="postgresql+psycopg")


def described(url: sa.URL) -> str:
    """The database for people, without the password."""
    host = url.host or str(url.query.get("host") or "this machine")
    port = f":{url.port}" if url.port else ""
    return f"the PostgreSQL database {url.database or url.username or ''} at {host}{port}"


def engine(url: sa.URL, *, writing: bool) -> sa.Engine:
    """Connections for writing and for taking work, or for reading one snapshot each."""
    if writing:
        return _engine(url, SILENT_WRITER_S, _WRITING, pool_pre_ping=True, **_WRITERS)
    return _engine(url, SILENT_READER_S, _READING, pool_pre_ping=True, **_READERS)


def looker(url: sa.URL) -> sa.Engine:
    """Connections for single statements that read, with no transaction around them. They are not tried
    before: whoever uses one asks again."""
    return _engine(url, SILENT_READER_S, _READING, isolation_level="AUTOCOMMIT", **_LOOKERS)


def _engine(url: sa.URL, silent_s: int, transactions: str, **options: Any) -> sa.Engine:
    return sa.create_engine(
        url,
        connect_args=_connection(url, silent_s, transactions),
        pool_use_lifo=True,
        hide_parameters=True,
        **options,
    )


def take_turn(connection: sa.Connection) -> None:
    """Waits until no other process writes; ends with the transaction."""
    connection.info[_NOW] = connection.execute(_TAKE_TURN).scalar_one()


def take_time(connection: sa.Connection) -> None:
    """What ``now`` answers during this transaction."""
    connection.info[_NOW] = connection.execute(_TIME).scalar_one()


def now(connection: sa.Connection) -> float:
    """The server's time: when the transaction took its turn, or in one that only reads, now."""
    at: float | None = connection.info.get(_NOW)
    return float(connection.execute(_TIME).scalar_one()) if at is None else at


def examine(connection: sa.Connection) -> None:
    """Raises Misconfigured for a server or a database that cannot hold a ledger."""
    version = connection.dialect.server_version_info or (0,)
    if int(version[0]) < OLDEST:
        raise Misconfigured(
            f"The ledger needs PostgreSQL {OLDEST} or newer, and the server is of version "
            f"{'.'.join(map(str, version))}.",
            hint="Point ledger.url at a newer one.",
        )
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise Misconfigured(
            f"The ledger's database must be encoded in UTF8, and is in {encoding}.",
            hint="Make it with: createdb --encoding=UTF8 --template=template0 NAME",
        )


def without_limit(connection: sa.Connection) -> None:
    """For a migration: what it rewrites may be large."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def translated(error: sa.exc.DBAPIError, url: sa.URL, *, entered: bool) -> HeadwaterError | None:
    """The project's error for the server's, by SQLSTATE; None for a fault of the program.

    ``entered``: whether the server has let this process in before.
    """
    original = error.orig
    state = getattr(original, "sqlstate", None)
    place = described(url)
    if state is None:
        if isinstance(error, sa.exc.OperationalError):
            return _unreachable(error, url, entered=entered)
        return (
            None if isinstance(error, (sa.exc.DataError, sa.exc.ProgrammingError)) else _other(error, place)
        )
    if state in _FAULTS or state[:2] in _FAULTS:
        said, hint = _FAULTS.get(state) or _FAULTS[state[:2]]
        kind = Misconfigured if state in _OF_SETTINGS else LedgerUnavailable
        return kind(said.format(place), hint=hint)
    if state[:2] in _OF_VALUES:
        return LedgerRejected(f"The server of {place} refuses to keep this (SQLSTATE {state}).")
    return None if isinstance(error, _OURS) else _other(error, place)


# Trying again changes nothing, so they keep their name.
_OURS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError)
_PRIVILEGE = (
    "The user of ledger.url may not read or write {}.",
    "Make that user its owner: ALTER DATABASE name OWNER TO user; and of what is in it.",
)
_RESTARTING = ("The server of {} ended the connection, or is starting.", _TRY_AGAIN)
_FAULTS: dict[str, tuple[str, str]] = {
    "08": _RESTARTING,
    "57P01": _RESTARTING,
    "57P02": _RESTARTING,
    "57P03": _RESTARTING,
    "25P03": (
        "A transaction on {} was ended because this process was silent in the middle of it.",
        "Was it stopped, or is the machine overloaded? " + _TRY_AGAIN,
    ),
    "28": (
        "The server refuses the user or the password for {}.",
        "Correct the password in ledger.url, or the file that ledger.password_file names.",
    ),
    "3D000": ("The server has no such database as {}.", "Make it (createdb), or correct ledger.url."),
    "42501": _PRIVILEGE,
    "53100": (
        "The disk of the server that holds {} is full; nothing was written.",
        "Free some space there: work goes on by itself.",
    ),
    "53300": (
        "The server of {} has no connection left.",
        "Raise its max_connections, or run fewer processes. " + _TRY_AGAIN,
    ),
    "53": ("The server of {} lacks memory or another resource.", _TRY_AGAIN),
    "58": ("The server of {} has a fault of its machine.", "Its log says more. " + _TRY_AGAIN),
    "XX001": ("The server reports damage in {}.", "Restore it, or make it anew: it is rebuilt from sources."),
    "25006": (
        "The server allows nothing to be written to {}.",
        "Is it a standby? ledger.url must name the primary.",
    ),
    "40": ("A transaction on {} stood in the way of another and was undone.", _TRY_AGAIN),
    "55P03": (
        f"Another process has been writing to {{}} for {TURN_S} s.",
        "A migration may be under way. " + _TRY_AGAIN,
    ),
    "57014": (f"A statement on {{}} was ended: the limit is {STATEMENT_S} s.", _TRY_AGAIN),
}
_OF_SETTINGS = {"42501"}
_OF_VALUES = {"22", "54"}  # data exceptions; a limit of the server's, as of what an index can hold


def lasting(url: sa.URL, connect_s: int = CONNECT_S) -> dict[str, Any]:
    """What a connection is opened with that gives up on a server which does not answer; what the URL says
    itself is left as it is."""
    given = {
        "connect_timeout": connect_s,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "fallback_application_name": "headwater",
        "client_encoding": "utf8",
    }
    return {name: value for name, value in given.items() if name not in url.query}


def _connection(url: sa.URL, silent_s: int, transactions: str = "") -> dict[str, Any]:
    """What every connection is opened with; what the URL says itself is left as it is, but for what every
    transaction must be."""
    limits = {
        "statement_timeout": STATEMENT_S,
        "lock_timeout": TURN_S,
        "idle_in_transaction_session_timeout": silent_s,
    }
    set_here = " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())
    return {**lasting(url), "options": f"{set_here} {url.query.get('options', '')} {transactions}".strip()}


def _unreachable(error: sa.exc.DBAPIError, url: sa.URL, *, entered: bool) -> HeadwaterError:
    """Of a connection that was lost or could not be made: libpq gives no code, so facts are looked at."""
    place, client = described(url), getattr(error.orig, "pgconn", None)
    if error.connection_invalidated:
        return LedgerUnavailable(_RESTARTING[0].format(place), hint=_TRY_AGAIN)
    if client is None or not (client.needs_password or client.used_password):
        return LedgerUnavailable(
            f"The server of {place} cannot be reached, takes no connection, or ended it"
            f"{_own_words(error, url)}.",
            hint=f"Is it running, and does ledger.url name its host and port? {_TRY_AGAIN}",
        )
    if entered:  # each try to find out more would be one more failed login
        return LedgerUnavailable(
            f"The server of {place} no longer lets this process in{_own_words(error, url)}.",
            hint=f"If the password was changed, correct it and start this process again. {_TRY_AGAIN}",
        )
    return _turned_away(error, url, given=not client.needs_password)


def _turned_away(error: sa.exc.DBAPIError, url: sa.URL, *, given: bool) -> HeadwaterError:
    """Of a first connection, for which the server asked for a password; ``given``: and got one."""
    kind: type[LedgerUnavailable] = LedgerUnavailable
    if not given or _says_so_of_a_wrong_password(error, url):
        kind, (said, hint) = LoginRefused, _FAULTS["28"]
    elif _lacks_database(url):
        said, hint = _FAULTS["3D000"]
    else:
        said, hint = "The server takes no connection to {} now.", _TRY_AGAIN
    return kind(said.format(described(url)) + f" It says{_own_words(error, url)}.", hint=hint)


def _says_so_of_a_wrong_password(error: sa.exc.DBAPIError, url: sa.URL) -> bool:
    """Whether ours is what it refuses: words are compared, in whatever language, and not understood.

    Where all connections are taken, or the database is missing, it says so only to those it knows.
    """
    wrong = url.set(password=secrets.token_urlsafe(16))
    probe = sa.create_engine(wrong, connect_args=_connection(wrong, 1))
    try:
        with probe.connect():
            return False
    except sa.exc.DBAPIError as refusal:
        return str(refusal.orig) == str(error.orig)
    finally:
        probe.dispose()


def _lacks_database(url: sa.URL) -> bool:
    """Whether the server takes the user and the password, and has no such database."""
    probe = sa.create_engine(url.set(database="postgres"), connect_args=_connection(url, 1))
    try:
        with probe.connect() as connection:
            named = sa.text("SELECT count(*) FROM pg_database WHERE datname = :name")
            return not connection.execute(named, {"name": url.database}).scalar_one()
    except sa.exc.DBAPIError:
        return False
    finally:
        probe.dispose()


def _other(error: sa.exc.DBAPIError, place: str) -> HeadwaterError:
    name = getattr(error.orig, "sqlstate", None) or type(error.orig).__name__
    return LedgerUnavailable(f"{place[0].upper()}{place[1:]} failed ({name}).", hint=_TRY_AGAIN)


def _own_words(error: sa.exc.DBAPIError, url: sa.URL) -> str:
    """The first line of what the driver says, which names hosts and users, and never a password."""
    lines = str(error.orig).strip().splitlines()
    if not lines:
        return ""
    words = lines[0].removesuffix(".")
    return f": {words.replace(str(url.password), '***') if url.password else words}"
