"""The micro-batcher with an embedder that takes several calls at once, each waiting until told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from ingestion.errors import EmbedderRejected, EmbedderUnavailable, HeadwaterError, ModelNotServed
from ingestion.records import Lane
from retrieval.embedding import batching, loading
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.port import CallLimits, Vectors
from tests.unit.retrieval.embedding.test_batching import DEADLINE_S, POISON, SetClock, until, waiting

AT_ONCE = 3
TEXTS = 4


class Elsewhere(HashingEmbedder):
    """Counts as being on another machine. Each call waits until the test lets it go, by its first text."""

    call_limits: CallLimits = CallLimits(AT_ONCE, TEXTS)  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(dimensions=16)
        self.calls: list[list[str]] = []
        self.doors: dict[str, threading.Event] = {}
        self.open = False
        self.loads = 0
        self.load_faults = 0
        self.is_loaded = True
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self.is_loaded

    def load(self) -> None:
        self.loads += 1
        if self.load_faults:
            self.load_faults -= 1
            raise EmbedderUnavailable("not now")
        self.is_loaded = True

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self._enter(list(texts))
        if POISON in texts:
            raise EmbedderRejected("refused")
        return super().embed_documents(texts)

    def embed_query(self, text: str) -> Vectors:
        self._enter([f"? {text}"])
        return super().embed_query(text)

    def let(self, text: str) -> None:
        """The call that begins with this text ends."""
        self.doors[text].set()

    def begun(self, number: int) -> None:
        until(lambda: len(self.calls) == number)

    def _enter(self, texts: list[str]) -> None:
        with self._lock:
            door = self.doors[texts[0]] = threading.Event()
            self.calls.append(texts)
        if not self.open:
            assert door.wait(DEADLINE_S)


@pytest.fixture
def embedder() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def batcher(embedder: Elsewhere, callers: ThreadPoolExecutor) -> Iterator[MicroBatcher]:
    batcher = MicroBatcher(embedder, clock=SetClock())
    yield batcher
    embedder.open = True
    for door in list(embedder.doors.values()):
        door.set()
    batcher.close()


Ask = Callable[..., Future[Vectors]]


@pytest.fixture
def ask(batcher: MicroBatcher, callers: ThreadPoolExecutor) -> Ask:
    return lambda lane, *texts: callers.submit(batcher.embed, texts, lane)


def occupy(ask: Ask, embedder: Elsewhere, lane: Lane = Lane.BULK) -> None:
    """Every call that bulk work may have."""
    for number in range(AT_ONCE):
        ask(lane, *[f"{number}{letter}" for letter in "abcd"])
        embedder.begun(number + 1)


def test_some_calls_are_handed_over_ahead(callers: ThreadPoolExecutor) -> None:
    embedder = Elsewhere()
    embedder.call_limits = CallLimits(AT_ONCE, TEXTS, ahead=2)
    batcher = MicroBatcher(embedder)
    for number in range(AT_ONCE + 3):
        callers.submit(batcher.embed, [f"{number}{letter}" for letter in "abcd"], Lane.BULK)
    embedder.begun(AT_ONCE + 2)
    waiting(batcher, TEXTS)
    embedder.let(embedder.calls[0][0])
    embedder.begun(AT_ONCE + 3)
    embedder.open = True
    for door in list(embedder.doors.values()):
        door.set()
    batcher.close()


def test_as_many_calls_as_allowed_and_no_more_for_bulk_work(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask
) -> None:
    occupy(ask, embedder)
    late = ask(Lane.BULK, "late")
    waiting(batcher, 1)
    assert len(embedder.calls) == AT_ONCE
    embedder.let("1a")
    embedder.begun(AT_ONCE + 1)
    embedder.let("late")
    assert late.result(DEADLINE_S).shape == (1, 16)


def test_edits_and_questions_wait_for_no_bulk_call(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask, callers: ThreadPoolExecutor
) -> None:
    occupy(ask, embedder)
    ask(Lane.BULK, "late")
    waiting(batcher, 1)
    fresh = ask(Lane.FRESH, "fresh")
    embedder.begun(AT_ONCE + 1)
    embedder.let("fresh")
    assert fresh.result(DEADLINE_S).shape == (1, 16)
    question = callers.submit(batcher.embed_query, "question")
    embedder.begun(AT_ONCE + 2)
    embedder.let("? question")
    assert question.result(DEADLINE_S).shape == (16,)
    assert embedder.calls[AT_ONCE:] == [["fresh"], ["? question"]]


def test_a_question_waits_for_no_edit(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask, callers: ThreadPoolExecutor
) -> None:
    for number in range(AT_ONCE + 1):
        ask(Lane.FRESH, *[f"{number}{letter}" for letter in "abcd"])
        embedder.begun(number + 1)
    question = callers.submit(batcher.embed_query, "question")
    embedder.begun(AT_ONCE + 2)
    embedder.let("? question")
    assert question.result(DEADLINE_S).shape == (16,)


def test_an_edit_is_embedded_as_one(embedder: Elsewhere) -> None:
    class Hasty(Elsewhere):
        fresh: Sequence[str] = ()

        def embed_fresh(self, texts: Sequence[str]) -> Vectors:
            self.fresh = texts
            raise EmbedderUnavailable("held back", after_s=9.0)

    hasty = Hasty()
    hasty.open = True
    batcher = MicroBatcher(hasty)
    with pytest.raises(EmbedderUnavailable) as caught:
        batcher.embed(["edit"], Lane.FRESH)
    assert caught.value.after_s == 9.0
    assert batcher.embed(["bulk"], Lane.BULK).shape == (1, 16)
    assert hasty.fresh == ["edit"]
    batcher.close()


def test_a_free_call_takes_the_most_urgent(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask, callers: ThreadPoolExecutor
) -> None:
    occupy(ask, embedder)
    ask(Lane.FRESH, "urgent one")
    embedder.begun(AT_ONCE + 1)
    callers.submit(batcher.embed_query, "first question")
    embedder.begun(AT_ONCE + 2)
    ask(Lane.BULK, "bulk")
    waiting(batcher, 1)
    ask(Lane.FRESH, "fresh")
    waiting(batcher, 2)
    callers.submit(batcher.embed_query, "question")
    waiting(batcher, 3)
    for number, (ended, begun) in enumerate([("0a", "? question"), ("1a", "fresh"), ("2a", "bulk")], 3):
        embedder.let(ended)
        embedder.begun(AT_ONCE + number)
        assert embedder.calls[-1] == [begun]


def test_calls_are_filled_from_many_callers(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask, callers: ThreadPoolExecutor
) -> None:
    occupy(ask, embedder)
    answers = [ask(Lane.BULK, *[f"{number} {row}" for row in range(3)]) for number in range(4)]
    waiting(batcher, 12)
    embedder.open = True
    for number in range(AT_ONCE):
        embedder.let(f"{number}a")
    found = [answer.result(DEADLINE_S) for answer in answers]
    assert [len(call) for call in embedder.calls[AT_ONCE:]] == [4, 4, 4]
    plain = HashingEmbedder(dimensions=16)
    for number, vectors in enumerate(found):
        assert np.array_equal(vectors, plain.embed_documents([f"{number} {row}" for row in range(3)]))


def test_a_refused_text_is_its_callers(batcher: MicroBatcher, embedder: Elsewhere, ask: Ask) -> None:
    occupy(ask, embedder)
    bad = ask(Lane.BULK, "fine", POISON)
    waiting(batcher, 2)
    answers = [ask(Lane.BULK, f"text {number}") for number in range(2)]
    waiting(batcher, 4)
    embedder.open = True
    embedder.let("0a")
    until(lambda: len(embedder.calls) > AT_ONCE)
    assert sorted(embedder.calls[AT_ONCE]) == sorted(["fine", POISON, "text 0", "text 1"])
    with pytest.raises(EmbedderRejected):
        bad.result(DEADLINE_S)
    for answer in answers:
        assert answer.result(DEADLINE_S).shape == (1, 16)


def test_everything_is_counted_once(batcher: MicroBatcher, embedder: Elsewhere, ask: Ask) -> None:
    embedder.open = True
    for answer in [ask(Lane.BULK, *[f"{number} {row}" for row in range(5)]) for number in range(20)]:
        answer.result(DEADLINE_S)
    assert batcher.texts_embedded[Lane.BULK] == 100
    assert sum(len(call) for call in embedder.calls) == 100


def test_closing_lets_go_of_everyone_under_way(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask, callers: ThreadPoolExecutor
) -> None:
    under_way = []
    for number in range(AT_ONCE):
        under_way.append(ask(Lane.BULK, f"{number}"))
        embedder.begun(number + 1)
    under_way.append(ask(Lane.BULK, "waits"))
    waiting(batcher, 1)
    closing = callers.submit(batcher.close)
    for answer in under_way:
        with pytest.raises(EmbedderUnavailable, match="shut down"):
            answer.result(DEADLINE_S)
    for number in range(AT_ONCE):
        embedder.let(f"{number}")
    closing.result(DEADLINE_S)


def test_a_question_is_given_up_when_nothing_gets_through(
    monkeypatch: pytest.MonkeyPatch,
    batcher: MicroBatcher,
    embedder: Elsewhere,
    ask: Ask,
    callers: ThreadPoolExecutor,
) -> None:
    monkeypatch.setattr(batching, "_LONGEST_REMOTE_QUERY_S", 0.05)
    occupy(ask, embedder)
    ask(Lane.FRESH, "does not get through")
    embedder.begun(AT_ONCE + 1)
    callers.submit(batcher.embed_query, "nor does this one")
    embedder.begun(AT_ONCE + 2)
    with pytest.raises(EmbedderUnavailable, match="not embedded within"):
        batcher.embed_query("question")
    embedder.open = True
    embedder.let("0a")
    assert batcher.embed(["next"], Lane.FRESH).shape == (1, 16)
    assert ["? question"] not in embedder.calls


def test_one_thread_loads_for_all(batcher: MicroBatcher, embedder: Elsewhere, ask: Ask) -> None:
    embedder.is_loaded = False
    embedder.open = True
    embedder.load_faults = 1
    answers = [ask(Lane.BULK, f"{number}") for number in range(20)]
    for answer in answers:
        with pytest.raises(EmbedderUnavailable):
            answer.result(DEADLINE_S)
    assert embedder.loads == 1


def test_what_was_only_away_is_loaded_again_by_itself(
    monkeypatch: pytest.MonkeyPatch, embedder: Elsewhere
) -> None:
    monkeypatch.setattr(loading, "_RETRY_S", 0.02)
    embedder.is_loaded = False
    embedder.load_faults = 3
    batcher = MicroBatcher(embedder)
    batcher.start_loading()
    until(lambda: batcher.ready)
    assert embedder.loads == 4
    assert batcher.load_failure is None
    batcher.close()


class Uncopied(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


@pytest.mark.parametrize(
    "error", [ModelNotServed("no", reason="pooling"), Uncopied("a", "b")], ids=["ours", "other"]
)
def test_an_error_of_several_callers_ends_no_thread(
    batcher: MicroBatcher, embedder: Elsewhere, ask: Ask, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    embedder.is_loaded = False
    embedder.open = True

    def load() -> None:
        raise error

    monkeypatch.setattr(embedder, "load", load)
    answers = [ask(Lane.BULK, f"{number}") for number in range(5)]
    for answer in answers:
        with pytest.raises(HeadwaterError):
            answer.result(DEADLINE_S)
    with pytest.raises(HeadwaterError, match=r"no|Uncopied"):
        batcher.embed(["and later"], Lane.BULK)
