"""Binary codes: a bit a direction for every vector, to find who is worth comparing exactly.

A code holds the signs of the centred vector after a random rotation, and two numbers with which the signs
estimate its dot product with a question (Gao and Long, "RaBitQ", SIGMOD 2024). The question keeps its
magnitudes, in a few bits: comparing signs with signs only, by Hamming distance, needs several times the
candidates for the same recall. The estimate only chooses candidates; their order is decided in float32
by the caller. Nothing here reads a file, and nothing uses BLAS, whose threads wait for each other in
milliseconds when other work has the cores.
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
MAGNITUDE_BITS = 3  # of each component of a question; more find no more
BLOCK = 16_384  # codes estimated at once: their intermediate results stay in the processor's cache
DEAD = np.int32(-1)
_NUMBERS_BYTES = 8  # scale and offset, float32 each, behind the signs


def code_bits(dimensions: int) -> int:
    """How many signs a code has: a power of two, at least one a dimension."""
    return 1 << (max(MIN_BITS, dimensions) - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Question:
    """A vector prepared for comparison with codes.

    ``signs``: (words,); ``magnitudes``: (MAGNITUDE_BITS, words), lowest bit first; ``total``: sum of all
    magnitudes; both in units of ``step``.
    """

    signs: Words
    magnitudes: Words
    total: float
    step: float


@dataclass(frozen=True, slots=True)
class Space:
    """How vectors become codes. Codes of two spaces cannot be compared.

    ``flips``: (2, bits) int8, 1 or -1; ``centre``: (dimensions,) float32. The rotation is H D2 H D1,
    Hadamard transforms between random flips of sign: orthogonal, and close to a uniformly random one
    (Yu et al., "Orthogonal Random Features", 2016). All its directions are kept, though vectors whose
    length is no power of two get more bits than dimensions by that.
    """

    flips: NDArray[np.int8]
    centre: Floats

    @classmethod
    def random(cls, dimensions: int, seed: int) -> Space:
        """Flips from a seeded generator, centred on nothing yet.

        They must be kept with the codes: the generator may give others in another release of numpy.
        """
        flips = np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (2, code_bits(dimensions)))
        return cls(flips, np.zeros(dimensions, np.float32))

    @property
    def bits(self) -> int:
        return len(self.flips[0])

    @property
    def code_bytes(self) -> int:
        return self.bits // 8 + _NUMBERS_BYTES

    def centred(self, centre: Floats) -> Space:
        """The same directions around another centre."""
        return Space(self.flips, centre)

    def encode(self, vectors: Floats) -> Bytes:
        """Codes of ``vectors`` (n, dimensions): shape (n, code_bytes)."""
        residuals = vectors - self.centre
        turned = self._turned(residuals)
        sizes = np.einsum("ij,ij->i", residuals, residuals)
        scales = sizes / np.maximum(np.abs(turned).sum(axis=0), np.finfo(np.float32).tiny)
        offsets = np.einsum("ij,j->i", residuals, self.centre)
        numbers = np.stack((scales, offsets), axis=1).astype("<f4")
        return np.hstack((np.packbits(turned > 0, axis=0).T, numbers.view(np.uint8)))

    def question(self, vector: Floats) -> Question:
        """``vector`` (dimensions,), to be compared with codes of this space."""
        turned = self._turned((vector - self.centre)[None, :])[:, 0]
        most = 2**MAGNITUDE_BITS - 1
        step = max(float(np.abs(turned).max()) / most, float(np.finfo(np.float32).tiny))
        magnitudes = np.rint(np.abs(turned) / step).astype(np.uint8)
        planes = [np.packbits(magnitudes >> bit & 1) for bit in range(MAGNITUDE_BITS)]
        return Question(
            np.packbits(turned > 0).view(np.uint64),
            np.stack(planes).view(np.uint64),
            float(magnitudes.sum(dtype=np.int64)),
            step,
        )

    def _turned(self, vectors: Floats) -> Floats:
        """``vectors`` (n, dimensions) rotated: shape (bits, n)."""
        turned = np.zeros((self.bits, len(vectors)), np.float32)
        turned[: len(self.centre)] = vectors.T
        for flips in self.flips:
            turned *= (flips / np.sqrt(self.bits)).astype(np.float32)[:, None]
            _transform(turned)
        return turned


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

    ``signs``: (bits / 64, n) uint64; ``numbers``: (2, n) float32, scales and offsets; ``rows``: (n,)
    int64, ascending; ``sources``: (n,) int32, DEAD where the row is held no longer; ``dead``: how many
    of those there are.
    """

    signs: Words
    numbers: Floats
    rows: Rows
    sources: NDArray[np.int32]
    dead: int

    def nearest(self, question: Question, limit: int, allowed: frozenset[int] | None = None) -> Rows:
        """At most ``limit`` rows with the greatest estimated dot product, in no particular order.

        Only those of the ``allowed`` sources; None allows all. Among equals at the limit the oldest rows
        are taken, so that the same content gives the same answer.
        """
        estimates, rows = self.estimates(question), self.rows
        shown = self._shown(allowed)
        if shown is not None:
            estimates, rows = estimates[shown], rows[shown]
        if limit >= len(rows):
            return rows
        least = np.partition(estimates, len(rows) - limit)[len(rows) - limit]
        above = np.flatnonzero(estimates > least)
        equal = np.flatnonzero(estimates == least)[: limit - len(above)]
        return rows[np.concatenate((above, equal))]

    def estimates(self, question: Question) -> Floats:
        """Of the dot products with the question, up to a constant: shape (n,)."""
        scales, offsets = self.numbers
        against = np.empty(len(self.rows), np.float32)  # magnitudes of the components that point apart
        for start in range(0, len(against), BLOCK):
            block = slice(start, start + BLOCK)
            against[block] = _disagreement(self.signs[:, block], question)
        estimates: Floats = offsets + scales * ((question.total - 2 * against) * np.float32(question.step))
        return estimates

    def among(self, rows: Rows, allowed: frozenset[int]) -> NDArray[np.bool_]:
        """Which of ``rows``, held ones only, are of the ``allowed`` sources."""
        sources = self.sources[np.searchsorted(self.rows, rows)]
        return np.isin(sources, list(allowed))

    def _shown(self, allowed: frozenset[int] | None) -> NDArray[np.bool_] | None:
        if allowed is None:
            return self.sources != DEAD if self.dead else None
        shown = np.zeros(len(self.sources), np.bool_)
        for source in allowed:
            shown |= self.sources == source
        return shown


