"""The index for one machine: vectors, binary codes and a full-text index in the ledger's SQLite file.

A search scans the codes in memory for the few hundred nearest, compares those exactly, looks up the rare
words of the question, and fuses both. Everything a search reads, it reads in one transaction, and the
codes are brought up to that transaction first; so it sees whatever any process wrote before it began,
and never half of a write. Why so: DESIGN, "The embedded index".
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ingestion.buckets import Tally, tallied
from ingestion.database import Database, translated
from ingestion.errors import (
    DataCorrupt,
    EditionMissing,
    HeadwaterError,
    IndexUnavailable,
    LedgerUnavailable,
    Misconfigured,
    WrongEdition,
)
from retrieval.index.checked import checked_vectors
from retrieval.index.codes import Space
from retrieval.index.embedded_codes import HeldCodes
from retrieval.index.embedded_schema import (
    State,
    Tables,
    has_shared,
    make_shared,
    read_space,
    read_state,
    write_space,
    write_state,
)
from retrieval.index.embedded_search import Searching
from retrieval.index.embedded_words import TermCounts
from retrieval.index.embedded_write import Writing
from retrieval.index.port import IndexedChunk, IndexHit, IndexQuery
from retrieval.index.words import QueryReader

DELETED_AT_ONCE = 256  # chunks a transaction: edits must not wait for a large sweep
LISTED_AT_ONCE = 5_000
_SEED = 20_261_120
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class EmbeddedIndex:
    """The port's promises, kept by SQLite transactions. ``database`` must be an SQLite one.

    The database stays the caller's: ``close`` lets go of memory only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = QueryReader()
        self._following = threading.Lock()
        self._codes: dict[str, HeldCodes] = {}
        self._spaces: dict[int, tuple[int, Space]] = {}  # edition number -> epoch, space
        self._counts = TermCounts()
        self._has_shared = False

    def create(self, edition: str, dimensions: int) -> None:
        if not _SLUG.fullmatch(edition):
            raise Misconfigured(f"{edition!r} cannot name an edition: lower-case letters, digits, _ and -.")
        with self._writing() as connection:
            make_shared(connection)
            state = read_state(connection, edition)
            if state is None:
                self._make(connection, edition, dimensions)
            elif state.dimensions != dimensions:
                raise WrongEdition(
                    f"The edition {edition} holds vectors of length {state.dimensions}, not {dimensions}.",
                    hint="Another model needs another edition.",
                )

    def drop(self, edition: str) -> None:
        with self._writing() as connection:
            state = self._state(connection, edition)
            if state is None:
                return
            Tables(state.id).drop(connection)
            connection.execute("DELETE FROM embedded_spaces WHERE id = ?", (state.id,))
            connection.execute("DELETE FROM embedded_editions WHERE id = ?", (state.id,))
        with self._following:
            self._codes.pop(edition, None)

    def upsert(self, edition: str, chunks: Sequence[IndexedChunk]) -> None:
        distinct = list({chunk.chunk_id: chunk for chunk in chunks}.values())
        if not distinct:
            return
        with self._writing() as connection:
            state = self._required(connection, edition)
            vectors = checked_vectors(distinct, state.dimensions)
            writing = Writing(connection, state)
            writing.hold(distinct, vectors, self._space(connection, state))
            writing.tend(len(distinct))
            write_state(connection, writing.state)

    def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
        distinct = list(dict.fromkeys(chunk_ids))
        for start in range(0, len(distinct), DELETED_AT_ONCE):
            with self._writing() as connection:
                state = self._state(connection, edition)
                if state is None:
                    return
                writing = Writing(connection, state)
                writing.release(distinct[start : start + DELETED_AT_ONCE])
                if writing.state != state:
                    write_state(connection, writing.state)

    def present(self, edition: str, chunk_ids: Sequence[str]) -> set[str]:
        with self._reading() as connection:
            tables = Tables(self._required(connection, edition).id)
            found = connection.execute(
                f"SELECT chunk_id FROM {tables.ids} WHERE chunk_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(chunk_ids)),),
            )
            return {chunk_id for (chunk_id,) in found}

    def texts(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        with self._reading() as connection:
            tables = Tables(self._required(connection, edition).id)
            found = connection.execute(
                f"SELECT i.chunk_id, w.text FROM {tables.ids} i JOIN {tables.words} w ON w.rowid = i.row"
                " WHERE i.chunk_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(chunk_ids)),),
            )
            return dict(found.fetchall())

    def vectors(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        with self._reading() as connection:
            tables = Tables(self._required(connection, edition).id)
            found = connection.execute(
                f"SELECT i.chunk_id, c.vector FROM {tables.ids} i JOIN {tables.chunks} c ON c.row = i.row"
                " WHERE i.chunk_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(chunk_ids)),),
            )
            return {chunk_id: np.frombuffer(vector, "<f4") for chunk_id, vector in found}

    def vectors_by_digest(
        self, edition: str, digests: Sequence[str], *, without: Sequence[str] = ()
    ) -> Mapping[str, NDArray[np.float32]]:
        with self._reading() as connection:
            tables = Tables(self._required(connection, edition).id)
            found = connection.execute(
                f"SELECT i.digest, c.vector FROM {tables.chunks} c"
                f" JOIN (SELECT digest, min(row) AS row FROM {tables.ids}"
                "  WHERE digest IN (SELECT value FROM json_each(?))"
                "  AND chunk_id NOT IN (SELECT value FROM json_each(?)) GROUP BY digest) i"
                " ON c.row = i.row",
                (json.dumps(list(digests)), json.dumps(list(without))),
            )
            return {digest: np.frombuffer(vector, "<f4") for digest, vector in found}

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        if query.limit <= 0 or query.sources == ():
            return []
        with contextlib.ExitStack() as stack:
            with self._following:  # so that no other search moves the codes past this transaction
                connection = stack.enter_context(self._reading())
                state = self._required(connection, edition)
                codes = self._followed(connection, edition, state)
                snapshot = codes.snapshot()
            searching = Searching(connection, state, snapshot, codes.space, self._reader, self._counts)
            return searching.run(query)

    def ids(self, edition: str) -> Iterator[tuple[str, str]]:
        last = ""
        while True:
            with self._reading() as connection:
                tables = Tables(self._required(connection, edition).id)
                page = connection.execute(
                    f"SELECT chunk_id, digest FROM {tables.ids} WHERE chunk_id > ? ORDER BY chunk_id LIMIT ?",
                    (last, LISTED_AT_ONCE),
                ).fetchall()
            yield from page
            if len(page) < LISTED_AT_ONCE:
                return
            last = page[-1][0]

    def buckets(self, edition: str) -> Mapping[int, Tally]:
        return tallied(self.ids(edition))

    def count(self, edition: str) -> int:
        with self._reading() as connection:
            return self._required(connection, edition).held

    def check(self, edition: str | None = None) -> None:
        with self._reading() as connection:
            if edition is not None:
                self._required(connection, edition)
            elif self._shared_exists(connection):
                connection.execute("SELECT count(*) FROM embedded_editions").fetchone()

    def close(self) -> None:
        with self._following:
            self._codes.clear()
            self._spaces.clear()
        self._reader.close()

    def _make(self, connection: sqlite3.Connection, edition: str, dimensions: int) -> None:
        connection.execute(
            "INSERT INTO embedded_editions (edition, dimensions) VALUES (?, ?)", (edition, dimensions)
        )
        state = self._required(connection, edition)
        write_space(connection, state.id, state.epoch, Space.random(dimensions, _SEED))
        Tables(state.id).create(connection)

    def _followed(self, connection: sqlite3.Connection, edition: str, state: State) -> HeldCodes:
        codes = self._codes.get(edition)
        if codes is None or not codes.can_follow(state):
            codes = self._codes[edition] = HeldCodes(connection, state)
        else:
            codes.follow(connection, state)
        return codes

    def _space(self, connection: sqlite3.Connection, state: State) -> Space:
        epoch, space = self._spaces.get(state.id, (-1, None))
        if space is None or epoch != state.epoch:
            space = read_space(connection, state, state.epoch)
            self._spaces[state.id] = (state.epoch, space)
        return space

    def _state(self, connection: sqlite3.Connection, edition: str) -> State | None:
        return read_state(connection, edition) if self._shared_exists(connection) else None

    def _required(self, connection: sqlite3.Connection, edition: str) -> State:
        state = self._state(connection, edition)
        if state is None:
            raise EditionMissing(
                f"The index holds no edition {edition}.",
                hint="It is made anew and filled by the next audit, or at once by: headwater audit --repair",
            )
        return state

    def _shared_exists(self, connection: sqlite3.Connection) -> bool:
        self._has_shared = self._has_shared or has_shared(connection)
        return self._has_shared

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._translated(), self._database.read() as connection:
            yield _driver(connection)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._translated(), self._database.write() as connection:
            yield _driver(connection)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """The ledger's words for the file's faults, said of the index. A damaged file stays that."""
        try:
            yield
        except sqlite3.Error as error:
            wrapped = sa.exc.DBAPIError(None, None, error)
            raise _of_index(translated(wrapped, self._database.path)) from error
        except LedgerUnavailable as error:
            raise _of_index(error) from error
        except sa.exc.TimeoutError as error:
            raise IndexUnavailable("Too many searches wait for the data file.") from error


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    """The driver's own connection, in the transaction that is open: the layers above cost more than
    most of the statements here."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _of_index(error: HeadwaterError) -> HeadwaterError:
    if isinstance(error, DataCorrupt):
        return error
    return IndexUnavailable(error.message, hint=error.hint)
