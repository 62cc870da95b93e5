"""Documents are published, deleted and revived at every step of a search; the answer stays one moment's.

Promises 2 and 3: of each document all passages of one revision, with that revision's places, each once;
an unchanged passage is never missing; a passage deleted before the search began never returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.database import Database
from ingestion.ledger.fence import Fence
from retrieval.answers import SearchResponse
from retrieval.freshness import Freshness
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import Index
from retrieval.search import Searcher, SearchRequest
from tests.knowledge import Knowledge

QUESTION = SearchRequest("common words", top_k=100)
URIS = ("a.md", "b.md", "c.md", "d.md")

Step = Callable[[], None]


class Stepping:
    """Calls ``step`` before and after every call of something; not while it is in a call already."""

    def __init__(self, inner: object, step: Step) -> None:
        self._inner = inner
        self._step = step

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self._step()
            try:
                return method(*args, **kwargs)
            finally:
                self._step()

        return stepped


class Story:
    """What was published, revision by revision, of a few documents in one knowledge base."""

    def __init__(self, knowledge: Knowledge, step: Step) -> None:
        self.knowledge = knowledge
        self.revisions: dict[str, list[tuple[int, tuple[str, ...]]]] = {uri: [] for uri in URIS}
        self.ids: dict[str, int] = {}
        self.retired: set[str] = set()
        for uri in URIS:
            self.publish(uri)
        ledger = knowledge.ledger
        ledger.fence = cast("Fence", Stepping(ledger.fence, step))
        index = cast("Index", Stepping(knowledge.index, step))
        self.searcher = Searcher(
            ledger, index, knowledge.embed_query, knowledge.clock, on_demand=lambda _: None
        )

    def publish(self, uri: str) -> None:
        """The next revision: one passage stays, one changes, and every other revision inserts one above."""
        number = len(self.revisions[uri])
        passages = [f"steady common words of {uri}", f"common words of {uri} in revision {number}"]
        if number % 2:
            passages.insert(0, f"inserted common words of {uri} in revision {number}")
        document_id = self.knowledge.observe(uri)
        claim = self.knowledge.claim(document_id)
        self.knowledge.publish(claim, passages)
        self.ids[uri] = document_id
        self.retired.discard(uri)
        self.revisions[uri].append((claim.wanted, tuple(passages)))

    def retire(self, uri: str) -> None:
        self.knowledge.retire(self.ids[uri])
        self.retired.add(uri)

    def restore(self) -> None:
        """Every document is live in its newest revision, and nothing dead is left."""
        for uri in URIS:
            self.publish(uri)
        self.knowledge.sweep()

    def act(self, kind: str, uri: str) -> None:
        if kind == "publish":
            self.publish(uri)
        elif kind == "retire":
            self.retire(uri)
        elif uri not in self.retired:
            self.knowledge.observe(uri)

    def begin(self) -> dict[str, int]:
        """By document, the earliest revision that a search begun now may show."""
        return {uri: len(known) - (uri not in self.retired) for uri, known in self.revisions.items()}

    def check(self, answer: Answer, may_lack: set[str]) -> None:
        """Each document is in the answer as one revision that was live between its begin and now."""
        hits = answer.response.hits
        assert len({hit.chunk_id for hit in hits}) == len(hits)
        for uri in URIS:
            shown = sorted((hit for hit in hits if hit.uri == uri), key=lambda hit: hit.start)
            if not shown:
                assert uri in may_lack, f"{uri} is missing"
                continue
            revisions = self.revisions[uri][answer.begun[uri] :]
            assert (shown[0].generation, tuple(hit.text for hit in shown)) in revisions, uri
            assert len({hit.generation for hit in shown}) == 1
            assert [hit.start for hit in shown] == list(_starts([hit.text for hit in shown]))


def _starts(passages: list[str]) -> Iterator[int]:
    start = 0
    for text in passages:
        yield start
        start += len(text) + 1


@dataclass(frozen=True)
class Answer:
    """``begun``: what was live when the search began; ``steps``: how many it took."""

    response: SearchResponse
    begun: dict[str, int]
    steps: int


class Script:
    """Runs actions at the numbered steps of a search."""

    def __init__(self) -> None:
        self.number = -1
        self.every: Step | None = None
        self._actions: dict[int, list[Step]] = {}
        self._acting = False
        self.story = Story(Knowledge(), self._step)

    def run(self, request: SearchRequest = QUESTION, actions: dict[int, list[Step]] | None = None) -> Answer:
        """One search with these actions at its steps."""
        begun = self.story.begin()
        self._actions, self.number = actions or {}, 0
        response = self.story.searcher.search(request)
        steps, self.number = self.number, -1
        return Answer(response, begun, steps)

    def _step(self) -> None:
        if self._acting or self.number < 0:
            return
        self._acting = True
        for action in self._actions.get(self.number, []):
            action()
        if self.every:
            self.every()
        self._acting = False
        self.number += 1


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


def _actions(story: Story) -> dict[str, Step]:
    def rewritten() -> None:
        story.publish("b.md")
        story.publish("b.md")

    def replaced() -> None:
        story.retire("b.md")
        story.publish("b.md")

    def swept() -> None:
        story.publish("b.md")
        story.publish("c.md")

    return {
        "published": lambda: story.publish("b.md"),
        "published twice": rewritten,
        "retired": lambda: story.retire("b.md"),
        "retired and revived": replaced,
        "two published": swept,
    }


@pytest.mark.parametrize(
    "name", ["published", "published twice", "retired", "retired and revived", "two published"]
)
def test_a_change_at_any_single_step_leaves_the_answer_whole(script: Script, name: str) -> None:
    story = script.story
    for number in range(script.run().steps):
        story.restore()
        answer = script.run(actions={number: [_actions(story)[name]]})
        story.check(answer, may_lack={"b.md"} if "retired" in name else set())


def test_a_tombstone_before_the_last_look_is_obeyed(script: Script) -> None:
    """Only after the ledger's last word may a passage slip through, and the next best takes its place."""
    story = script.story
    asked = SearchRequest("common words of b.md", top_k=6)
    story.restore()
    steps = script.run(asked).steps
    for number in range(steps - 1):
        story.restore()
        hits = script.run(asked, {number: [_actions(story)["retired"]]}).response.hits
        assert "b.md" not in {hit.uri for hit in hits}, f"served though retired at step {number} of {steps}"
        assert len(hits) == 6


