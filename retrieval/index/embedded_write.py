"""What a write does to an edition, inside the transaction that the caller opened.

Besides holding and releasing chunks, a write carries on what the edition needs as it grows: codes around
a better centre. That is done a few rows at each write, so that it stalls nobody, needs no thread, and is
simply continued after a crash. Until all rows have a code in the new space the old one is searched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retrieval.index.codes import Bytes, Floats, Space
from retrieval.index.embedded_schema import (
    State,
    Tables,
    drop_spaces_before,
    read_space,
    source_numbers,
    write_space,
)
from retrieval.index.port import IndexedChunk

GONE_KEPT = 10_000  # deletions that other processes can follow without reading all codes again
FIRST_CENTRE_AT = 1_024  # below it, nearly every chunk is compared exactly anyway
CENTRE_AGAIN_AFTER = 8  # times as many chunks as when the centre was last computed
CENTRE_SAMPLE = 1_024  # vectors; the mean of so many is off by about 1/32 of their spread
RECODED_PER_WRITE = 64  # and at least four times the rows written, or the end would never be reached
FORGOTTEN_PER_WRITE = 256


class Writing:
    """One write to one edition. ``state`` holds the counters to be written when it is done."""

    def __init__(self, connection: sqlite3.Connection, state: State) -> None:
        self.state = state
        self._connection = connection
        self._tables = Tables(state.id)

    def hold(self, chunks: Sequence[IndexedChunk], vectors: Floats, space: Space) -> None:
        """Add chunks with distinct ids; ``vectors`` (n, dimensions), ``space`` that of the live epoch.

        Ids that are held already are replaced.
        """
        self.release([chunk.chunk_id for chunk in chunks])
        sources = source_numbers(self._connection, {chunk.source for chunk in chunks}, make=True)
        rows = range(self.state.last_row + 1, self.state.last_row + 1 + len(chunks))
        insert = self._connection.executemany
        insert(
            f"INSERT INTO {self._tables.ids} (chunk_id, row, digest) VALUES (?, ?, ?)",
            [(chunk.chunk_id, row, chunk.digest) for row, chunk in zip(rows, chunks, strict=True)],
        )
        insert(
            f"INSERT INTO {self._tables.chunks} (row, chunk_id, vector) VALUES (?, ?, ?)",
            [
                (row, chunk.chunk_id, vector.tobytes())
                for row, chunk, vector in zip(rows, chunks, vectors, strict=True)
            ],
        )
        insert(
            f"INSERT INTO {self._tables.words} (rowid, heading, text) VALUES (?, ?, ?)",
            [(row, chunk.heading, chunk.text) for row, chunk in zip(rows, chunks, strict=True)],
        )
        numbers = [sources[chunk.source] for chunk in chunks]
        self._write_codes(self.state.epoch, rows, numbers, space.encode(vectors))
        self.state = replace(
            self.state,
            version=self.state.version + 1,
            last_row=rows.stop - 1,
            held=self.state.held + len(chunks),
        )

    def release(self, chunk_ids: Sequence[str]) -> None:
        """Remove chunks; ids that are not held are fine."""
        lookup = f"SELECT row FROM {self._tables.ids} WHERE chunk_id = ?"
        held = [
            (row, chunk_id)
            for chunk_id in chunk_ids
            for (row,) in self._connection.execute(lookup, (chunk_id,))
        ]
        if not held:
            return
        rows = [(row,) for row, _ in held]
        forget = self._connection.executemany
        forget(f"DELETE FROM {self._tables.ids} WHERE chunk_id = ?", [(chunk_id,) for _, chunk_id in held])
        forget(f"DELETE FROM {self._tables.chunks} WHERE row = ?", rows)
        forget(f"DELETE FROM {self._tables.words} WHERE rowid = ?", rows)
        for epoch in {self.state.epoch, self.state.building or self.state.epoch}:
            forget(f"DELETE FROM {self._tables.codes} WHERE epoch = {epoch} AND row = ?", rows)
        self._log_gone([row for row, _ in held])
        self.state = replace(self.state, version=self.state.version + 1, held=self.state.held - len(held))

    def tend(self, written: int) -> None:
        """Carry on with recentring, in proportion to the ``written`` rows of this write."""
        self._forget_old_codes()
        due_at = max(FIRST_CENTRE_AT, CENTRE_AGAIN_AFTER * self.state.centred_at)
        if not self.state.building and self.state.held >= due_at:
            self._start_recoding()
        if self.state.building:
            self._recode(max(RECODED_PER_WRITE, 4 * written))

    def _write_codes(self, epoch: int, rows: Sequence[int], sources: Sequence[int], codes: Bytes) -> None:
        self._connection.executemany(
            f"INSERT INTO {self._tables.codes} (epoch, row, source, code) VALUES ({epoch}, ?, ?, ?)",
            [(row, source, code.tobytes()) for row, source, code in zip(rows, sources, codes, strict=True)],
        )

    def _log_gone(self, rows: Sequence[int]) -> None:
        last = self.state.gone + len(rows)
        self._connection.executemany(
            f"INSERT INTO {self._tables.gone} (number, row) VALUES (?, ?)",
            enumerate(rows, start=self.state.gone + 1),
        )
        floor = max(self.state.gone_floor, last - GONE_KEPT)
        self._connection.execute(f"DELETE FROM {self._tables.gone} WHERE number <= ?", (floor,))
        self.state = replace(self.state, gone=last, gone_floor=floor)

    def _start_recoding(self) -> None:
        """Compute the centre from rows all over the collection, and begin to code around it."""
        chunks = self._tables.chunks
        first, last = self._connection.execute(f"SELECT min(row), max(row) FROM {chunks}").fetchone()
        sample = np.random.default_rng(last).integers(first, last + 1, CENTRE_SAMPLE)
        found = [
            vector
            for row in sorted(sample.tolist())
            for (vector,) in self._connection.execute(
                f"SELECT vector FROM {chunks} WHERE row >= ? ORDER BY row LIMIT 1", (row,)
            )
        ]
        centre = _matrix(found, self.state.dimensions).mean(axis=0, dtype=np.float64).astype(np.float32)
        building = self.state.epoch + 1
        space = read_space(self._connection, self.state, self.state.epoch).centred(centre)
        write_space(self._connection, self.state.id, building, space)
        self.state = replace(self.state, building=building, built_row=0, centred_at=self.state.held)

    def _recode(self, limit: int) -> None:
        """Code the next rows around the new centre; when there are none left, search the new codes."""
        state = self.state
        found = self._connection.execute(
            f"SELECT o.row, o.source, c.vector FROM {self._tables.codes} o"
            f" JOIN {self._tables.chunks} c ON c.row = o.row"
            " WHERE o.epoch = ? AND o.row > ? ORDER BY o.row LIMIT ?",
            (state.epoch, state.built_row, limit),
        ).fetchall()
        if found:
            rows, sources, vectors = zip(*found, strict=True)
            space = read_space(self._connection, state, state.building)
            codes = space.encode(_matrix(vectors, state.dimensions))
            self._write_codes(state.building, rows, sources, codes)
            state = replace(state, built_row=rows[-1])
        if len(found) < limit:
            state = replace(state, epoch=state.building, building=0, built_row=0, version=state.version + 1)
            drop_spaces_before(self._connection, state.id, state.epoch)
        self.state = state

    def _forget_old_codes(self) -> None:
        codes = self._tables.codes
        self._connection.execute(
            f"DELETE FROM {codes} WHERE (epoch, row) IN"
            f" (SELECT epoch, row FROM {codes} WHERE epoch < ? LIMIT ?)",
            (self.state.epoch, FORGOTTEN_PER_WRITE),
        )


def _matrix(vectors: Sequence[bytes], dimensions: int) -> Floats:
    return np.frombuffer(b"".join(vectors), "<f4").reshape(-1, dimensions)
