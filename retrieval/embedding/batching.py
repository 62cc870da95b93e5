"""The process's one way to its embedder: small batches, filled from many callers, urgent texts first.

Where the embedder computes here, one thread embeds: a call already uses every core, and the OpenMP threads
of a second caller would make those of both sleep at every barrier, which costs a fifth of the rate. Texts
wait in three lanes: queries before fresh edits before bulk work, first come first served within each. Bulk
work is cut into batches of about ``longest_batch_s``, so that is what a query or a fresh text waits for at
most.

An embedder on another machine is called from as many threads as it allows, with as many texts as it allows;
a few more have a call ready, or an answer to read, while those wait for theirs. One thread more takes no bulk
work and another only queries, so that a fresh text waits for no call of bulk work, and a query for none at
all. A fresh text that the endpoint would keep waiting is handed back.

It never decides what is embedded, keeps no vector, and tries nothing twice on its own, except that a
failed batch is embedded again caller by caller, so that the fault stays with the texts that have it.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from ingestion.clock import Clock, SystemClock
from ingestion.errors import EmbedderUnavailable, HeadwaterError
from ingestion.records import Lane
from ingestion.turns import Turns
from retrieval.embedding.loading import Loading
from retrieval.embedding.pace import Pace
from retrieval.embedding.port import Embedder, EmbedsFresh, Vectors
from retrieval.embedding.waiting import Job, Piece, WaitingTexts

log = logging.getLogger(__name__)

_CLOSE_S = 2.0
# Longer than a question may take at a provider; then it stands behind edits that do not get through either.
_LONGEST_REMOTE_QUERY_S = 10.0
_QUERIES: tuple[Lane, ...] = ()
_URGENT = (Lane.FRESH,)
_ALL = (Lane.FRESH, Lane.BULK)


class MicroBatcher:
    """Embeds for every thread of the process. Starts its threads, and loads the model, when first used.

    ``texts_embedded`` and ``tokens_embedded`` (by lane), ``queries_embedded`` and ``embedding_s`` only
    ever grow; they may be read from any thread. ``on_embedded`` is told of each batch of passages that
    went through the model: lane, texts, tokens, seconds. ``on_loaded`` is told, perhaps more than once,
    that the model is there now. What either raises is logged. ``turns`` is shared by those of several models
    that compute here: they take the cores batch by batch, in the order of asking.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        longest_batch_s: float = 0.08,
        clock: Clock | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.embedder = embedder
        self._turns = turns
        self.texts_embedded = dict.fromkeys(Lane, 0)
        self.tokens_embedded = dict.fromkeys(Lane, 0)
        self.queries_embedded = 0
        self.embedding_s = 0.0
        self.on_embedded: Callable[[Lane, int, int, float], None] | None = None
        self.on_loaded: Callable[[], None] | None = None
        self._clock = clock or SystemClock()
        self._pace = Pace(longest_batch_s)
        self._changed = threading.Condition()
        self._waiting = WaitingTexts(embedder.call_limits, self._pace)
        self._loading = Loading(embedder, self._clock)
        self._load_wanted = False
        self._under_way: dict[threading.Thread, list[Piece]] = {}
        self._threads: list[threading.Thread] = []
        self._counting = threading.Lock()
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a text would be embedded without waiting for the model."""
        return self.embedder.loaded and not self._closed

    @property
    def load_failure(self) -> HeadwaterError | None:
        """Why the model could not be loaded last time; None while nothing has failed."""
        return self._loading.failure

    def waiting(self) -> dict[Lane | None, int]:
        """Texts that were handed over and not yet to the embedder, by lane; None: queries."""
        with self._changed:
            return self._waiting.texts()

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
        return self._answered(Job(lane, texts, padded, vectors, missing=len(texts)))

    def embed_query(self, text: str) -> Vectors:
        """Vector of a question: shape (dimensions,). Blocks, and raises, as ``embed`` does."""
        vectors = np.empty((1, self.embedder.dimensions), dtype=np.float32)
        wait_s = None if self.embedder.call_limits is None else _LONGEST_REMOTE_QUERY_S
        vector: Vectors = self._answered(Job(None, [text], [1], vectors, missing=1), wait_s)[0]
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

    def _answered(self, job: Job, wait_s: float | None = None) -> Vectors:
        with self._changed:
            if self._closed:
                raise _closed()
            failure = self._loading.lasting_failure
            if failure:
                raise _copied(failure)
            self._waiting.put(job)
            self._wake()
        try:
            return job.answer.result(wait_s)
        except TimeoutError:
            self._fail([job], _too_late())
            return job.answer.result()  # the vector, where it came in this very moment

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
        if limits is None:
            return [_ALL]
        return [_QUERIES, _URGENT, *[_ALL] * (limits.at_once + limits.ahead)]

    def _run(self, lanes: tuple[Lane, ...]) -> None:
        try:
            while self._wait_for_work(lanes):
                batch = self._next_batch(lanes) if self._load() else []
                if batch:
                    with self._turn():
                        self._embed_batch(batch)
        finally:
            with self._changed:
                self._closed = True
                self._fail_everyone(_closed())

    def _turn(self) -> AbstractContextManager[None]:
        here = self.embedder.call_limits is None
        return self._turns.turn() if here and self._turns is not None else nullcontext()

    def _wait_for_work(self, lanes: tuple[Lane, ...]) -> bool:
        """False once closed."""
        with self._changed:
            self._under_way.pop(threading.current_thread(), None)
            while not self._closed and not self._has_work(lanes):
                self._changed.wait(self._loading.wait_s)
            self._load_wanted = False
            return not self._closed

    def _has_work(self, lanes: tuple[Lane, ...]) -> bool:
        return self._load_wanted or self._waiting.has_any(lanes) or self._loading.wait_s == 0

    def _load(self) -> bool:
        """Whether the model is there now. A failure is told to everyone who waits."""
        if self.embedder.loaded:
            return True
        failure = self._loading.load()
        if failure:
            with self._changed:
                self._fail_everyone(failure)
        elif self.on_loaded:
            _tell(self.on_loaded)
        return failure is None

    def _next_batch(self, lanes: tuple[Lane, ...]) -> list[Piece]:
        """The most urgent batch; none when its callers have been answered meanwhile."""
        with self._changed:
            batch = self._waiting.take(lanes)
            self._under_way[threading.current_thread()] = batch
            return batch

    def _embed_batch(self, batch: list[Piece]) -> None:
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

    def _embed_together(self, batch: list[Piece]) -> None:
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
        seconds = self._clock.monotonic() - started
        self._count(batch, seconds)
        with self._changed:
            for piece, vector in zip(batch, vectors, strict=True):
                piece.job.vectors[piece.row] = vector
                piece.job.missing -= 1
                if not piece.job.missing and not piece.job.answer.done():
                    piece.job.answer.set_result(piece.job.vectors)
        lane = batch[0].job.lane
        if lane is not None and self.on_embedded:
            _tell(self.on_embedded, lane, len(batch), _tokens(batch), seconds)

    def _count(self, batch: list[Piece], seconds: float) -> None:
        lane = batch[0].job.lane
        with self._counting:
            self.embedding_s += seconds
            if lane is None:
                self.queries_embedded += 1
                return
            self.texts_embedded[lane] += len(batch)
            self.tokens_embedded[lane] += _tokens(batch)
            if self.embedder.call_limits is None:
                longest = max(piece.job.tokens[piece.row] for piece in batch)
                self._pace.observe(longest * len(batch), seconds)

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        with self._changed:
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(_copied(error) if len(jobs) > 1 else error)

    def _fail_everyone(self, error: Exception) -> None:
        """Whoever waits, planned or not, gets the error. Called with the lock held."""
        jobs = [piece.job for batch in self._under_way.values() for piece in batch]
        self._fail(list(dict.fromkeys([*jobs, *self._waiting.drain()])), error)


def _tell(hears: Callable[..., None], *what: object) -> None:
    """Whoever listens has no say over the thread that embeds, nor over vectors that are there."""
    try:
        hears(*what)
    except Exception:
        log.exception("what hears of embedded texts failed")


def _tokens(batch: Sequence[Piece]) -> int:
    return sum(piece.job.tokens[piece.row] for piece in batch)


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