def test_a_document_published_at_every_step_is_served_whole(script: Script) -> None:
    script.story.restore()
    undisturbed = script.run()
    script.every = lambda: script.story.publish("b.md")
    answer = script.run()
    script.every = None
    script.story.check(answer, may_lack=set())
    assert undisturbed.steps < answer.steps < 3 * undisturbed.steps  # it began again, and not often


def test_all_documents_published_in_turn_at_every_step_are_served_whole(script: Script) -> None:
    script.story.restore()
    script.every = lambda: script.story.publish(URIS[script.number % len(URIS)])
    answer = script.run()
    script.every = None
    script.story.check(answer, may_lack=set())


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.sampled_from(["publish", "publish", "retire", "observe"]),
        st.sampled_from(URIS),
    ),
    max_size=10,
)


@settings(max_examples=60, deadline=None)
@given(before=ACTIONS, during=ACTIONS, freshness=st.sampled_from([Freshness.ANY, Freshness.FRESH]))
def test_any_interleaving_leaves_every_document_whole(
    script: Script,
    before: list[tuple[int, str, str]],
    during: list[tuple[int, str, str]],
    freshness: Freshness,
) -> None:
    story = script.story
    story.restore()
    for _, kind, uri in before:
        story.act(kind, uri)
    actions: dict[int, list[Step]] = {}
    for number, kind, uri in during:
        actions.setdefault(number, []).append(partial(story.act, kind, uri))
    may_lack = story.retired | {uri for _, kind, uri in during if kind == "retire"}
    answer = script.run(SearchRequest("common words", top_k=100, freshness=freshness), actions)
    if freshness is Freshness.FRESH:
        may_lack |= {uri for _, kind, uri in before + during if kind == "observe"}
        assert not any(hit.stale for hit in answer.response.hits)
    story.check(answer, may_lack)


def test_readers_beside_a_busy_writer_see_whole_documents(tmp_path: Path) -> None:
    """The real index in the real file, in threads: no steps are arranged."""
    database = Database.file(tmp_path / "headwater.db")
    knowledge = Knowledge(database=database, index=EmbeddedIndex(database))
    story = Story(knowledge, lambda: None)
    story.retire("d.md")
    done = threading.Event()
    failures: list[BaseException] = []
    searches = 0

    def read() -> None:
        nonlocal searches
        while not done.is_set():
            begun = story.begin()
            try:
                response = story.searcher.search(QUESTION)
                time.sleep(0.02)  # the writer notes a revision after publishing it
                story.check(Answer(response, begun, 0), may_lack={"d.md"})
            except BaseException as failure:  # noqa: BLE001 - told to the test's own thread
                failures.append(failure)
                return
            searches += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    ends = time.monotonic() + 2.0
    number = 0
    while time.monotonic() < ends and not failures:
        story.publish(URIS[number % 3])
        number += 1
        if number % 10 == 0:
            knowledge.sweep(after_s=1.0)  # longer than any search takes
    done.set()
    for reader in readers:
        reader.join()
    story.searcher.close()
    database.close()
    assert not failures, failures[0]
    assert searches > 5
    assert number > 5
