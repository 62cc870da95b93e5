"""Which texts go to the embedder next: jobs wait in three lanes, and fill batches or calls.

Queries before fresh edits before bulk work, first come first served within each. It knows neither threads
nor models, and is not safe to call from several threads at once: the batcher holds its lock.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from ingestion.records import Lane
from retrieval.embedding.batches import length_sorted_batches
from retrieval.embedding.pace import Pace
from retrieval.embedding.places import Places
from retrieval.embedding.port import CallLimits, Vectors

_TEXTS_PER_PLAN = 32  # one slice: with two callers, one is embedded while the other does the rest


@dataclass(eq=False, slots=True)
class Job:
    """What one caller waits for. ``tokens`` are at least 1 and at most the embedder's limit."""

    lane: Lane | None  # None: a query
    texts: Sequence[str]
    tokens: Sequence[int]
    vectors: Vectors
    missing: int  # rows that are not embedded yet
    place: int = 0  # lower ones go first
    answer: Future[Vectors] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Piece:
    """One text of a job."""

    job: Job
    row: int


class WaitingTexts:
    """The jobs that were handed over and are not yet with the embedder."""

    def __init__(self, limits: CallLimits | None, pace: Pace) -> None:
        """``pace`` says how long a batch may be where the embedder has no ``limits``."""
        self._limits = limits
        self._pace = pace
        self._places = Places()
        self._queries: deque[Job] = deque()
        self._jobs: dict[Lane, deque[Job]] = {lane: deque() for lane in Lane}
        self._planned: dict[Lane, deque[list[Piece]]] = {lane: deque() for lane in Lane}

    def put(self, job: Job) -> None:
        if job.lane is None:
            self._queries.append(job)
            return
        if self._limits is not None:
            job.place = self._places.take(len(job.texts))
        bisect.insort(self._jobs[job.lane], job, key=lambda one: one.place)

    def has_any(self, lanes: Sequence[Lane]) -> bool:
        """Whether there is a query, or a text in one of these lanes."""
        return bool(self._queries or any(self._jobs[lane] or self._planned[lane] for lane in lanes))

    def texts(self) -> dict[Lane | None, int]:
        """How many, by lane; None: queries."""
        counts: dict[Lane | None, int] = {None: len(self._queries)}
        for lane in Lane:
            counts[lane] = sum(len(job.texts) for job in self._jobs[lane])
            counts[lane] += sum(len(batch) for batch in self._planned[lane])
        return counts

    def take(self, lanes: Sequence[Lane]) -> list[Piece]:
        """The most urgent batch; none when its callers have been answered meanwhile."""
        while self._queries:
            query = self._queries.popleft()
            if not query.answer.done():
                return [Piece(query, 0)]
        for lane in lanes:
            limits = self._limits
            batch = self._planned_batch(lane) if limits is None else self._filled(lane, limits.texts)
            if batch:
                return batch
        return []

    def drain(self) -> list[Job]:
        """Everyone who waits, planned or not, perhaps more than once; nothing waits any longer."""
        jobs = [piece.job for lane in Lane for batch in self._planned[lane] for piece in batch]
        jobs += self._queries
        jobs += (job for lane in Lane for job in self._jobs[lane])
        self._queries.clear()
        for lane in Lane:
            self._jobs[lane].clear()
            self._planned[lane].clear()
        return jobs

    def _planned_batch(self, lane: Lane) -> list[Piece]:
        if not self._planned[lane] and self._jobs[lane]:
            self._planned[lane].extend(self._plan(self._jobs[lane]))
        while self._planned[lane]:
            unanswered = _unanswered(self._planned[lane].popleft())
            if unanswered:
                return unanswered
        return []

    def _filled(self, lane: Lane, most_texts: int) -> list[Piece]:
        """Texts of as many callers as it takes to fill a call, in turn; what is over is the next one's."""
        jobs, planned = self._jobs[lane], self._planned[lane]
        pieces = _unanswered([piece for batch in planned for piece in batch])
        planned.clear()
        while jobs and len(pieces) < most_texts:
            pieces += _unanswered(_pieces(jobs.popleft()))
        if len(pieces) > most_texts:
            planned.append(pieces[most_texts:])
        return pieces[:most_texts]

    def _plan(self, jobs: deque[Job]) -> list[list[Piece]]:
        """Take jobs, oldest first, until there is enough to sort by length, and cut it into batches."""
        pieces: list[Piece] = []
        tokens: list[int] = []
        while jobs and (len(pieces) < _TEXTS_PER_PLAN or sum(tokens) < self._pace.batch_tokens):
            job = jobs.popleft()
            pieces += _pieces(job)
            tokens += job.tokens
        cut = length_sorted_batches(
            tokens, max_tokens=self._pace.batch_tokens, call_tokens=self._pace.call_tokens
        )
        return [[pieces[position] for position in batch] for batch in cut]


def _pieces(job: Job) -> list[Piece]:
    return [Piece(job, row) for row in range(len(job.texts))]


def _unanswered(pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if not piece.job.answer.done()]
