"""Searches that wait: for stale hits, for a generation, and never beyond their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ingestion.errors import BadQuery
from ingestion.records import Lane
from retrieval.answers import SearchResponse
from retrieval.freshness import Freshness
from retrieval.search import MOST_WAITING, Searcher, SearchRequest
from tests.knowledge import Knowledge, eventually

LONG_S = 20.0  # a test that waits this long has failed


class Desk:
    """A knowledge base whose worker does, in another thread, what it is told when demand reaches it."""

    def __init__(self) -> None:
        self.knowledge = Knowledge()
        self.work: Callable[[int], None] = lambda _: None
        self.threads: list[threading.Thread] = []
        self.searcher = Searcher(
            self.knowledge.ledger,
            self.knowledge.index,
            self.knowledge.embed_query,
            self.knowledge.clock,
            on_demand=self.demanded,
        )

    def demanded(self, document_ids: list[int]) -> None:
        for document_id in document_ids:
            self.do(self.work, document_id)

    def do(self, work: Callable[[int], None], document_id: int) -> None:
        self.threads.append(threading.Thread(target=work, args=(document_id,)))
        self.threads[-1].start()

    def stale(self, uri: str = "leave.md") -> int:
        """A published document with a newer revision in the bulk lane."""
        self.knowledge.write(uri, ["annual leave is twenty days"])
        return self.knowledge.observe(uri, lane=Lane.BULK)

    def search(self, *, freshness: Freshness = Freshness.WAIT, timeout_s: float = LONG_S) -> SearchResponse:
        return self.searcher.search(SearchRequest("annual leave", freshness=freshness, timeout_s=timeout_s))


@pytest.fixture
def desk() -> Iterator[Desk]:
    one = Desk()
    yield one
    one.searcher.close()
    for thread in one.threads:
        thread.join()


def test_wait_has_the_document_published_and_answers_from_the_new_revision(desk: Desk) -> None:
    desk.stale()
    desk.work = lambda one: desk.knowledge.publish(desk.knowledge.claim(one), ["annual leave is thirty days"])
    response = desk.search()
    assert [(hit.text, hit.stale) for hit in response.hits] == [("annual leave is thirty days", False)]
    assert 0 < response.timings.wait_s < LONG_S / 2


def test_wait_ends_when_the_document_becomes_a_dead_letter(desk: Desk) -> None:
    desk.stale()
    desk.work = desk.knowledge.fail
    response = desk.search()
    assert [(hit.text, hit.stale) for hit in response.hits] == [("annual leave is twenty days", True)]
    assert response.timings.wait_s < LONG_S / 2


def test_wait_ends_when_the_document_is_deleted(desk: Desk) -> None:
    desk.stale()
    desk.work = desk.knowledge.retire
    assert desk.search().hits == ()


def test_wait_marks_what_is_still_stale_at_its_deadline(desk: Desk) -> None:
    desk.stale()
    started = time.monotonic()
    response = desk.search(timeout_s=0.1)
    assert [hit.stale for hit in response.hits] == [True]
    assert 0.1 <= time.monotonic() - started < 5


def test_wait_does_not_wait_for_dead_letters_held_documents_or_nothing(desk: Desk) -> None:
    desk.knowledge.fail(desk.stale("failed.md"))
    desk.knowledge.hold(desk.stale("held.md"))
    desk.knowledge.write("fresh.md", ["annual leave"])
    response = desk.search()
    assert len(response.hits) == 3
    assert response.timings.wait_s < LONG_S / 2


def test_wait_for_a_document_that_is_edited_all_the_time_ends(desk: Desk) -> None:
    """It waits for the revision that was wanted when the question came, and no longer."""

    def keep_editing(one: int) -> None:
        for _ in range(3):
            claim = desk.knowledge.claim(one)
            desk.knowledge.observe("leave.md")  # before this attempt is done: pending again at once
            desk.knowledge.publish(claim, [f"annual leave in generation {claim.wanted}"])

    wanted = desk.knowledge.ledger.fence.generation() + 2
    desk.stale()
    desk.work = keep_editing
    response = desk.search()
    assert response.timings.wait_s < LONG_S / 2
    (hit,) = response.hits
    assert hit.generation >= wanted
    assert hit.stale


def test_any_never_waits(desk: Desk) -> None:
    desk.stale()
    assert desk.search(freshness=Freshness.ANY).timings.wait_s == 0


def test_closing_ends_a_wait(desk: Desk) -> None:
    desk.stale()
    answers: list[SearchResponse] = []
    waiter = threading.Thread(target=lambda: answers.append(desk.search()))
    waiter.start()
    eventually(lambda: desk.searcher.waiting == 1)
    desk.searcher.close()
    waiter.join(5.0)
    assert [hit.stale for hit in answers[0].hits] == [True]


def test_searches_beyond_the_places_to_wait_in_are_answered_at_once(desk: Desk) -> None:
    desk.stale()
    waiters = [threading.Thread(target=desk.search) for _ in range(MOST_WAITING)]
    for waiter in waiters:
        waiter.start()
    eventually(lambda: desk.searcher.waiting == MOST_WAITING)
    response = desk.search()
    assert [hit.stale for hit in response.hits] == [True]
    assert response.timings.wait_s < LONG_S / 2
    desk.searcher.close()
    for waiter in waiters:
        waiter.join(5.0)


def _after(desk: Desk, generation: int, timeout_s: float = LONG_S) -> SearchResponse:
    return desk.searcher.search(SearchRequest("annual leave", min_generation=generation, timeout_s=timeout_s))


def test_min_generation_answers_once_everything_up_to_it_is_published(desk: Desk) -> None:
    document_id = desk.stale()
    generation = desk.knowledge.ledger.fence.generation()

    def publish(one: int) -> None:
        eventually(lambda: desk.searcher.waiting == 1)
        desk.knowledge.publish(desk.knowledge.claim(one), ["annual leave is thirty days"])

    desk.do(publish, document_id)
    response = _after(desk, generation)
    assert response.min_generation_met is True
    assert [hit.text for hit in response.hits] == ["annual leave is thirty days"]


def test_min_generation_that_is_met_does_not_wait(desk: Desk) -> None:
    desk.knowledge.write("leave.md", ["annual leave"])
    generation = desk.knowledge.ledger.fence.generation()
    desk.knowledge.observe("leave.md")  # later than what is asked for
    assert _after(desk, generation).min_generation_met is True
    assert _after(desk, 0).min_generation_met is True


def test_min_generation_that_is_not_met_in_time_is_said(desk: Desk) -> None:
    desk.stale()
    response = _after(desk, desk.knowledge.ledger.fence.generation(), timeout_s=0.05)
    assert response.min_generation_met is False
    assert [hit.stale for hit in response.hits] == [True]


def test_min_generation_names_what_it_does_not_await(desk: Desk) -> None:
    failed = desk.stale("failed.md")
    desk.knowledge.fail(failed)
    held = desk.stale("held.md")
    desk.knowledge.hold(held)
    before = desk.knowledge.ledger.fence.generation()
    desk.knowledge.fail(desk.knowledge.observe("later.md"))
    response = _after(desk, before)
    assert response.min_generation_met is True
    named = {(one.document_id, one.uri, one.state) for one in response.not_awaited}
    assert {(failed, "failed.md", "failed"), (held, "held.md", "held")} <= named


def test_min_generation_asks_only_the_sources_that_are_searched() -> None:
    knowledge = Knowledge(sources=("handbook", "wiki"))
    searcher = Searcher(
        knowledge.ledger, knowledge.index, knowledge.embed_query, knowledge.clock, on_demand=print
    )
    knowledge.observe("pending.md", source="wiki")
    request = SearchRequest(
        "leave", sources=("handbook",), min_generation=knowledge.ledger.fence.generation(), timeout_s=0.05
    )
    assert searcher.search(request).min_generation_met is True


def test_a_generation_never_issued_is_refused(desk: Desk) -> None:
    with pytest.raises(BadQuery, match="never issued"):
        _after(desk, desk.knowledge.ledger.fence.generation() + 1)
