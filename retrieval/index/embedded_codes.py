"""The codes of every edition in the memory of this process, kept equal to the file.

Another process may have written since the last search: each search compares the edition's version with
what is in memory, in the transaction it then searches in, and reads what is missing.
"""

from __future__ import annotations

import sqlite3

import numpy as np

from retrieval.index.codes import CodeTable, Snapshot, Space
from retrieval.index.embedded_schema import State, Tables, read_space

READ_AT_ONCE = 4_096  # rows, so that reading a large edition needs little more memory than its codes


class HeldCodes:
    """The codes of one edition in one space, as of one version. Not safe for threads by itself."""

    def __init__(self, connection: sqlite3.Connection, state: State) -> None:
        self.space: Space = read_space(connection, state, state.epoch)
        self._table = CodeTable(self.space.bits)
        self._state = state
        self._append(connection, 0)

    def can_follow(self, state: State) -> bool:
        """Whether the missing part can be read; otherwise everything must be.

        A version that went back means that another file lies under the same name.
        """
        return (
            (self._state.id, self._state.epoch) == (state.id, state.epoch)
            and self._state.version <= state.version
            and self._state.gone >= state.gone_floor
        )

    def follow(self, connection: sqlite3.Connection, state: State) -> None:
        if state.version == self._state.version:
            return
        if state.last_row > self._state.last_row:
            self._append(connection, self._state.last_row)
        if state.gone > self._state.gone:
            gone = connection.execute(
                f"SELECT row FROM {Tables(state.id).gone} WHERE number > ?", (self._state.gone,)
            ).fetchall()
            self._table.remove(np.array([row for (row,) in gone], np.int64))
        self._state = state

    def snapshot(self) -> Snapshot:
        return self._table.snapshot()

    def _append(self, connection: sqlite3.Connection, above: int) -> None:
        cursor = connection.execute(
            f"SELECT row, source, code FROM {Tables(self._state.id).codes}"
            " WHERE epoch = ? AND row > ? ORDER BY row",
            (self._state.epoch, above),
        )
        while found := cursor.fetchmany(READ_AT_ONCE):
            rows, sources, codes = zip(*found, strict=True)
            self._table.append(
                np.array(rows, np.int64),
                np.array(sources, np.int32),
                np.frombuffer(b"".join(codes), np.uint8).reshape(len(rows), -1),
            )
