"""Lanes, sharing, containment and the ends of the micro-batcher, with embedders that stop when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from ingestion.errors import EmbedderRejected, EmbedderUnavailable, HeadwaterError, ModelMissing
from ingestion.records import Lane
from ingestion.turns import Turns
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.port import Vectors

DEADLINE_S = 10.0
POISON = "poison"


class SetClock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class SteppedEmbedder(HashingEmbedder):
    """The hashing embedder, one call at a time: each waits until the test lets it go.

    On its clock 10,000 tokens take a second.
    """

    def __init__(self, clock: SetClock) -> None:
        super().__init__(dimensions=16)
        self.clock = clock
        self.calls: list[list[str]] = []
        self.gate = threading.Semaphore(0)
        self.load_errors: list[Exception] = []
        self.loads = 0
        self.is_loaded = True

    @property
    def loaded(self) -> bool:
        return self.is_loaded

    def load(self) -> None:
        self.loads += 1
        if self.load_errors:
            raise self.load_errors.pop(0)
        self.is_loaded = True

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self._enter(list(texts))
        return super().embed_documents(texts)

    def embed_query(self, text: str) -> Vectors:
        self._enter([f"? {text}"])
        return super().embed_query(text)

    def _enter(self, texts: list[str]) -> None:
        self.calls.append(texts)
        assert self.gate.acquire(timeout=DEADLINE_S)
        self.clock.at += 0.003 + max(self.count_tokens(texts)) * len(texts) / 10_000
        if any(POISON in text for text in texts):
            raise EmbedderRejected("refused")
        if "broken" in texts:
            raise RuntimeError("a fault nobody foresaw")
        if "away" in texts:
            raise EmbedderUnavailable("not now")

    def step(self, count: int = 1) -> None:
        self.gate.release(count)


@pytest.fixture
def embedder() -> SteppedEmbedder:
    return SteppedEmbedder(SetClock())


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def batcher(embedder: SteppedEmbedder, callers: ThreadPoolExecutor) -> Iterator[MicroBatcher]:
    """Closed before the callers' pool is, which waits for its callers."""
    batcher = MicroBatcher(embedder, clock=embedder.clock)
    yield batcher
    embedder.step(10_000)
    batcher.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def occupy(batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor) -> Future[Vectors]:
    """A bulk text under way, so that what follows has to wait."""
    under_way = callers.submit(batcher.embed, ["under way"], Lane.BULK)
    until(lambda: embedder.calls == [["under way"]])
    return under_way


def waiting(batcher: MicroBatcher, texts: int) -> None:
    """Until so many texts have been handed over."""
    until(lambda: sum(batcher.waiting().values()) == texts)


def test_each_text_gets_the_vector_it_would_get_alone(callers: ThreadPoolExecutor) -> None:
    plain = HashingEmbedder()
    batcher = MicroBatcher(HashingEmbedder())
    texts = [f"passage {number} " * (number % 7 + 1) for number in range(200)]
    slices = [texts[start : start + 10] for start in range(0, 200, 10)]
    lanes = [Lane.FRESH, Lane.BULK] * 10
    answers = callers.map(batcher.embed, slices, lanes)
    assert np.array_equal(np.vstack(list(answers)), plain.embed_documents(texts))
    assert np.array_equal(batcher.embed_query("passage"), plain.embed_query("passage"))
    assert batcher.texts_embedded == {Lane.FRESH: 100, Lane.BULK: 100}
    counts = plain.count_tokens(texts)
    assert batcher.tokens_embedded[Lane.FRESH] + batcher.tokens_embedded[Lane.BULK] == sum(counts)
    assert batcher.queries_embedded == 1
    assert batcher.embedding_s > 0
    batcher.close()


