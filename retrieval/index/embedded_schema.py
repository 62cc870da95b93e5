"""The tables of the embedded index, and the counters that tell readers what changed.

Every edition has tables of its own, named after a number that is never used again; all of them change
in one transaction with the edition's counters::

    embedded_editions     one row an edition: its number, its dimensions and the counters of State
    embedded_spaces       (edition number, epoch) -> flips and centre of the binary codes
    embedded_sources      number <-> name of a source
    embedded_N_ids        chunk id -> row, digest
    embedded_N_chunks     row -> chunk id, float32 vector
    embedded_N_codes      (epoch, row) -> source number, binary code
    embedded_N_words      FTS5: row -> heading, text
    embedded_N_terms      how many chunks hold each term of embedded_N_words
    embedded_N_gone       the latest deletions, for processes that hold the codes in memory

Rows are numbered upwards and a number never comes back, so that whoever has read up to a row needs only
what lies above it. The edition's tables are made at run time and are no part of the ledger's migrations:
the index can be rebuilt from the sources.
"""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, fields

import numpy as np

from retrieval.index.codes import Space
from retrieval.index.words import TOKENIZER

_SHARED = """
CREATE TABLE IF NOT EXISTS embedded_editions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, edition TEXT NOT NULL UNIQUE, dimensions INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 0, last_row INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0, centred_at INTEGER NOT NULL DEFAULT 0,
  building INTEGER NOT NULL DEFAULT 0, built_row INTEGER NOT NULL DEFAULT 0,
  gone INTEGER NOT NULL DEFAULT 0, gone_floor INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS embedded_spaces (
  id INTEGER NOT NULL, epoch INTEGER NOT NULL, flips BLOB NOT NULL, centre BLOB NOT NULL,
  PRIMARY KEY (id, epoch));
CREATE TABLE IF NOT EXISTS embedded_sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
"""


@dataclass(frozen=True, slots=True)
class State:
    """The counters of one edition, as of the transaction that read them.

    ``version`` moves with every change of what is held; ``last_row`` is the highest row ever given.
    ``epoch`` names the space whose codes are searched, computed when ``centred_at`` chunks were held;
    ``building`` the next one, 0 if none, coded up to ``built_row``. Deletions are logged under numbers
    up to ``gone``; those up to ``gone_floor`` have been forgotten.
    """

    id: int
    dimensions: int
    version: int
    last_row: int
    held: int
    epoch: int
    centred_at: int
    building: int
    built_row: int
    gone: int
    gone_floor: int


_COLUMNS = ", ".join(field.name for field in fields(State))
_COUNTERS = [field.name for field in fields(State)][2:]
_READ_STATE = f"SELECT {_COLUMNS} FROM embedded_editions WHERE edition = ?"
_WRITE_STATE = f"UPDATE embedded_editions SET {', '.join(f'{name} = ?' for name in _COUNTERS)} WHERE id = ?"


class Tables:
    """The names of one edition's tables."""

    def __init__(self, edition_id: int) -> None:
        prefix = f"embedded_{edition_id}"
        self.ids = f"{prefix}_ids"
        self.chunks = f"{prefix}_chunks"
        self.codes = f"{prefix}_codes"
        self.words = f"{prefix}_words"
        self.terms = f"{prefix}_terms"
        self.gone = f"{prefix}_gone"

    def create(self, connection: sqlite3.Connection) -> None:
        for statement in (
            f"CREATE TABLE {self.ids} (chunk_id TEXT PRIMARY KEY, row INTEGER NOT NULL,"
            " digest TEXT NOT NULL) WITHOUT ROWID",
            f"CREATE INDEX {self.ids}_digest ON {self.ids} (digest)",
            f"CREATE TABLE {self.chunks} (row INTEGER PRIMARY KEY, chunk_id TEXT NOT NULL,"
            " vector BLOB NOT NULL)",
            f"CREATE TABLE {self.codes} (epoch INTEGER NOT NULL, row INTEGER NOT NULL,"
            " source INTEGER NOT NULL, code BLOB NOT NULL, PRIMARY KEY (epoch, row)) WITHOUT ROWID",
            f"CREATE VIRTUAL TABLE {self.words} USING fts5(heading, text, tokenize='{TOKENIZER}')",
            f"CREATE VIRTUAL TABLE {self.terms} USING fts5vocab({self.words}, row)",
            f"CREATE TABLE {self.gone} (number INTEGER PRIMARY KEY, row INTEGER NOT NULL)",
        ):
            connection.execute(statement)

    def drop(self, connection: sqlite3.Connection) -> None:
        for table in (self.terms, self.words, self.ids, self.chunks, self.codes, self.gone):
            connection.execute(f"DROP TABLE {table}")


def make_shared(connection: sqlite3.Connection) -> None:
    """The tables that all editions share. Idempotent."""
    for statement in _SHARED.split(";"):
        connection.execute(statement)


def has_shared(connection: sqlite3.Connection) -> bool:
    """Whether an edition was ever made in this file."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'embedded_editions'")
    return found.fetchone() is not None


def read_state(connection: sqlite3.Connection, edition: str) -> State | None:
    row = connection.execute(_READ_STATE, (edition,)).fetchone()
    return State(*row) if row else None


def write_state(connection: sqlite3.Connection, state: State) -> None:
    edition_id, _dimensions, *counters = astuple(state)
    connection.execute(_WRITE_STATE, (*counters, edition_id))


def read_space(connection: sqlite3.Connection, state: State, epoch: int) -> Space:
    flips, centre = connection.execute(
        "SELECT flips, centre FROM embedded_spaces WHERE id = ? AND epoch = ?", (state.id, epoch)
    ).fetchone()
    return Space(np.frombuffer(flips, np.int8).reshape(2, -1), np.frombuffer(centre, "<f4"))


def write_space(connection: sqlite3.Connection, edition_id: int, epoch: int, space: Space) -> None:
    connection.execute(
        "INSERT INTO embedded_spaces (id, epoch, flips, centre) VALUES (?, ?, ?, ?)",
        (edition_id, epoch, space.flips.tobytes(), space.centre.astype("<f4").tobytes()),
    )


def drop_spaces_before(connection: sqlite3.Connection, edition_id: int, epoch: int) -> None:
    connection.execute("DELETE FROM embedded_spaces WHERE id = ? AND epoch < ?", (edition_id, epoch))


def source_numbers(connection: sqlite3.Connection, names: set[str], *, make: bool) -> dict[str, int]:
    """Number by name; unknown names are given one if ``make``, and left out if not."""
    if make:
        connection.executemany(
            "INSERT INTO embedded_sources (name) VALUES (?) ON CONFLICT DO NOTHING",
            [(name,) for name in sorted(names)],
        )
    return {
        name: number
        for name in names
        for (number,) in connection.execute("SELECT id FROM embedded_sources WHERE name = ?", (name,))
    }
