"""The process's one way to its embedder: small batches, filled from many callers, urgent texts first.

Where the embedder computes here, one thread embeds: a call already uses every core, and the OpenMP threads
of a second caller would make those of both sleep at every barrier, which costs a fifth of the rate. Texts
wait in three lanes: queries before fresh edits before bulk work, first come first served within each. Bulk
work is cut into batches of about ``longest_batch_s``, so that is what a query or a fresh text waits for at
most.

An embedder on another machine is called from as many threads as it allows, with as many texts as it allows.
One thread more takes no bulk work and another only queries, so that a fresh text waits for no call of bulk
work, and a query for none at all. A fresh text that the endpoint would keep waiting is handed back.

It never decides what is embedded, keeps no vector, and tries nothing twice on its own, except that a
failed batch is embedded again caller by caller, so that the fault stays with the texts that have it.
"""

from __future__ import annotations

import bisect
import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from ingestion.clock import Clock, SystemClock
from ingestion.errors import EmbedderUnavailable, HeadwaterError, Transient
from ingestion.records import Lane
from retrieval.embedding.batches import length_sorted_batches
from retrieval.embedding.pace import Pace
from retrieval.embedding.places import Places
from retrieval.embedding.port import Embedder, EmbedsFresh, Vectors

log = logging.getLogger(__name__)

_TEXTS_PER_PLAN = 32  # one slice: with two callers, one is embedded while the other does the rest
_RETRY_LOAD_S = 10.0
_CLOSE_S = 2.0
# Longer than a question may take at a provider; then it stands behind edits that do not get through either.
_LONGEST_REMOTE_QUERY_S = 10.0
_QUERIES: tuple[Lane, ...] = ()
_URGENT = (Lane.FRESH,)
_ALL = (Lane.FRESH, Lane.BULK)


@dataclass(eq=False, slots=True)
class _Job:
    """What one caller waits for. ``tokens`` are at least 1 and at most the embedder's limit."""

    lane: Lane | None  # None: a query
    texts: Sequence[str]
    tokens: Sequence[int]
    vectors: Vectors
    missing: int  # rows that are not embedded yet
    place: int = 0  # lower ones go first
    answer: Future[Vectors] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Piece:
    """One text of a job."""

    job: _Job
    row: int