def test_each_batch_of_passages_is_told_and_no_query() -> None:
    told: list[tuple[Lane, int, int, float]] = []
    batcher = MicroBatcher(HashingEmbedder())
    batcher.on_embedded = lambda *batch: told.append(batch)
    texts = [f"passage {number}" for number in range(100)]
    batcher.embed(texts, Lane.FRESH)
    batcher.embed(["and one"], Lane.BULK)
    batcher.embed_query("passage")
    batcher.close()
    assert sum(texts for lane, texts, _, _ in told if lane is Lane.FRESH) == 100
    assert [texts for lane, texts, _, _ in told if lane is Lane.BULK] == [1]
    assert sum(tokens for _, _, tokens, _ in told) == sum(HashingEmbedder().count_tokens([*texts, "and one"]))
    assert sum(seconds for *_, seconds in told) <= batcher.embedding_s


def test_what_listeners_raise_costs_no_vector_and_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*batch: object) -> None:
        raise RuntimeError("a listener")

    embedder = HashingEmbedder()
    batcher = MicroBatcher(LoadedLater())
    batcher.on_loaded = batcher.on_embedded = fail
    for number in range(2):
        text = f"passage {number}"
        assert np.array_equal(batcher.embed([text], Lane.BULK), embedder.embed_documents([text]))
    assert batcher.embed_query("passage").shape == (embedder.dimensions,)
    batcher.close()
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 3


class LoadedLater(HashingEmbedder):
    """Not there until it is loaded."""

    is_loaded = False

    @property
    def loaded(self) -> bool:
        return self.is_loaded

    def load(self) -> None:
        self.is_loaded = True


def test_no_texts_need_no_embedder(batcher: MicroBatcher, embedder: SteppedEmbedder) -> None:
    assert batcher.embed([], Lane.BULK).shape == (0, 16)
    assert not embedder.calls


