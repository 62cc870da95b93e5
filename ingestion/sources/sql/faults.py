"""What a database says when it refuses, by its codes and never with a password or a value.

Words of its own are shown where they name hosts, users, tables and columns; those about data are not.
"""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa

from ingestion.errors import SourceUnavailable

STAYS = "What is indexed of it stays searchable."
AGAIN = f"{STAYS} It is looked at again on schedule."
_CONNECT = "Is it running, and are host, port, database, user, password and certificate right?"
_SLOW = "Give the tables an index on key and on changed, or raise statement_timeout_s."
_QUERY = "Correct query, key or changed, or give its user the right to read."

# By SQLSTATE, or the class of it.
_HINTS = {
    "28": "Correct user and password in url, or the file that password_file names.",
    "3D": "Correct the database in url.",
    "42501": "Grant its user SELECT on what the query reads.",
    "42": _QUERY,
    "25006": "A query may only read: nothing was changed.",
    "57014": _SLOW,
    "53": "The server lacks connections, memory or room.",
    "40001": "A standby ended the query to catch up with its primary.",
    "0A": _QUERY,
    "22": "A value does not fit what the query makes of it.",
    "57": "The server ends connections, or is starting.",
    "08": _CONNECT,
}
_SILENT = ("22", "23")  # what is said of data may hold data


def unavailable(source: str, reason: str, hint: str = "") -> SourceUnavailable:
    return SourceUnavailable(
        f"The database of source {source} cannot be read: {reason}.",
        hint=f"{hint} {AGAIN}".strip(),
        source=source,
    )


def translated(error: sa.exc.SQLAlchemyError, url: sa.URL, source: str) -> SourceUnavailable:
    """The project's error for the driver's."""
    if isinstance(error, sa.exc.TimeoutError):
        return unavailable(source, "too many looks at it wait for a connection")
    original = getattr(error, "orig", None)
    if original is None:  # of SQLAlchemy itself: a statement that cannot be written for this database
        return unavailable(source, f"{type(error).__name__}", _QUERY)
    if isinstance(original, sqlite3.Error):
        return _of_sqlite(original, url, source)
    state = str(getattr(original, "sqlstate", None) or "")
    hint = _HINTS.get(state) or _HINTS.get(state[:2]) or (_CONNECT if not state else "")
    words = "" if state[:2] in _SILENT else _own_words(original, url)
    told = f" (SQLSTATE {state})" if state else ""
    return unavailable(source, (words or type(original).__name__) + told, hint)


def _of_sqlite(error: sqlite3.Error, url: sa.URL, source: str) -> SourceUnavailable:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return unavailable(source, "the statement took too long", _SLOW)
    if code == sqlite3.SQLITE_READONLY:
        return unavailable(source, "the query would write", _HINTS["25006"])
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return unavailable(source, f"{url.database} cannot be opened as one ({name})", "Correct url.")
    return unavailable(source, str(error).splitlines()[0] if str(error) else type(error).__name__, _QUERY)


def _own_words(error: BaseException, url: sa.URL) -> str:
    """The first line of what the driver says."""
    lines = str(error).strip().splitlines()
    words = lines[0].removesuffix(".") if lines else ""
    password = str(url.password) if url.password else ""
    return words.replace(password, "***") if password else words