def _disagreement(signs: Words, question: Question) -> NDArray[np.uint16]:
    """The summed magnitudes of the components whose signs differ: shape (n,)."""
    shape = (MAGNITUDE_BITS, signs.shape[1])
    planes, differing = np.zeros(shape, np.uint16), np.empty(shape, np.uint64)
    counts = np.empty(shape, np.uint8)
    for word, own, masks in zip(signs, question.signs, question.magnitudes.T, strict=True):
        np.bitwise_and(word ^ own, masks[:, None], out=differing)
        planes += np.bitwise_count(differing, out=counts)
    values = np.array([[1 << bit] for bit in range(MAGNITUDE_BITS)], np.uint16)
    summed: NDArray[np.uint16] = (planes * values).sum(axis=0, dtype=np.uint16)
    return summed


class CodeTable:
    """The codes of one edition in memory, appended to and deleted from. Not safe for threads by itself.

    Snapshots stay as they are: appending writes only behind their end, and deleting copies the (small)
    array it writes to.
    """

    def __init__(self, bits: int) -> None:
        self._signs: Words = np.empty((bits // 64, 0), np.uint64)
        self._numbers: Floats = np.empty((2, 0), np.float32)
        self._rows: Rows = np.empty(0, np.int64)
        self._sources: NDArray[np.int32] = np.empty(0, np.int32)
        self._used = 0
        self._dead = 0

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for part in (self._signs, self._numbers, self._rows, self._sources))

    def append(self, rows: Rows, sources: NDArray[np.int32], codes: Bytes) -> None:
        """Add codes (n, code_bytes) under ``rows``, which ascend and are above all that are held."""
        end = self._used + len(rows)
        if end > len(self._rows):
            self._resize(end + max(256, end // 10))
        new = slice(self._used, end)
        self._signs[:, new] = np.ascontiguousarray(codes[:, :-_NUMBERS_BYTES]).view(np.uint64).T
        self._numbers[:, new] = np.ascontiguousarray(codes[:, -_NUMBERS_BYTES:]).view("<f4").T
        self._rows[new] = rows
        self._sources[new] = sources
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
        return Snapshot(
            self._signs[:, :used],
            self._numbers[:, :used],
            self._rows[:used],
            self._sources[:used],
            self._dead,
        )

    def _resize(self, capacity: int) -> None:
        more = capacity - len(self._rows)
        self._signs = np.pad(self._signs, ((0, 0), (0, more)))
        self._numbers = np.pad(self._numbers, ((0, 0), (0, more)))
        self._rows = np.pad(self._rows, (0, more))
        self._sources = np.pad(self._sources, (0, more))

    def _compact(self) -> None:
        alive = np.flatnonzero(self._sources[: self._used] != DEAD)
        self._signs = np.ascontiguousarray(self._signs[:, alive])
        self._numbers = np.ascontiguousarray(self._numbers[:, alive])
        self._rows = self._rows[alive]
        self._sources = self._sources[alive]
        self._used = len(alive)
        self._dead = 0
