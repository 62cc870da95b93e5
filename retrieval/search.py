"""Answers questions: embed, search behind the fence, judge freshness, wait where that was asked for.

The central flow is ``Searcher.search``. What may be served is decided in ``retrieval.fenced``, what is
stale in ``retrieval.freshness``; what changes a lane, in ``retrieval.demand``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from ingestion.clock import Clock
from ingestion.errors import BadQuery
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Admitted, Edition
from retrieval.answers import (
    Hit,
    NotAwaited,
    SearchObserver,
    SearchRequest,
    SearchResponse,
    check,
    cleaned,
)
from retrieval.demand import Demand
from retrieval.embedding.port import Vectors
from retrieval.fenced import Asked, Found, Passage, find
from retrieval.freshness import Freshness, age, fresh_as_of, is_awaited, is_stale
from retrieval.index.port import Index
from retrieval.question import EmbedQuestion, Question
from retrieval.stopwatch import Stopwatch

__all__ = ["Hit", "SearchObserver", "SearchRequest", "SearchResponse", "Searcher"]

POLL_S = 0.015  # a look costs the ledger 0.3 ms
# Each waiting search holds a thread of the server; those beyond are answered at once, marked as they are.
MOST_WAITING = 16
MOST_NAMED = 100  # documents not awaited that an answer names


class Searcher:
    """Searches what one ledger calls live in one index. Safe to call from several threads.

    ``embed_query`` embeds with the model of an edition, and gives None while that is still being loaded;
    the answer then comes from words alone, as it does when it raises: in the first seconds an answer by
    words is worth more than an error.
    ``on_demand`` sends documents that a search wants now to the workers.
    """

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        embed_query: EmbedQuestion,
        clock: Clock,
        *,
        on_demand: Callable[[list[int]], None],
        observe: SearchObserver | None = None,
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._embed_query = embed_query
        self._clock = clock
        self._demand = Demand(ledger, clock, on_demand)
        self._observe = observe
        self._places = threading.Lock()
        self.waiting = 0  # searches that wait now
        self._closing = threading.Event()
        self._asked_last: Edition | None = None

    def search(self, request: SearchRequest) -> SearchResponse:
        """The best passages that are live as of now, with their ages.

        Raises BadQuery, IndexUnavailable, LedgerUnavailable; an embedder that fails raises nothing.
        """
        try:
            return self._search(request)
        except BadQuery:
            raise
        except Exception:
            if self._observe is not None:
                self._observe.search_failed()
            raise

    def _search(self, request: SearchRequest) -> SearchResponse:
        watch = Stopwatch(self._clock)
        check(request)
        self._check_sources(request)
        self._check_generation(request)
        deadline = self._clock.monotonic() + request.timeout_s
        met = self._wait_for_generation(request, deadline, watch)
        question = Question(cleaned(request.query), self._embed_query, watch)
        # Before any horizon is taken, so that it is young when the index is asked.
        question.vector(self._asked_last or self._ledger.fence.horizon().edition)
        found, as_of = self._find(request, question, watch)
        if request.freshness is Freshness.WAIT:
            found, as_of = self._find_awaited(request, question, (found, as_of), deadline, watch)
        response = SearchResponse(
            hits=tuple(_hit(passage, self._clock.now()) for passage in found.passages),
            fresh_as_of=as_of,
            mode="text" if found.by_words else "hybrid",
            min_generation_met=met,
            not_awaited=self._not_awaited(request),
            timings=watch.timings(),
        )
        self._count(response, found)
        return response

    def close(self) -> None:
        """End every wait now; those searches are answered as things stand. Idempotent."""
        self._closing.set()
        self._demand.close()

    def _check_generation(self, request: SearchRequest) -> None:
        if request.min_generation is None:
            return
        issued = self._ledger.fence.generation()
        if request.min_generation > issued:
            raise BadQuery(
                "min_generation",
                f"Generation {request.min_generation} was never issued; the last one is {issued}.",
            )

    def _check_sources(self, request: SearchRequest) -> None:
        if request.sources is None:
            return
        unknown = sorted(set(request.sources).difference(self._ledger.fence.in_service()))
        if unknown:
            active = self._ledger.fence.active_sources()
            raise BadQuery(
                "sources",
                f"There is no source named {cleaned(', '.join(unknown))}. "
                f"There are: {', '.join(active) or 'none'}.",
            )

    def _find(
        self, request: SearchRequest, question: Question, watch: Stopwatch
    ) -> tuple[Found, float | None]:
        """One search, and the watermark of what it searched."""
        with watch.during("fence"):
            outset = self._ledger.fence.outset()
        searched = [
            state
            for state in outset.states
            if state.active
            and (not state.is_own if request.sources is None else state.name in request.sources)
        ]
        names = {state.name for state in searched}
        # The few passages of Headwater's own sources cost less than a condition that leaves them out.
        everywhere = names == {state.name for state in outset.states if not state.is_own}
        asked = Asked(
            question.text,
            partial(self._vector, question),
            request.top_k,
            None if everywhere else tuple(state.name for state in searched),
        )
        awaited: set[int] = set()

        def keep(admitted: Admitted) -> bool:
            if admitted.source not in names:
                return False
            if is_awaited(admitted):
                awaited.add(admitted.document_id)
            return request.freshness is not Freshness.FRESH or not is_stale(admitted)

        found = find(self._ledger, self._index, asked, keep, watch, horizon=outset.horizon)
        self._demand.want(awaited)
        as_of = fresh_as_of(searched, outset.oldest_pending)
        # A clock that was set back leaves proofs of sight from the future.
        return found, None if as_of is None else min(as_of, self._clock.now())

    def _find_awaited(
        self,
        request: SearchRequest,
        question: Question,
        first: tuple[Found, float | None],
        deadline: float,
        watch: Stopwatch,
    ) -> tuple[Found, float | None]:
        """Search again each time that what the hits lacked has been published.

        A document is waited for once: one that is edited all the time is served, marked, as it was when
        the question came or later.
        """
        found, as_of = first
        waited_for: set[int] = set()
        while goals := {
            one.admitted.document_id: one.admitted.wanted
            for one in found.passages
            if is_awaited(one.admitted) and one.admitted.document_id not in waited_for
        }:
            if not self._wait(partial(self._are_published, goals), deadline, watch):
                break
            waited_for |= goals.keys()
            found, as_of = self._find(request, question, watch)
        return found, as_of

    def _vector(self, question: Question, edition: Edition) -> Vectors | None:
        self._asked_last = edition
        return question.vector(edition)

    def _are_published(self, goals: dict[int, int]) -> bool:
        """Whether each document's revision of that generation is live, or never will be by itself."""
        for document_id in self._ledger.fence.pending(tuple(goals)):
            view = self._ledger.views.document(document_id)
            if view and view.state == "pending" and (view.generation or 0) < goals[document_id]:
                return False
        return True

    def _wait_for_generation(self, request: SearchRequest, deadline: float, watch: Stopwatch) -> bool | None:
        generation = request.min_generation
        if generation is None:
            return None
        names = request.sources or self._ledger.fence.active_sources()
        return self._wait(lambda: self._ledger.fence.behind(generation, names) == 0, deadline, watch)

    def _wait(self, is_done: Callable[[], bool], deadline: float, watch: Stopwatch) -> bool:
        """False when the time ran out, or too many wait already."""
        with watch.during("wait"):
            if is_done():
                return True
            with self._places:
                if self.waiting >= MOST_WAITING:
                    return False
                self.waiting += 1
            try:
                while self._clock.monotonic() < deadline and not self._closing.wait(POLL_S):
                    if is_done():
                        return True
                return False
            finally:
                with self._places:
                    self.waiting -= 1

    def _not_awaited(self, request: SearchRequest) -> tuple[NotAwaited, ...]:
        """Dead letters and held documents with something older than ``min_generation`` unpublished."""
        generation = request.min_generation
        if generation is None:
            return ()
        names = request.sources or self._ledger.fence.active_sources()
        views = self._ledger.views
        stuck = [view for state in ("failed", "held") for view in views.documents(state=state, limit=1000)]
        return tuple(
            NotAwaited(view.document_id, view.source, view.uri, view.state)
            for view in stuck
            if view.source in names and (view.generation or 0) < min(generation, view.wanted)
        )[:MOST_NAMED]

    def _count(self, response: SearchResponse, found: Found) -> None:
        if self._observe is not None:
            self._observe.searched(
                response.mode,
                response.timings.total_s - response.timings.wait_s,
                len(response.hits),
                found.candidates,
                found.fenced_out,
                sum(hit.stale for hit in response.hits),
            )


def _hit(passage: Passage, now: float) -> Hit:
    admitted = passage.admitted
    passage_age = age(admitted, now)
    return Hit(
        text=passage.text,
        source=admitted.source,
        uri=admitted.uri,
        document_id=admitted.document_id,
        chunk_id=admitted.chunk_id,
        heading_path=admitted.heading_path,
        start=admitted.start,
        end=admitted.end,
        score=passage.score,
        changed_at=admitted.changed_at,
        published_at=admitted.published_at,
        age_s=passage_age.age_s,
        stale=passage_age.stale,
        stale_for_s=passage_age.stale_for_s,
        generation=admitted.generation,
        place=admitted.place,
    )
