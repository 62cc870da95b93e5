"""Binary codes: vectors as sign bits, compared by Hamming distance to find who is worth comparing exactly.

A code is the signs of the centred vector after a random rotation: the share of differing bits between
two codes estimates the angle between their vectors (Charikar, "Similarity estimation techniques from
rounding algorithms", STOC 2002), and a rotation spreads the variance evenly over the bits. The estimate
only chooses candidates; their order is decided in float32 by the caller. Nothing here reads a file, and
nothing uses BLAS, whose threads wait for each other in milliseconds when other work has the cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Rows = NDArray[np.int64]

MIN_BITS = 256  # short vectors are padded, or too few bits would be left to tell them apart
NOBODY = np.uint16(0xFFFF)  # a distance no code has: more than any number of bits
DEAD = np.int32(-1)


def code_bits(dimensions: int) -> int:
    """How many bits a code has: a multiple of 64, at least one a dimension."""
    return max(MIN_BITS, -(-dimensions // 64) * 64)


@dataclass(frozen=True, slots=True)
class Space:
    """How vectors become codes. Codes of two spaces cannot be compared.

    ``signs``: (2, width) int8, 1 or -1, ``width`` the power of two that has room for all bits;
    ``centre``: (dimensions,) float32. The rotation is H D2 H D1, Hadamard transforms between random
    flips of sign, and close to a uniformly random one (Yu et al., "Orthogonal Random Features", 2016).
    """

    signs: NDArray[np.int8]
    centre: Floats

    @classmethod
    def random(cls, dimensions: int, seed: int) -> Space:
        """Signs from a seeded generator, centred on nothing yet.

        They must be kept with the codes: the generator may give others in another release of numpy.
        """
        width = 1 << (code_bits(dimensions) - 1).bit_length()
        signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (2, width))
        return cls(signs, np.zeros(dimensions, np.float32))

    @property
    def bits(self) -> int:
        return code_bits(len(self.centre))

    def centred(self, centre: Floats) -> Space:
        """The same directions around another centre."""
        return Space(self.signs, centre)

    def encode(self, vectors: Floats) -> Bytes:
        """Codes of ``vectors`` (n, dimensions): shape (n, bits / 8), uint8."""
        turned = np.zeros((self.signs.shape[1], len(vectors)), np.float32)
        turned[: len(self.centre)] = (vectors - self.centre).T
        for signs in self.signs:
            turned *= signs[:, None]
            _transform(turned)
        return np.ascontiguousarray(np.packbits(turned[: self.bits] > 0, axis=0).T)


def _transform(columns: Floats) -> None:
    """The Walsh-Hadamard transform of every column, in place, unscaled. Length a power of two."""
    length, width = columns.shape
    half = 1
    while half < length:
        pairs = columns.reshape(-1, 2, half, width)
        upper, lower = pairs[:, 0], pairs[:, 1]
        difference = upper - lower
        upper += lower
        lower[...] = difference
        half *= 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The codes held at one moment; never changes. One column a code, so that every pass is a long one.

    ``columns``: (bits / 64, n) uint64; ``rows``: (n,) int64, ascending; ``sources``: (n,) int32, DEAD
    where the row is held no longer; ``dead``: how many of those there are.
    """

    columns: Words
    rows: Rows
    sources: NDArray[np.int32]
    dead: int

    def nearest(self, code: Bytes, limit: int, allowed: frozenset[int] | None = None) -> Rows:
        """At most ``limit`` rows with the codes nearest to ``code``, in no particular order.

        Only those of the ``allowed`` sources; None allows all. Among equally distant ones at the limit
        the oldest rows are taken, so that the same content gives the same answer.
        """
        distances = self._distances(code.view(np.uint64))
        hidden = self._hidden(allowed)
        if hidden is not None:
            distances[hidden] = NOBODY
        few = limit >= len(distances)
        furthest = NOBODY if few else np.partition(distances, limit - 1)[limit - 1]
        inside = np.flatnonzero(distances < furthest)
        if furthest == NOBODY:
            return self.rows[inside]
        edge = np.flatnonzero(distances == furthest)[: limit - len(inside)]
        return self.rows[np.concatenate((inside, edge))]

    def _distances(self, code: Words) -> NDArray[np.uint16]:
        distances = np.zeros(self.columns.shape[1], np.uint16)
        for column, word in zip(self.columns, code, strict=True):
            distances += np.bitwise_count(column ^ word)
        return distances

    def _hidden(self, allowed: frozenset[int] | None) -> NDArray[np.bool_] | None:
        if allowed is None:
            return self.sources == DEAD if self.dead else None
        shown = np.zeros(len(self.sources), np.bool_)
        for source in allowed:
            shown |= self.sources == source
        return ~shown


class CodeTable:
    """The codes of one edition in memory, appended to and deleted from. Not safe for threads by itself.

    Snapshots stay as they are: appending writes only behind their end, and deleting copies the (small)
    array it writes to.
    """

    def __init__(self, bits: int) -> None:
        self._columns: Words = np.empty((bits // 64, 0), np.uint64)
        self._rows: Rows = np.empty(0, np.int64)
        self._sources: NDArray[np.int32] = np.empty(0, np.int32)
        self._used = 0
        self._dead = 0

    @property
    def last_row(self) -> int:
        """The highest row ever appended and not compacted away; 0 if none."""
        return int(self._rows[self._used - 1]) if self._used else 0

    @property
    def size_bytes(self) -> int:
        return self._columns.nbytes + self._rows.nbytes + self._sources.nbytes

    def append(self, rows: Rows, sources: NDArray[np.int32], codes: Bytes) -> None:
        """Add codes (n, bits / 8) under ``rows``, which ascend and are above all that are held."""
        end = self._used + len(rows)
        if end > len(self._rows):
            self._resize(end + max(256, end // 8))
        self._columns[:, self._used : end] = codes.view(np.uint64).T
        self._rows[self._used : end] = rows
        self._sources[self._used : end] = sources
        self._used = end

    def remove(self, rows: Rows) -> None:
        """Hold these no longer; unknown rows are fine."""
        places = np.searchsorted(self._rows[: self._used], rows)
        inside = places < self._used
        places = places[inside][self._rows[places[inside]] == rows[inside]]
        sources = self._sources.copy()
        sources[places] = DEAD
        self._sources = sources
        self._dead = int(np.count_nonzero(sources[: self._used] == DEAD))
        if self._dead > max(1024, self._used // 4):
            self._compact()

    def snapshot(self) -> Snapshot:
        used = self._used
        return Snapshot(self._columns[:, :used], self._rows[:used], self._sources[:used], self._dead)

    def _resize(self, capacity: int) -> None:
        columns = np.empty((len(self._columns), capacity), np.uint64)
        columns[:, : self._used] = self._columns[:, : self._used]
        self._columns = columns
        self._rows = np.concatenate((self._rows, np.empty(capacity - len(self._rows), np.int64)))
        self._sources = np.concatenate((self._sources, np.empty(capacity - len(self._sources), np.int32)))

    def _compact(self) -> None:
        alive = np.flatnonzero(self._sources[: self._used] != DEAD)
        self._columns = np.ascontiguousarray(self._columns[:, alive])
        self._rows = self._rows[alive]
        self._sources = self._sources[alive]
        self._used = len(alive)
        self._dead = 0