class MicroBatcher:
    """Embeds for every thread of the process. Starts its threads, and loads the model, when first used.

    ``texts_embedded`` and ``tokens_embedded`` (by lane), ``queries_embedded`` and ``embedding_s`` only
    ever grow; they may be read from any thread. ``on_embedded`` is told of each batch of passages that
    went through the model: lane, texts, tokens, seconds.
    """

    def __init__(
        self, embedder: Embedder, *, longest_batch_s: float = 0.08, clock: Clock | None = None
    ) -> None:
        self.embedder = embedder
        self.texts_embedded = dict.fromkeys(Lane, 0)
        self.tokens_embedded = dict.fromkeys(Lane, 0)
        self.queries_embedded = 0
        self.embedding_s = 0.0
        self.on_embedded: Callable[[Lane, int, int, float], None] | None = None
        self._clock = clock or SystemClock()
        self._pace = Pace(longest_batch_s)
        self._changed = threading.Condition()
        self._places = Places()
        self._queries: deque[_Job] = deque()
        self._waiting: dict[Lane, deque[_Job]] = {lane: deque() for lane in Lane}
        self._planned: dict[Lane, deque[list[_Piece]]] = {lane: deque() for lane in Lane}
        self._under_way: dict[threading.Thread, list[_Piece]] = {}
        self._threads: list[threading.Thread] = []
        self._counting = threading.Lock()
        self._loading = threading.Lock()
        self._load_wanted = False
        self._load_failure: HeadwaterError | None = None
        self._load_again_at = 0.0
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a text would be embedded without waiting for the model."""
        return self.embedder.loaded and not self._closed

    @property
    def load_failure(self) -> HeadwaterError | None:
        """Why the model could not be loaded last time; None while nothing has failed."""
        return self._load_failure

    def waiting(self) -> dict[Lane | None, int]:
        """Texts that were handed over and not yet to the embedder, by lane; None: queries."""
        with self._changed:
            texts: dict[Lane | None, int] = {None: len(self._queries)}
            for lane in Lane:
                texts[lane] = sum(len(job.texts) for job in self._waiting[lane])
                texts[lane] += sum(len(batch) for batch in self._planned[lane])
            return texts

    def start_loading(self) -> None:
        """Load the model in the background. Idempotent; raises nothing: see ``load_failure``."""
        with self._changed:
            if not self._closed:
                self._load_wanted = True
                self._wake()

    def embed(self, texts: Sequence[str], lane: Lane, tokens: Sequence[int] | None = None) -> Vectors:
        """Vectors of passages, as ``Embedder.embed_documents``; blocks until all are there.

        ``tokens`` are the embedder's own counts, where the caller has them. Raises what the embedder
        raises for these texts, ModelMissing or EmbedderUnavailable when there is no model, and
        EmbedderUnavailable when the batcher is closed.
        """
        counts = self.embedder.count_tokens(texts) if tokens is None else tokens
        limit = self.embedder.max_tokens
        vectors = np.empty((len(texts), self.embedder.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        padded = [min(max(count, 1), limit) for count in counts]
        return self._answered(_Job(lane, texts, padded, vectors, missing=len(texts)))

    def embed_query(self, text: str) -> Vectors:
        """Vector of a question: shape (dimensions,). Blocks, and raises, as ``embed`` does."""
        vectors = np.empty((1, self.embedder.dimensions), dtype=np.float32)
        wait_s = None if self.embedder.call_limits is None else _LONGEST_REMOTE_QUERY_S
        vector: Vectors = self._answered(_Job(None, [text], [1], vectors, missing=1), wait_s)[0]
        return vector

    def close(self) -> None:
        """Refuse new texts and let go of the callers that wait. Idempotent.

        Waits up to 2 s for the batches under way; a model that is still being loaded is not waited for.
        """
        with self._changed:
            self._closed = True
            self._fail_everyone(_closed())
            self._changed.notify_all()
        ends = time.monotonic() + _CLOSE_S
        for thread in self._threads:
            if thread is not threading.current_thread() and self.embedder.loaded:
                thread.join(max(0.0, ends - time.monotonic()))

    def _answered(self, job: _Job, wait_s: float | None = None) -> Vectors:
        with self._changed:
            if self._closed:
                raise _closed()
            if self._load_failure and self._clock.monotonic() < self._load_again_at:
                raise _copied(self._load_failure)
            self._put(job)
            self._wake()
        try:
            return job.answer.result(wait_s)
        except TimeoutError:
            self._fail([job], _too_late())
            return job.answer.result()  # the vector, where it came in this very moment

    def _put(self, job: _Job) -> None:
        if job.lane is None:
            self._queries.append(job)
            return
        if self.embedder.call_limits is not None:
            job.place = self._places.take(len(job.texts))
        bisect.insort(self._waiting[job.lane], job, key=lambda one: one.place)

    def _wake(self) -> None:
        if not self._threads:
            for lanes in self._lanes_of_threads():
                # A daemon: nothing may wait at exit for a model that takes many seconds to import.
                thread = threading.Thread(target=self._run, args=(lanes,), name="embedding", daemon=True)
                self._threads.append(thread)
            for thread in self._threads:
                thread.start()
        self._changed.notify_all()

    def _lanes_of_threads(self) -> list[tuple[Lane, ...]]:
        limits = self.embedder.call_limits
        return [_ALL] if limits is None else [_QUERIES, _URGENT, *[_ALL] * limits.at_once]

    def _run(self, lanes: tuple[Lane, ...]) -> None:
        try:
            while self._wait_for_work(lanes):
                if not self.embedder.loaded and not self._load():
                    continue
                batch = self._next_batch(lanes)
                if batch:
                    self._embed_batch(batch)
        finally:
            with self._changed:
                self._closed = True
                self._fail_everyone(_closed())

    def _wait_for_work(self, lanes: tuple[Lane, ...]) -> bool:
        """False once closed."""
        with self._changed:
            self._under_way.pop(threading.current_thread(), None)
            while not self._closed and not self._has_work(lanes):
                self._changed.wait(self._until_load_s())
            self._load_wanted = False
            return not self._closed

    def _has_work(self, lanes: tuple[Lane, ...]) -> bool:
        return self._load_wanted or self._has_texts(lanes) or self._until_load_s() == 0

    def _until_load_s(self) -> float | None:
        """Seconds until a model that may only have been away is tried again; None if that is not needed."""
        if self.embedder.loaded or not isinstance(self._load_failure, Transient):
            return None
        return max(0.0, self._load_again_at - self._clock.monotonic())

    def _has_texts(self, lanes: tuple[Lane, ...]) -> bool:
        return bool(self._queries or any(self._waiting[lane] or self._planned[lane] for lane in lanes))

    def _load(self) -> bool:
        with self._loading:
            if self.embedder.loaded:
                return True
            if self._load_failure and self._clock.monotonic() < self._load_again_at:
                with self._changed:  # another thread has just tried
                    self._fail_everyone(self._load_failure)
                return False
            return self._try_to_load()

    def _try_to_load(self) -> bool:
        """A failure is told to everyone who waits, and lasts for a while, as loading may take long."""
        failure: HeadwaterError | None = None
        try:
            self.embedder.load()
        except HeadwaterError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, callers must not wait for ever
            failure = EmbedderUnavailable(
                f"The embedding model could not be loaded ({type(error).__name__}: {error}).",
                hint="It is tried again.",
            )
        known = failure is not None and str(failure) == str(self._load_failure)
        with self._changed:
            self._load_failure = failure
            self._load_again_at = self._clock.monotonic() + _RETRY_LOAD_S
            if failure:
                self._fail_everyone(failure)
        if failure and not known:
            log.warning("the embedding model was not loaded: %s", failure)
        if not failure:
            log.info("embedding with %s", self.embedder.description)
        return failure is None

    def _next_batch(self, lanes: tuple[Lane, ...]) -> list[_Piece]:
        """The most urgent batch; none when its callers have been answered meanwhile."""
        with self._changed:
            batch = self._take(lanes)
            self._under_way[threading.current_thread()] = batch
            return batch

    def _take(self, lanes: tuple[Lane, ...]) -> list[_Piece]:
        while self._queries:
            query = self._queries.popleft()
            if not query.answer.done():
                return [_Piece(query, 0)]
        limits = self.embedder.call_limits
        for lane in lanes:
            batch = self._planned_batch(lane) if limits is None else self._filled(lane, limits.texts)
            if batch:
                return batch
        return []

    def _planned_batch(self, lane: Lane) -> list[_Piece]:
        if not self._planned[lane] and self._waiting[lane]:
            self._planned[lane].extend(self._plan(self._waiting[lane]))
        while self._planned[lane]:
            unanswered = _unanswered(self._planned[lane].popleft())
            if unanswered:
                return unanswered
        return []

    def _filled(self, lane: Lane, most_texts: int) -> list[_Piece]:
        """Texts of as many callers as it takes to fill a call, in turn; what is over is the next one's."""
        waiting, planned = self._waiting[lane], self._planned[lane]
        pieces = _unanswered([piece for batch in planned for piece in batch])
        planned.clear()
        while waiting and len(pieces) < most_texts:
            job = waiting.popleft()
            pieces += _unanswered([_Piece(job, row) for row in range(len(job.texts))])
        if len(pieces) > most_texts:
            planned.append(pieces[most_texts:])
        return pieces[:most_texts]

    def _plan(self, waiting: deque[_Job]) -> list[list[_Piece]]:
        """Take jobs, oldest first, until there is enough to sort by length, and cut it into batches."""
        pieces: list[_Piece] = []
        tokens: list[int] = []
        while waiting and (len(pieces) < _TEXTS_PER_PLAN or sum(tokens) < self._pace.batch_tokens):
            job = waiting.popleft()
            pieces += (_Piece(job, row) for row in range(len(job.texts)))
            tokens += job.tokens
        cut = length_sorted_batches(
            tokens, max_tokens=self._pace.batch_tokens, call_tokens=self._pace.call_tokens
        )
        return [[pieces[position] for position in batch] for batch in cut]

    def _embed_batch(self, batch: list[_Piece]) -> None:
        jobs = list(dict.fromkeys(piece.job for piece in batch))
        try:
            self._embed_together(batch)
        except EmbedderUnavailable as error:
            self._fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - the thread outlives any text; the caller gets it
            if len(jobs) == 1:
                self._fail(jobs, error)
                return
            for job in jobs:
                self._embed_batch([piece for piece in batch if piece.job is job])

    def _embed_together(self, batch: list[_Piece]) -> None:
        started = self._clock.monotonic()
        texts = [piece.job.texts[piece.row] for piece in batch]
        if batch[0].job.lane is None:
            vectors = self.embedder.embed_query(texts[0]).reshape(1, -1)
        elif batch[0].job.lane is Lane.FRESH and isinstance(self.embedder, EmbedsFresh):
            vectors = self.embedder.embed_fresh(texts)
        else:
            vectors = self.embedder.embed_documents(texts)
        if vectors.shape != (len(batch), self.embedder.dimensions):
            raise ValueError(f"the embedder answered {len(batch)} texts with shape {vectors.shape}")
        self._count(batch, self._clock.monotonic() - started)
        with self._changed:
            for piece, vector in zip(batch, vectors, strict=True):
                piece.job.vectors[piece.row] = vector
                piece.job.missing -= 1
                if not piece.job.missing and not piece.job.answer.done():
                    piece.job.answer.set_result(piece.job.vectors)

    def _count(self, batch: list[_Piece], seconds: float) -> None:
        lane = batch[0].job.lane
        tokens = [piece.job.tokens[piece.row] for piece in batch]
        with self._counting:
            self.embedding_s += seconds
            if lane is None:
                self.queries_embedded += 1
                return
            self.texts_embedded[lane] += len(batch)
            self.tokens_embedded[lane] += sum(tokens)
            if self.embedder.call_limits is None:
                self._pace.observe(max(tokens) * len(batch), seconds)
        if self.on_embedded:
            self.on_embedded(lane, len(batch), sum(tokens), seconds)

    def _fail(self, jobs: Sequence[_Job], error: Exception) -> None:
        with self._changed:
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(_copied(error) if len(jobs) > 1 else error)

    def _fail_everyone(self, error: Exception) -> None:
        """Whoever waits, planned or not, gets the error. Called with the lock held."""
        pieces = [piece for lane in Lane for batch in self._planned[lane] for piece in batch]
        jobs = [piece.job for batch in [*self._under_way.values(), pieces] for piece in batch]
        jobs += self._queries
        jobs += (job for lane in Lane for job in self._waiting[lane])
        self._queries.clear()
        for lane in Lane:
            self._waiting[lane].clear()
            self._planned[lane].clear()
        self._fail(list(dict.fromkeys(jobs)), error)


def _unanswered(pieces: Sequence[_Piece]) -> list[_Piece]:
    return [piece for piece in pieces if not piece.job.answer.done()]


def _copied(error: Exception) -> Exception:
    """One for each thread that raises it; the error itself where its class allows no copy."""
    try:
        found = copy.copy(error)
    except Exception:  # noqa: BLE001 - a class of somebody else's; the callers get their answer
        return error
    return found if type(found) is type(error) else error


def _too_late() -> EmbedderUnavailable:
    return EmbedderUnavailable(f"The question was not embedded within {_LONGEST_REMOTE_QUERY_S:.0f} s.")


def _closed() -> EmbedderUnavailable:
    return EmbedderUnavailable(
        "The embedder is shut down.", hint="The document is tried again at the next start."
    )