def test_queries_go_before_fresh_before_bulk(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    occupy(batcher, embedder, callers)
    callers.submit(batcher.embed, ["bulk"], Lane.BULK)
    waiting(batcher, 1)
    callers.submit(batcher.embed, ["fresh"], Lane.FRESH)
    waiting(batcher, 2)
    callers.submit(batcher.embed_query, "question")
    waiting(batcher, 3)
    embedder.step(4)
    until(lambda: len(embedder.calls) == 4)
    assert embedder.calls[1:] == [["? question"], ["fresh"], ["bulk"]]


def test_a_fresh_text_waits_for_one_bulk_batch(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    slices = [[f"slice {number} text {row} " + "word " * 200 for row in range(32)] for number in range(2)]
    for texts in slices:
        callers.submit(batcher.embed, texts, Lane.BULK)
    until(lambda: len(embedder.calls) == 1 and batcher.waiting()[Lane.BULK] > 32)
    assert len(embedder.calls[0]) < 8
    fresh = callers.submit(batcher.embed, ["fresh"], Lane.FRESH)
    until(lambda: batcher.waiting()[Lane.FRESH] == 1)
    embedder.step(2)
    assert fresh.result(DEADLINE_S).shape == (1, 16)
    assert embedder.calls[1] == ["fresh"]


def test_small_callers_share_a_batch(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    occupy(batcher, embedder, callers)
    answers = [callers.submit(batcher.embed, [f"text {number}"], Lane.FRESH) for number in range(10)]
    waiting(batcher, 10)
    embedder.step(2)
    for answer in answers:
        assert answer.result(DEADLINE_S).shape == (1, 16)
    assert len(embedder.calls) == 2
    assert sorted(embedder.calls[1]) == sorted(f"text {number}" for number in range(10))


def test_callers_of_a_lane_are_served_in_turn(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    occupy(batcher, embedder, callers)
    for number in range(3):
        callers.submit(batcher.embed, [f"{number} {'word ' * 100}"] * 32, Lane.FRESH)
        waiting(batcher, 32 * (number + 1))
    embedder.step(1000)
    until(lambda: sum(map(len, embedder.calls)) == 97)
    firsts = [text[0] for call in embedder.calls[1:] for text in call]
    assert firsts == sorted(firsts)


def test_known_counts_are_not_counted_again(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    occupy(batcher, embedder, callers)
    callers.submit(batcher.embed, ["a", "b"], Lane.BULK, [10, 100_000])
    waiting(batcher, 2)
    embedder.step(3)
    until(lambda: batcher.texts_embedded[Lane.BULK] == 3)
    assert embedder.calls[1:] == [["b"], ["a"]]  # long texts first; too far apart to pad one to the other
    assert batcher.tokens_embedded[Lane.BULK] == 4 + 10 + 256  # what the model sees of it


@pytest.mark.parametrize(("text", "error"), [(POISON, EmbedderRejected), ("broken", RuntimeError)])
def test_only_the_caller_of_a_bad_text_gets_the_error(
    batcher: MicroBatcher,
    embedder: SteppedEmbedder,
    callers: ThreadPoolExecutor,
    text: str,
    error: type[Exception],
) -> None:
    occupy(batcher, embedder, callers)
    good = [callers.submit(batcher.embed, [f"good {number}"], Lane.FRESH) for number in range(3)]
    bad = callers.submit(batcher.embed, ["fine", text], Lane.FRESH)
    waiting(batcher, 5)
    embedder.step(1000)
    with pytest.raises(error):
        bad.result(DEADLINE_S)
    for answer in good:
        assert np.linalg.norm(answer.result(DEADLINE_S)) == pytest.approx(1.0)
    assert batcher.embed(["afterwards"], Lane.FRESH).shape == (1, 16)


def test_an_embedder_that_is_away_is_asked_once_for_all(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    occupy(batcher, embedder, callers)
    answers = [callers.submit(batcher.embed, [text], Lane.FRESH) for text in ("away", "beside")]
    waiting(batcher, 2)
    embedder.step(1000)
    for answer in answers:
        with pytest.raises(EmbedderUnavailable):
            answer.result(DEADLINE_S)
    assert len(embedder.calls) == 2


def test_a_failed_caller_costs_no_more_batches(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    texts = [f"{POISON} {'word ' * 200}", *(f"{row} {'word ' * 100}" for row in range(40))]
    answer = callers.submit(batcher.embed, texts, Lane.BULK)
    embedder.step(1000)
    with pytest.raises(EmbedderRejected):
        answer.result(DEADLINE_S)
    batcher.embed(["next"], Lane.BULK)
    assert len(embedder.calls) == 2


def test_a_wrong_number_of_vectors_is_an_error(callers: ThreadPoolExecutor) -> None:
    class Short(HashingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            return super().embed_documents(texts[1:])

    batcher = MicroBatcher(Short())
    with pytest.raises(ValueError, match="answered 2 texts"):
        batcher.embed(["a", "b"], Lane.FRESH)
    batcher.close()


def test_callers_wait_until_the_model_is_loaded(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    embedder.is_loaded = False
    assert not batcher.ready
    embedder.step(1)
    assert callers.submit(batcher.embed, ["text"], Lane.FRESH).result(DEADLINE_S).shape == (1, 16)
    assert batcher.ready
    assert embedder.loads == 1


def test_loading_starts_in_the_background(batcher: MicroBatcher, embedder: SteppedEmbedder) -> None:
    embedder.is_loaded = False
    batcher.start_loading()
    batcher.start_loading()
    until(lambda: batcher.ready)
    assert embedder.loads == 1


def test_it_is_told_when_the_model_is_there(batcher: MicroBatcher, embedder: SteppedEmbedder) -> None:
    told: list[bool] = []
    batcher.on_loaded = lambda: told.append(batcher.ready)
    embedder.is_loaded = False
    embedder.load_errors = [OSError("disk")]
    embedder.step(1)
    with pytest.raises(EmbedderUnavailable):
        batcher.embed(["text"], Lane.FRESH)
    assert told == []
    embedder.clock.at += 11
    batcher.embed(["text"], Lane.FRESH)
    assert told == [True]


@pytest.mark.parametrize(
    ("fault", "error"),
    [(ModelMissing("gone", hint="put it there"), ModelMissing), (OSError("disk"), EmbedderUnavailable)],
)
def test_a_model_that_cannot_be_loaded_fails_everyone_and_is_tried_again_later(
    batcher: MicroBatcher,
    embedder: SteppedEmbedder,
    fault: Exception,
    error: type[HeadwaterError],
) -> None:
    embedder.is_loaded = False
    embedder.load_errors = [fault]
    for _ in range(3):  # the second and third within the pause
        with pytest.raises(error) as caught:
            batcher.embed(["text"], Lane.FRESH)
        assert caught.value.hint
    assert embedder.loads == 1
    assert isinstance(batcher.load_failure, error)
    embedder.clock.at += 11
    embedder.step(1)
    assert batcher.embed(["text"], Lane.FRESH).shape == (1, 16)
    assert batcher.load_failure is None


def test_closing_lets_go_of_everyone(
    batcher: MicroBatcher, embedder: SteppedEmbedder, callers: ThreadPoolExecutor
) -> None:
    under_way = occupy(batcher, embedder, callers)
    answers = [callers.submit(batcher.embed, ["text"], lane) for lane in Lane]
    answers.append(callers.submit(batcher.embed_query, "question"))
    waiting(batcher, 3)
    closing = callers.submit(batcher.close)
    for answer in [under_way, *answers]:
        with pytest.raises(EmbedderUnavailable, match="shut down"):
            answer.result(DEADLINE_S)
    embedder.step(1)
    closing.result(DEADLINE_S)
    batcher.close()
    batcher.start_loading()
    assert not batcher.ready
    with pytest.raises(EmbedderUnavailable, match="shut down"):
        batcher.embed(["text"], Lane.FRESH)


def test_closing_does_not_wait_for_a_model(callers: ThreadPoolExecutor) -> None:
    class Slow(SteppedEmbedder):
        def load(self) -> None:
            self.loads += 1
            assert self.gate.acquire(timeout=DEADLINE_S)

    embedder = Slow(SetClock())
    embedder.is_loaded = False
    batcher = MicroBatcher(embedder)
    answer = callers.submit(batcher.embed, ["text"], Lane.FRESH)
    until(lambda: embedder.loads == 1)
    started = time.monotonic()
    batcher.close()
    with pytest.raises(EmbedderUnavailable):
        answer.result(DEADLINE_S)
    assert time.monotonic() - started < 1.0
    embedder.step(1)


def test_it_adds_little_to_an_embedder_that_costs_nothing() -> None:
    words = [f"word{number}" for number in range(2000)]
    texts = [" ".join(words[start % 1900 : start % 1900 + 100]) for start in range(4_000)]
    slices = [texts[start : start + 32] for start in range(0, len(texts), 32)]
    embedder = HashingEmbedder()
    embedder.embed_documents(texts)
    batcher = MicroBatcher(embedder)

    def cpu_s(embed: Callable[[list[str]], Vectors]) -> float:
        started = time.process_time()
        with ThreadPoolExecutor(2) as two:
            list(two.map(embed, slices))
        return time.process_time() - started

    direct = min(cpu_s(embedder.embed_documents) for _ in range(3))
    through = min(cpu_s(lambda part: batcher.embed(part, Lane.BULK)) for _ in range(3))
    batcher.close()
    assert through - direct < 0.15  # 0.05 measured for 4,000 texts


def test_models_that_compute_here_take_turns_batch_by_batch() -> None:
    """Two at once would make the threads of both wait for one another at every step."""
    turns, under_way, most = Turns(), [0], [0]

    class Noting(HashingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            time.sleep(0.002)
            under_way[0] -= 1
            return super().embed_documents(texts)

    batchers = [MicroBatcher(Noting(dimensions=size), turns=turns) for size in (8, 16)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(batcher.embed, [f"text {number}"], Lane.BULK)
            for number in range(20)
            for batcher in batchers
        ]
        shapes = {job.result(timeout=DEADLINE_S).shape for job in jobs}
    for batcher in batchers:
        batcher.close()
    assert shapes == {(1, 8), (1, 16)}
    assert most == [1]
