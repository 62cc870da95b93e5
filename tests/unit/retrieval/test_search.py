"""What a search answers: hits, ages, sources, filling up, words alone, counting, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from ingestion.clock import SystemClock
from ingestion.errors import BadQuery, EmbedderUnavailable, IndexUnavailable
from ingestion.own import canary_of
from ingestion.records import Lane
from retrieval.answers import Mode
from retrieval.embedding.port import Vectors
from retrieval.freshness import Freshness
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import IndexHit, IndexQuery
from retrieval.search import Searcher, SearchRequest
from tests.knowledge import Knowledge, SetClock, eventually


class Counted:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.searches: list[tuple[int, int, int, int]] = []
        self.modes: list[str] = []
        self.failed = 0

    def searched(
        self, mode: Mode, seconds: float, hits: int, candidates: int, fenced_out: int, stale: int
    ) -> None:
        assert seconds >= 0
        self.modes.append(mode)
        self.searches.append((hits, candidates, fenced_out, stale))

    def search_failed(self) -> None:
        self.failed += 1


class Forgetful(MemoryIndex):
    """An index that lost the texts of some chunks, and notes how many hits it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()
        self.limits: list[int] = []

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        self.limits.append(query.limit)
        return super().search(edition, query)

    def texts(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        return super().texts(edition, [one for one in chunk_ids if one not in self.lost])


class Bench:
    """A knowledge base with a searcher on it."""

    def __init__(self, **options: Any) -> None:
        self.index = Forgetful()
        self.knowledge = Knowledge(index=self.index, **options)
        self.counted = Counted()
        self.demanded: list[int] = []
        self.embed: Any = self.knowledge.embedder.embed_query
        self.searcher = Searcher(
            self.knowledge.ledger,
            self.index,
            lambda text, _: self.embed(text),
            self.knowledge.clock,
            on_demand=self.demanded.extend,
            observe=self.counted,
        )

    def uris(self, query: str, **fields: Any) -> list[str]:
        return [hit.uri for hit in self.searcher.search(SearchRequest(query, **fields)).hits]


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.searcher.close()


def test_a_hit_says_where_it_is_from_and_how_old_it_is() -> None:
    clock = SetClock()
    bench = Bench(clock=clock)
    document_id = bench.knowledge.observe("leave.md", changed_at=clock.time - 5.0)
    claim = bench.knowledge.claim(document_id)
    clock.time += 1.0
    bench.knowledge.publish(claim, ["ask early", "annual leave is thirty days"])
    published_at = clock.time
    clock.time += 60.0
    bench.knowledge.listing()
    response = bench.searcher.search(SearchRequest("annual leave", top_k=1))
    (hit,) = response.hits
    assert (hit.text, hit.source, hit.uri) == ("annual leave is thirty days", "handbook", "leave.md")
    assert (hit.start, hit.end, hit.heading_path) == (10, 37, ("leave.md",))
    assert (hit.document_id, hit.generation) == (document_id, claim.wanted)
    assert hit.chunk_id == bench.knowledge.chunk_ids(document_id)[1]
    assert hit.published_at == published_at
    assert hit.age_s == pytest.approx(66.0)
    assert (hit.stale, hit.stale_for_s) == (False, None)
    assert (response.mode, response.fresh_as_of) == ("hybrid", clock.time)
    assert (response.min_generation_met, response.not_awaited) == (None, ())
    bench.searcher.close()


def test_a_pending_revision_marks_the_hit_and_holds_the_watermark_back() -> None:
    clock = SetClock()
    bench = Bench(clock=clock)
    bench.knowledge.write("leave.md", ["annual leave is thirty days"])
    bench.knowledge.observe("leave.md", changed_at=clock.time + 2.0)
    clock.time += 10.0
    bench.knowledge.listing()
    response = bench.searcher.search(SearchRequest("annual leave"))
    (hit,) = response.hits
    assert (hit.stale, hit.stale_for_s, hit.age_s) == (True, 8.0, 10.0)
    assert response.fresh_as_of == clock.time - 8.0
    bench.searcher.close()


def test_no_answer_is_from_the_future_when_the_clock_is_set_back() -> None:
    clock = SetClock()
    bench = Bench(clock=clock)
    bench.knowledge.write("leave.md", ["annual leave is thirty days"])
    bench.knowledge.listing()
    clock.time -= 3600.0
    response = bench.searcher.search(SearchRequest("annual leave"))
    (hit,) = response.hits
    assert (response.fresh_as_of, hit.age_s) == (clock.time, 0.0)
    bench.searcher.close()


def test_a_dead_letter_marks_the_hit_and_does_not_pin_the_watermark(bench: Bench) -> None:
    bench.knowledge.write("leave.md", ["annual leave is thirty days"])
    bench.knowledge.fail(bench.knowledge.observe("leave.md"))
    before = bench.knowledge.clock.now()
    bench.knowledge.listing()
    response = bench.searcher.search(SearchRequest("annual leave"))
    assert [hit.stale for hit in response.hits] == [True]
    assert response.fresh_as_of is not None
    assert response.fresh_as_of >= before


def test_held_documents_are_served_and_retired_ones_are_not(bench: Bench) -> None:
    held = bench.knowledge.write("held.md", ["leave one"])
    retired = bench.knowledge.write("retired.md", ["leave two"])
    bench.knowledge.hold(held)
    bench.knowledge.retire(retired)
    (hit,) = bench.searcher.search(SearchRequest("leave", freshness=Freshness.FRESH)).hits
    assert (hit.uri, hit.stale) == ("held.md", False)


def test_only_what_is_staged_and_published_is_found(bench: Bench) -> None:
    bench.knowledge.write("live.md", ["leave"])
    bench.knowledge.observe("pending.md")
    assert bench.uris("leave") == ["live.md"]


def test_sources_are_filtered_and_those_not_in_the_settings_are_never_served() -> None:
    bench = Bench(sources=("handbook", "wiki", "old"))
    for source in ("handbook", "wiki", "old"):
        bench.knowledge.write(f"{source}.md", ["annual leave"], source=source)
    assert bench.uris("leave", sources=("wiki",)) == ["wiki.md"]
    assert sorted(bench.uris("leave", sources=("wiki", "handbook", "wiki"))) == ["handbook.md", "wiki.md"]
    assert sorted(bench.uris("leave")) == ["handbook.md", "old.md", "wiki.md"]
    rows = [row for row in bench.knowledge.ledger.sources.all() if row.name != "old"]
    bench.knowledge.configure([row.name for row in rows])
    assert sorted(bench.uris("leave")) == ["handbook.md", "wiki.md"]
    with pytest.raises(BadQuery, match=r"no source named old.*There are: handbook, wiki") as refused:
        bench.uris("leave", sources=("old",))
    assert refused.value.field == "sources"
    bench.searcher.close()


def test_a_source_of_headwaters_own_is_found_by_its_name_alone() -> None:
    own = canary_of("files")
    bench = Bench(sources=("handbook", own))
    for source in ("handbook", own):
        bench.knowledge.write(f"{source}.md", ["annual leave"], source=source)
    bench.knowledge.observe(f"{own}.md", source=own, changed_at=1.0)
    assert bench.uris("leave") == bench.uris("leave", sources=("handbook",)) == ["handbook.md"]
    assert bench.uris("leave", sources=(own,)) == [f"{own}.md"]
    usual = bench.searcher.search(SearchRequest("leave", top_k=1))
    assert usual.fresh_as_of is not None and usual.fresh_as_of > 1.0
    with pytest.raises(BadQuery, match=r"There are: handbook\."):
        bench.uris("leave", sources=("nowhere",))


def test_a_source_never_listed_leaves_the_answer_without_a_watermark() -> None:
    bench = Bench(sources=("handbook",))
    bench.knowledge.configure(["handbook", "wiki"])
    assert bench.searcher.search(SearchRequest("leave")).fresh_as_of is None
    assert bench.searcher.search(SearchRequest("leave", sources=("handbook",))).fresh_as_of is not None
    bench.searcher.close()


def test_hits_are_found_behind_hundreds_of_dead_ones(bench: Bench) -> None:
    """A whole folder of better passages was deleted and is not swept yet."""
    for number in range(5):
        bench.knowledge.write(f"kept{number}.md", [f"leave and other matters number {number}"])
    for number in range(20):
        passages = [f"leave {number} {again}" for again in range(20)]
        bench.knowledge.retire(bench.knowledge.write(f"gone{number}.md", passages))
    found = bench.uris("leave", top_k=5)
    assert sorted(found) == [f"kept{number}.md" for number in range(5)]
    assert bench.index.limits == [30, 120, 480]
    assert bench.counted.searches == [(5, 405, 400, 0)]


def test_one_round_is_enough_where_nothing_is_dead(bench: Bench) -> None:
    for number in range(50):
        bench.knowledge.write(f"{number}.md", [f"leave number {number}"])
    assert len(bench.uris("leave", top_k=15)) == 15
    assert bench.index.limits == [45]


def test_a_chunk_whose_text_the_index_lost_gives_its_place_to_the_next(bench: Bench) -> None:
    bench.knowledge.write("a.md", ["annual leave"])
    bench.knowledge.write("b.md", ["annual leave and more"])
    first = bench.searcher.search(SearchRequest("annual leave", top_k=1)).hits[0]
    bench.index.lost = {first.chunk_id}
    (hit,) = bench.searcher.search(SearchRequest("annual leave", top_k=1)).hits
    assert hit.text
    assert hit.chunk_id != first.chunk_id


def test_fresh_leaves_stale_passages_out_and_fills_up(bench: Bench) -> None:
    for number in range(40):
        bench.knowledge.write(f"stale{number}.md", ["annual leave"])
        bench.knowledge.observe(f"stale{number}.md")
    for number in range(3):
        bench.knowledge.write(f"fresh{number}.md", [f"annual leave and other things {number}"])
    hits = bench.searcher.search(SearchRequest("annual leave", top_k=3, freshness=Freshness.FRESH)).hits
    assert sorted(hit.uri for hit in hits) == ["fresh0.md", "fresh1.md", "fresh2.md"]
    marked = bench.searcher.search(SearchRequest("annual leave", top_k=3)).hits
    assert [hit.stale for hit in marked] == [True, True, True]


def test_a_stale_hit_moves_its_document_to_the_fresh_lane_and_sends_it(bench: Bench) -> None:
    hit = bench.knowledge.write("leave.md", ["annual leave"])
    other = bench.knowledge.write("food.md", ["lunch"])
    bench.knowledge.observe("leave.md", lane=Lane.BULK)
    bench.knowledge.observe("food.md", lane=Lane.BULK)
    bench.searcher.search(SearchRequest("annual leave", top_k=1))
    eventually(lambda: bench.demanded == [hit])
    views = bench.knowledge.ledger.views
    lanes = {one: view.lane for one in (hit, other) if (view := views.document(one))}
    assert lanes == {hit: Lane.FRESH, other: Lane.BULK}


def test_fresh_too_wants_what_it_left_out(bench: Bench) -> None:
    hit = bench.knowledge.write("leave.md", ["annual leave"])
    bench.knowledge.observe("leave.md", lane=Lane.BULK)
    assert bench.uris("annual leave", freshness=Freshness.FRESH) == []
    eventually(lambda: bench.demanded == [hit])


def test_sending_that_fails_fails_no_search(bench: Bench) -> None:
    def refuse(_: list[int]) -> None:
        asked.append(1)
        raise RuntimeError("the broker is away")

    asked: list[int] = []
    searcher = Searcher(
        bench.knowledge.ledger,
        bench.index,
        bench.knowledge.embed_query,
        SystemClock(),
        on_demand=refuse,
    )
    for uri in ("a.md", "b.md"):
        bench.knowledge.write(uri, [f"leave of {uri}"])
        bench.knowledge.observe(uri, lane=Lane.BULK)
        assert searcher.search(SearchRequest(f"leave of {uri}", top_k=1)).hits
    eventually(lambda: len(asked) == 2)
    searcher.close()


@pytest.mark.parametrize("failure", [None, EmbedderUnavailable("away"), RuntimeError("broken")])
def test_without_a_vector_words_alone_answer_and_the_answer_says_so(
    bench: Bench, failure: Exception | None
) -> None:
    def embed(_: str) -> Vectors | None:
        if failure is not None:
            raise failure
        return None

    bench.knowledge.write("leave.md", ["annual leave"])
    bench.knowledge.write("food.md", ["lunch at noon"])
    bench.embed = embed
    response = bench.searcher.search(SearchRequest("lunch"))
    assert (response.mode, [hit.uri for hit in response.hits]) == ("text", ["food.md"])
    assert bench.counted.modes == ["text"]


def test_an_index_that_is_down_is_an_error() -> None:
    class Down(MemoryIndex):
        def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
            raise IndexUnavailable("The index is down.")

    knowledge = Knowledge(index=Down())
    counted = Counted()
    searcher = Searcher(
        knowledge.ledger,
        knowledge.index,
        lambda *_: None,
        SystemClock(),
        on_demand=print,
        observe=counted,
    )
    with pytest.raises(IndexUnavailable):
        searcher.search(SearchRequest("leave"))
    with pytest.raises(BadQuery):
        searcher.search(SearchRequest(""))
    assert (counted.searches, counted.failed) == ([], 1)


@pytest.mark.parametrize(
    ("request_", "field", "says"),
    [
        (SearchRequest(""), "query", "is empty"),
        (SearchRequest(" \t\n\u3000"), "query", "is empty"),
        (SearchRequest("\0\0"), "query", "is empty"),
        (SearchRequest("a" * 200_001), "query", "at most 200000"),
        (SearchRequest("a", top_k=0), "top_k", "between 1 and 100; it is 0"),
        (SearchRequest("a", top_k=1_000_000), "top_k", "between 1 and 100"),
        (SearchRequest("a", timeout_s=-1), "timeout_ms", "between 0 and 60000"),
        (SearchRequest("a", timeout_s=float("nan")), "timeout_ms", "between 0 and 60000"),
        (SearchRequest("a", timeout_s=61), "timeout_ms", "it is 61000"),
        (SearchRequest("a", sources=()), "sources", "empty list"),
        (SearchRequest("a", sources=("no\ud800\0where",)), "sources", "no source named"),
        (SearchRequest("a", min_generation=-1), "min_generation", "negative"),
        (SearchRequest("a", min_generation=10**9), "min_generation", "never issued; the last one is"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_field(
    bench: Bench, request_: SearchRequest, field: str, says: str
) -> None:
    with pytest.raises(BadQuery, match=says) as refused:
        bench.searcher.search(request_)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "query",
    ["annual " * 10_000, "annual\0leave", "annual \ud800 leave", '"annual* OR (leave', "年次休暇 annual"],
)
def test_odd_questions_are_answered(bench: Bench, query: str) -> None:
    bench.knowledge.write("leave.md", ["annual leave"])
    assert bench.uris(query) == ["leave.md"]


def test_searches_are_counted(bench: Bench) -> None:
    bench.knowledge.write("a.md", ["leave a"])
    bench.knowledge.write("b.md", ["leave b"])
    bench.knowledge.write("b.md", ["leave c"])  # its first passage is dead now
    bench.knowledge.observe("a.md")
    bench.uris("leave")
    assert bench.counted.searches == [(2, 3, 1, 1)]
