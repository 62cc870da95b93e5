"""The remote embedder against an endpoint that misbehaves: what is said, what is kept, what is sent again."""

from __future__ import annotations

import json
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ingestion.clock import SystemClock
from ingestion.errors import EmbedderRejected, EmbedderUnavailable
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.json_file import JsonFile
from retrieval.embedding.remote import embedder as embedder_module
from retrieval.embedding.remote import endpoint as endpoint_module
from retrieval.embedding.remote import recent as recent_module
from retrieval.embedding.remote.batch_size import FIRST_ANSWERS
from retrieval.embedding.remote.embedder import DOCUMENTS_TRY_S, FRESH_TRY_S, Prompts, RemoteEmbedder
from retrieval.embedding.remote.making import RemoteModel, make_remote
from retrieval.embedding.remote.recent import REFUSED_FOR_S
from retrieval.embedding.remote.retrying import FIRST_REST_S, QUIET_S, SPREAD_S, Caller, Gate, Patience
from retrieval.embedding.remote.slots import Slots
from retrieval.embedding.remote.transport import Transport
from tests.endpoint import DIMENSIONS, KEY, Asked, Endpoint, Said, as_json, endpoint
from tests.unit.retrieval.embedding.remote.rig import AT_ONCE, PausedClock, opened, remote
from tests.unit.retrieval.embedding.test_batching import until

TEXTS = [f"passage number {number}" for number in range(20)]
POISON = "poison"


@pytest.fixture
def one() -> Iterator[Endpoint]:
    with endpoint() as started:
        yield started


@pytest.fixture(autouse=True)
def _all_closed() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


@pytest.fixture
def clock() -> PausedClock:
    return PausedClock()


@pytest.mark.parametrize("kind", ["openai", "cohere"])
def test_texts_become_vectors_in_requests_within_the_limit(
    one: Endpoint, clock: PausedClock, kind: str
) -> None:
    embedder = remote(one, clock, kind=kind)
    billed: list[int] = []
    embedder.on_billed = billed.append
    found = embedder.embed_documents(TEXTS)
    assert np.allclose(found, one.embedder.embed_documents(TEXTS), atol=1e-6)
    assert [len(asked.texts) for asked in one.asked] == [1, 8, 8, 4]  # the first: is it what it should be?
    assert np.allclose(embedder.embed_query("passage"), one.embedder.embed_query("passage"), atol=1e-6)
    assert billed == [24, 24, 12, 3]
    if kind == "cohere":
        assert [asked.body["input_type"] for asked in one.asked[1:]] == ["search_document"] * 3 + [
            "search_query"
        ]


def test_requests_keep_within_the_tokens(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock, batch_tokens=50)
    embedder.embed_documents(["word " * 20 + str(number) for number in range(4)] + ["word " * 200])
    assert [len(asked.texts) for asked in one.asked[1:]] == [1, 1, 1, 1, 1]


def test_what_was_answered_is_not_sent_again(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    first = embedder.embed_documents([*TEXTS, *TEXTS])
    second = embedder.embed_documents(TEXTS[::-1])
    assert np.array_equal(first[:20], second[::-1])
    assert not one.twice()


def test_answers_are_put_in_order_by_their_index(one: Endpoint, clock: PausedClock) -> None:
    def reversed_rows(asked: Asked) -> Said:
        answer = json.loads(one.right(asked).body)
        answer["data"].reverse()
        return as_json(answer)

    one.script = reversed_rows
    embedder = remote(one, clock)
    assert np.allclose(embedder.embed_documents(TEXTS), one.embedder.embed_documents(TEXTS), atol=1e-6)


def test_an_endpoint_without_base64_is_asked_without(one: Endpoint, clock: PausedClock) -> None:
    one.script = lambda asked: Said(422) if "encoding_format" in asked.body else None
    embedder = remote(one, clock)
    assert np.allclose(embedder.embed_documents(TEXTS), one.embedder.embed_documents(TEXTS), atol=1e-6)
    assert sum("encoding_format" in asked.body for asked in one.asked) == 1


@pytest.mark.parametrize("kind", ["openai", "cohere"])
@pytest.mark.parametrize("refused", ["dimensions", "dimensions and base64"])
def test_an_endpoint_that_takes_no_dimensions_is_asked_without(
    one: Endpoint, kind: str, refused: str
) -> None:
    def refuses(asked: Asked) -> Said | None:
        plain = not {"dimensions", "output_dimension"} & asked.body.keys()
        if "base64" in refused:
            plain &= "encoding_format" not in asked.body
        return None if plain else Said(400)

    one.script = refuses
    url = one.url if kind == "openai" else one.root
    embedder = make_remote(RemoteModel(kind, url, "m", KEY, dimensions=DIMENSIONS))
    opened.append(embedder)
    assert np.allclose(
        embedder.embed_documents(TEXTS[:3]), one.embedder.embed_documents(TEXTS[:3]), atol=1e-6
    )
    wrong = make_remote(RemoteModel(kind, url, "m", KEY, dimensions=DIMENSIONS - 1))
    opened.append(wrong)
    with pytest.raises(EmbedderUnavailable, match=f"vectors of {DIMENSIONS} numbers"):
        wrong.load()


def without_base64(asked: Asked) -> Said | None:
    return Said(422) if "encoding_format" in asked.body else None


@pytest.mark.parametrize("texts", [1, 8])
def test_an_endpoint_that_takes_base64_no_longer_refuses_no_text(
    one: Endpoint, clock: PausedClock, texts: int
) -> None:
    """Another server came in its place. What it refuses is how it was asked."""
    embedder = remote(one, clock)
    embedder.embed_documents(["in base64"])
    one.script = without_base64
    found = embedder.embed_documents(TEXTS[:texts])
    assert np.allclose(found, one.embedder.embed_documents(TEXTS[:texts]), atol=1e-6)
    embedder.embed_documents(TEXTS[8:16])
    assert one.asked[-1].texts == TEXTS[8:16]  # nothing was learned of how many it takes


def test_a_text_refused_while_another_thread_found_the_dialect_is_asked_again(
    one: Endpoint, clock: PausedClock
) -> None:
    embedder = remote(one, clock)
    embedder.embed_documents(["in base64"])
    one.script = without_base64

    def late(asked: Asked) -> Said:
        embedder.embed_documents(["of another thread"])
        return Said(422)

    one.next.append(late)
    assert embedder.embed_documents(["a passage"]).shape == (1, DIMENSIONS)


def test_what_one_thread_tries_another_does_not_speak(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    trying, tried = threading.Event(), threading.Event()

    def hold(asked: Asked) -> Said:
        trying.set()
        tried.wait(10)
        return Said(401)

    one.next.extend([Said(400), hold])
    with ThreadPoolExecutor(1) as pool:
        probe = pool.submit(embedder._endpoint.probe, tries_s=0.0)
        assert trying.wait(10)
        embedder.embed_query("a question")
        tried.set()
        with pytest.raises(EmbedderUnavailable):
            probe.result(10)
    assert "encoding_format" not in one.asked[-2].body
    assert "encoding_format" in one.asked[-1].body


def test_a_learned_length_is_asked_again_once_it_is_wrong(one: Endpoint, tmp_path: Path) -> None:
    remembered = JsonFile(tmp_path / "dimensions.json")
    model = RemoteModel("openai", one.url, "m", KEY)
    for _ in range(2):
        opened.append(make_remote(model, remembered=remembered))
    assert len(one.asked) == 1
    one.embedder = HashingEmbedder(dimensions=DIMENSIONS * 2)
    with pytest.raises(EmbedderUnavailable, match="the index is made for"):
        opened[-1].load()
    opened.append(make_remote(model, remembered=remembered))
    assert opened[-1].dimensions == DIMENSIONS * 2


def test_an_endpoint_that_went_away_while_it_was_asked_more_plainly(
    one: Endpoint, clock: PausedClock
) -> None:
    embedder = remote(one, clock)
    one.next.extend([Said(400), Said(401)])
    with pytest.raises(EmbedderUnavailable):
        embedder.load()
    clock.at += 2.0
    embedder.load()
    assert "encoding_format" in one.asked[-1].body


def numbers(change: str) -> Said:
    """An answer to one text that is wrong in one way."""
    row = [1.0] + [0.0] * (DIMENSIONS - 1)
    entry = {"index": 0, "embedding": row}
    answers: dict[str, object] = {
        "two": {"data": [entry, {"index": 1, "embedding": row}]},
        "none": {"data": []},
        "same": {"data": [entry, entry]},
        "longer": {"data": [{"index": 0, "embedding": [*row, 1.0]}]},
        "words": {"data": [{"index": 0, "embedding": ["a"] * DIMENSIONS}]},
        "nested": {"data": [{"index": 0, "embedding": [row]}]},
        "half": {"data": [{"index": 0, "embedding": "AAAA"}]},
        "list": [1, 2],
        "other": {"result": "fine"},
    }
    return as_json(answers[change])


@pytest.mark.parametrize(
    ("said", "words", "setting", "tries"),
    [
        (numbers("two"), "1 texts with 2 vectors", "embedding.batch_texts", 1),
        (numbers("none"), "1 texts with 0 vectors", "embedding.batch_texts", 1),
        (numbers("same"), "texts with 1 vectors", "embedding.batch_texts", 1),
        (numbers("longer"), "33 numbers, and the index is made for 32", "embedding.dimensions", 1),
        (numbers("words"), "in place of a vector", "embedding.url", 8),
        (numbers("nested"), "in place of a vector", "embedding.url", 8),
        (numbers("half"), "cut off", "embedding.url", 8),
        (numbers("list"), "no JSON object", "embedding.runtime", 8),
        (numbers("other"), "no list named data", "embedding.runtime", 8),
        (Said(200, b'{"data": [{"ind'), "cut off", "embedding.url", 8),
        (Said(200, b"[" * 100_000), "cut off", "embedding.url", 8),
        (Said(200, b"<html>hello</html>"), "no JSON", "embedding.url", 8),
        (Said(200, b""), "is empty", "embedding.url", 8),
        (Said(200, b" " * 3_000_000), "more than", "embedding.url", 1),
        (Said(200, b"x" * 1000, cut=True), "cannot be reached", "embedding.url", 8),
        (Said(0), "cannot be reached", "embedding.url", 8),
        (Said(500), "cannot answer now (500)", "its own log", 9),  # the last: does it answer another?
        (Said(503), "cannot answer now (503)", "its own log", 9),
        (Said(408), "cannot answer now (408)", "its own log", 8),
        (Said(429), "over its limit (429)", "embedding.concurrency", 8),
        (Said(401), "refused the key (401)", "embedding.api_key", 1),
        (Said(403), "refused the key (403)", "embedding.api_key", 2),
        (Said(404), "does not take this request (404)", "embedding.model", 1),
        (
            Said(302, b"", {"Location": "http://127.0.0.1:9/v1?k=secret"}),
            "redirects to http://127.0.0.1",
            "embedding.url",
            1,
        ),
        (Said(307, b"", {"Location": "/elsewhere"}), "redirects to another path", "embedding.url", 1),
    ],
    ids=lambda value: "" if isinstance(value, Said) else str(value)[:20],
)
def test_what_is_no_answer_blames_no_document_and_names_the_setting(
    one: Endpoint, clock: PausedClock, said: Said, words: str, setting: str, tries: int
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: said
    began = clock.at
    with pytest.raises(EmbedderUnavailable) as caught:
        embedder.embed_documents(["a passage"])
    assert words in caught.value.message
    assert setting in caught.value.hint
    assert KEY not in str(caught.value) and "secret" not in str(caught.value)
    assert len(one.asked) - 1 == tries
    assert clock.at - began <= DOCUMENTS_TRY_S
    one.script = None
    assert embedder.embed_documents(["a passage"]).shape == (1, DIMENSIONS)


def test_a_slow_endpoint_is_given_up_in_time(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock, timeout_s=0.1)
    embedder.load()
    one.next.extend([Said(wait_s=0.5), Said(wait_s=0.5)])
    began = time.monotonic()
    assert embedder.embed_documents(["a passage"]).shape == (1, DIMENSIONS)
    assert time.monotonic() - began < 2.0
    one.script = lambda asked: Said(wait_s=0.3)
    with pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.1 s") as caught:
        embedder.embed_documents(["another"])
    assert "embedding.timeout_s" in caught.value.hint
    time.sleep(0.4)  # so that the endpoint's threads end within the test


def test_an_endpoint_that_is_not_there(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    one.close()
    with pytest.raises(EmbedderUnavailable, match=r"cannot be reached \(Connection refused\)"):
        embedder.load()
    assert not embedder.loaded


@pytest.mark.parametrize("host", ["exa..mple", "a" * 64, ".example"])
def test_a_host_that_cannot_be_is_no_traceback(host: str) -> None:
    transport = Transport(f"http://{host}/v1/embeddings", None, connections=1)
    with pytest.raises(EmbedderUnavailable):
        transport.post(b"{}", timeout_s=1.0, most_bytes=1000)
    transport.close()


def test_a_redirect_is_not_followed(one: Endpoint, clock: PausedClock) -> None:
    with endpoint() as elsewhere:
        embedder = remote(one, clock)
        one.script = lambda asked: Said(308, b"", {"Location": elsewhere.url + "/embeddings"})
        with pytest.raises(EmbedderUnavailable, match="not followed"):
            embedder.load()
        assert not elsewhere.asked


def test_five_hundred_then_fine(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.next.extend([Said(500), Said(502), Said(0)])
    assert embedder.embed_documents(TEXTS[:3]).shape == (3, DIMENSIONS)
    assert clock.pauses == [0.5, 1.0, 2.0]
    assert [asked.texts for asked in one.asked[1:]] == [TEXTS[:3]] * 4


@pytest.mark.parametrize("form", ["seconds", "date", "date of its own clock"])
def test_all_calls_wait_as_long_as_they_are_asked_to(one: Endpoint, clock: PausedClock, form: str) -> None:
    shift = 5000.0 if form == "date of its own clock" else 0.0
    headers = {
        "seconds": {"Retry-After": "20"},
        "date": {"Retry-After": formatdate(clock.at + 20, usegmt=True), "Date": ""},
        "date of its own clock": {
            "Retry-After": formatdate(clock.at + shift + 20, usegmt=True),
            "Date": formatdate(clock.at + shift, usegmt=True),
        },
    }[form]
    embedder = remote(one, clock)
    embedder.load()
    one.next.append(Said(429, b"", headers))
    began = clock.at
    embedder.embed_documents(["first"])
    assert clock.at - began == pytest.approx(20 + SPREAD_S)
    one.next.append(Said(429, b"", {"Retry-After": "30"}))
    with pytest.raises(EmbedderUnavailable, match="over its limit") as caught:
        embedder.embed_query("a question is not held back for so long")
    asked = len(one.asked)
    with pytest.raises(EmbedderUnavailable, match="asked again in 30 s"):
        embedder.embed_query("and another one does not even ask")
    assert len(one.asked) == asked
    assert "embedding.concurrency" in caught.value.hint
    embedder.embed_documents(["second"])
    assert clock.at - began == pytest.approx(50 + 2 * SPREAD_S)


@pytest.mark.parametrize("after", ["0", "Thu, 01 Jan 1970 00:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_asking_for_no_time_is_not_asked_again_at_once(
    one: Endpoint, clock: PausedClock, after: str, status: int
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: Said(status, b"", {"Retry-After": after})
    with pytest.raises(EmbedderUnavailable, match="Tried 8 times"):
        embedder.embed_documents(["a passage"])
    assert len(one.asked) == 1 + 8


@pytest.mark.parametrize("status", [500, 502, 403])
def test_a_text_that_the_endpoint_fails_at_poisons_no_other(
    one: Endpoint, clock: PausedClock, status: int
) -> None:
    """Ollama says 500 to a text that is too long, and a firewall 403 to one it takes for an attack."""
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: Said(status) if POISON in asked.texts else None
    with pytest.raises(EmbedderRejected, match=rf"answers other texts, and not this one.*{status}"):
        embedder.embed_documents([*TEXTS[:5], POISON, *TEXTS[5:7]])
    before = len(one.asked)
    assert embedder.embed_documents(TEXTS[:7]).shape == (7, DIMENSIONS)
    assert len(one.asked) == before
    one.script = None
    clock.at += REFUSED_FOR_S + 1
    assert embedder.embed_documents([POISON]).shape == (1, DIMENSIONS)  # nothing is held back for it


@pytest.mark.parametrize("place", [0, 5, 15])
def test_a_batch_that_fails_twice_while_others_are_answered_is_halved(
    one: Endpoint, clock: PausedClock, place: int
) -> None:
    embedder = remote(one, clock, batch_texts=16)
    embedder.load()

    def fails_at_one(asked: Asked) -> Said | None:
        if POISON not in asked.texts:
            return None
        if len(asked.texts) == 16:  # meanwhile, by another thread
            embedder.embed_documents([f"another text {len(one.asked)}"])
        return Said(500)

    one.script = fails_at_one
    texts = [*TEXTS[:place], POISON, *TEXTS[place:15]]
    with pytest.raises(EmbedderRejected, match="answers other texts, and not this one"):
        embedder.embed_documents(texts)
    failed = [len(asked.texts) for asked in one.asked if POISON in asked.texts]
    assert failed[:8] == [16, 16, 8, 8, 4, 4, 2, 2]
    assert sum(clock.pauses[:4]) < 5.0
    assert not twice(asked for asked in one.asked if POISON not in asked.texts)


def twice(answered: Iterable[Asked]) -> list[str]:
    """Texts in more than one of these requests."""
    texts = [text for asked in answered for text in asked.texts if text != "headwater"]
    return [text for text, number in Counter(texts).items() if number > 1]


def test_a_batch_that_fails_while_nothing_is_answered_is_not_taken_apart(
    one: Endpoint, clock: PausedClock
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.next.extend([Said(500)] * 6)
    embedder.embed_documents(TEXTS[:8])
    assert [len(asked.texts) for asked in one.asked[1:]] == [8] * 7


def test_larger_requests_are_tried_again_after_a_while(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: Said(413) if len(asked.texts) > 2 else None
    texts = [f"text {number}" for number in range(8 + 2 * FIRST_ANSWERS * 3)]
    embedder.embed_documents(texts[:-8])
    sizes = [len(asked.texts) for asked in one.asked[1:]]
    tried = [place for place, size in enumerate(sizes) if size > 2]
    assert [sizes[place] for place in tried] == [8, 4, 4]  # and once more after some answers, in vain
    assert not twice(asked for asked in one.asked if len(asked.texts) <= 2)
    one.script = None
    while sizes[-1] < 8:
        embedder.embed_documents([f"more {len(one.asked)} {number}" for number in range(8)])
        sizes = [len(asked.texts) for asked in one.asked]
        assert len(sizes) < 1000
    assert 4 in sizes[tried[-1] + 10 :]


def test_chance_failures_teach_no_limit(one: Endpoint, clock: PausedClock) -> None:
    """A provider's bad day: one request in twenty fails, whatever it holds."""
    embedder = remote(one, clock)
    embedder.load()
    chance = random.Random(5)
    failed: list[int] = []

    def noise(asked: Asked) -> Said | None:
        if len(asked.texts) == 1 or chance.random() >= 0.05:
            return None
        failed.append(len(asked.texts))
        embedder.embed_documents([f"other {len(one.asked)}"])  # meanwhile, by another thread
        return Said(500)

    one.script = noise
    for number in range(800):
        embedder.embed_documents([f"text {number} {row}" for row in range(8)])
        assert embedder._size.texts == 8
    assert sum(len(asked.texts) == 4 for asked in one.asked) >= 2  # some were taken apart for it


def test_what_the_endpoint_fails_at_by_its_size_is_learned(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()

    def fails_at_many(asked: Asked) -> Said | None:
        if len(asked.texts) <= 4:
            return None
        embedder.embed_documents([f"other {len(one.asked)}"])  # meanwhile, by another thread
        return Said(500)

    one.script = fails_at_many
    embedder.embed_documents([f"text {number}" for number in range(40)])
    sizes = [len(asked.texts) for asked in one.asked if len(asked.texts) > 1]
    assert sizes == [8, 8, 4, 4] * 3 + [4] * 4


def test_a_lone_text_is_tried_for_as_long_as_any_before_it_is_blamed(
    one: Endpoint, clock: PausedClock
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.next.extend([Said(500)] * 7)
    assert embedder.embed_documents(["a passage"]).shape == (1, DIMENSIONS)


def test_calls_that_fail_together_are_one_outage(one: Endpoint, clock: PausedClock) -> None:
    gate = Gate(clock, clock.pause)
    fault = EmbedderUnavailable("away")
    asked_at = clock.at
    for _ in range(5):
        gate.rest(fault, asked_at)
        clock.at += 0.5  # some of them hear of it only when the rest is over
    assert gate.closed_s() <= 0
    gate.rest(fault, clock.at)
    assert gate.closed_s() == pytest.approx(2 * FIRST_REST_S)


def test_an_edit_is_handed_back_for_as_long_as_calls_are_held_back(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.next.append(Said(429, b"", {"Retry-After": "40"}))
    began = clock.at
    for _ in range(2):  # the first asks, the second need not
        with pytest.raises(EmbedderUnavailable, match="over its limit") as caught:
            embedder.embed_fresh(["an edit"])
        assert caught.value.after_s == pytest.approx(40)
    assert (clock.at, len(one.asked)) == (began, 2)
    assert embedder.embed_documents(["bulk work"]).shape == (1, DIMENSIONS)  # it waits
    assert embedder.embed_fresh(["an edit"]).shape == (1, DIMENSIONS)


def test_an_edit_is_handed_back_while_the_endpoint_rests(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: Said(500)
    began = clock.at
    with pytest.raises(EmbedderUnavailable, match="cannot answer now") as caught:
        embedder.embed_fresh(["an edit"])
    assert clock.at - began <= FRESH_TRY_S
    assert caught.value.after_s == pytest.approx(FIRST_REST_S)


def test_a_question_that_is_late_holds_no_document_back(
    one: Endpoint, clock: PausedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "_QUESTION_S", 0.1)
    embedder = remote(one, clock)
    embedder.load()
    one.next.extend([Said(wait_s=0.3)] * 3)
    with pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.1 s"):
        embedder.embed_query("a question")
    began = clock.at
    assert embedder.embed_documents(["a passage"]).shape == (1, DIMENSIONS)
    assert clock.at == began
    time.sleep(0.3)  # so that the endpoint's threads end within the test


def test_after_a_hold_calls_come_one_after_the_other(one: Endpoint) -> None:
    embedder = remote(one, SystemClock(), jitter=random.uniform)
    embedder.load()
    one.next.extend([Said(429, b"", {"Retry-After": "1"})])
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(embedder.embed_documents, ["first"])
        until(lambda: embedder._endpoint._caller.gate.closed_s() > 0)
        others = [pool.submit(embedder.embed_documents, [text]) for text in TEXTS[:3]]
        for answer in [first, *others]:
            answer.result(10)
    late = [asked.at for asked in one.asked[2:]]
    assert len(late) == 4
    assert max(late) - min(late) > SPREAD_S / 50


def test_being_over_the_limit_is_told_once_and_when_it_is_over(
    one: Endpoint, clock: PausedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "retrieval.embedding.remote.retrying")
    embedder = remote(one, clock)
    embedder.load()
    for number in range(5):
        one.next.append(Said(429, b"", {"Retry-After": "3"}))
        embedder.embed_documents([f"over the limit {number}"])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    clock.at += QUIET_S
    for number in range(2):
        embedder.embed_documents([f"within the limit {number}"])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "no longer" in caplog.text
    one.next.append(Said(429, b"", {"Retry-After": "3"}))
    embedder.embed_documents(["over it again"])
    assert len(caplog.records) == 3


def test_one_refusal_for_time_holds_back_the_calls_beside_it(one: Endpoint) -> None:
    """With a real clock: nothing comes in before the time is over, whoever was asked to wait."""
    embedder = remote(one, SystemClock())
    embedder.load()
    asked_for: list[float] = []

    def busy_once(asked: Asked) -> Said:
        asked_for.append(time.monotonic() + 0.5)
        return Said(429, b"", {"Retry-After": "0.5"})

    one.next.append(busy_once)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(embedder.embed_documents, ["first"])
        until(lambda: embedder._endpoint._caller.gate.closed_s() > 0)  # the refusal has arrived
        others = [pool.submit(embedder.embed_documents, [text]) for text in TEXTS[:3]]
        for answer in [first, *others]:
            answer.result(10)
    late = [asked.at for asked in one.asked[2:]]
    assert len(late) == 4
    assert min(late) >= asked_for[0] - 0.005  # counted before the refusal was sent
    assert one.twice() == {"first": 2}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_only_the_text_to_blame_is_refused(one: Endpoint, clock: PausedClock, status: int) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: Said(status) if POISON in asked.texts else None
    texts = [*TEXTS[:5], POISON, *TEXTS[5:7]]
    with pytest.raises(EmbedderRejected, match="refused the text") as caught:
        embedder.embed_documents(texts)
    assert "embedding.max_characters" in caught.value.hint
    answered = [text for asked in one.asked if POISON not in asked.texts for text in asked.texts]
    assert sorted(answered) == sorted(["headwater"] * 2 + TEXTS[:7])  # each text once
    before = len(one.asked)
    assert embedder.embed_documents(TEXTS[:7]).shape == (7, DIMENSIONS)
    with pytest.raises(EmbedderRejected):
        embedder.embed_documents([POISON])
    assert len(one.asked) == before  # all of that is known
    clock.at += REFUSED_FOR_S + 1
    one.script = None
    assert embedder.embed_documents([POISON]).shape == (1, DIMENSIONS)


def test_there_is_room_for_what_all_calls_together_are_answered(
    one: Endpoint, clock: PausedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_module, "LEAST_ROOM", 0)  # so that few and short vectors are many
    embedder = remote(one, clock, batch_texts=4)
    embedder.load()
    one.script = lambda asked: Said(400) if POISON in asked.texts else None
    batches = [[POISON, *TEXTS[:3]], *(TEXTS[at : at + 4] for at in range(3, 15, 4))]
    assert len(batches) == AT_ONCE
    with pytest.raises(EmbedderRejected):
        embedder.embed_documents(batches[0])
    for batch in batches[1:]:
        embedder.embed_documents(batch)
    for text in batches[0][1:]:  # piece by piece
        embedder.embed_documents([text])
    assert not twice(asked for asked in one.asked if POISON not in asked.texts)


def test_an_answered_question_is_an_answer_too(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()

    def refuse(asked: Asked) -> Said:
        embedder.embed_query("meanwhile, by another thread")
        return Said(400)

    one.next.append(refuse)
    with pytest.raises(EmbedderRejected):
        embedder.embed_documents([POISON])
    assert one.texts() == ["headwater", POISON, "meanwhile, by another thread"]  # no more to prove


def test_a_vector_that_is_none_refuses_only_its_text(one: Endpoint, clock: PausedClock) -> None:
    def with_nan(asked: Asked) -> Said:
        rows = one.embedder.embed_documents(asked.texts).tolist()
        for row, text in zip(rows, asked.texts, strict=True):
            row[3] = {"nan": float("nan"), "null": None}.get(text, row[3])
        if "zero" in asked.texts:
            rows[asked.texts.index("zero")] = [0.0] * DIMENSIONS
        return as_json({"data": [{"index": n, "embedding": row} for n, row in enumerate(rows)]})

    one.script = with_nan
    embedder = remote(one, clock)
    for bad in ("nan", "null", "zero"):
        with pytest.raises(EmbedderRejected, match="no vector"):
            embedder.embed_documents([*TEXTS[:3], bad])
    before = len(one.asked)
    assert embedder.embed_documents(TEXTS[:3]).shape == (3, DIMENSIONS)
    assert len(one.asked) == before


def test_two_texts_that_have_no_vector_in_one_request(one: Endpoint, clock: PausedClock) -> None:
    def without(asked: Asked) -> Said | None:
        return rows_of(asked, 0.0) if all("no vector" in text for text in asked.texts) else None

    one.script = without
    embedder = remote(one, clock)
    with pytest.raises(EmbedderRejected, match="no vector"):
        embedder.embed_documents(["no vector 1", "no vector 2"])


def rows_of(asked: Asked, number: float | None) -> Said:
    """Nothing but this number, for every text."""
    rows = range(len(asked.texts))
    return as_json({"data": [{"index": row, "embedding": [number] * DIMENSIONS} for row in rows]})


@pytest.mark.parametrize("number", [None, float("nan"), float("inf"), 0.0])
def test_an_endpoint_without_vectors_blames_no_text(
    one: Endpoint, clock: PausedClock, number: float | None
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: rows_of(asked, number)
    with pytest.raises(EmbedderUnavailable, match="even a plain word with numbers that are no vector"):
        embedder.embed_documents(["x", "y", "z"])
    with pytest.raises(EmbedderUnavailable, match="no vector"):
        remote(one, clock).load()
    one.script = None
    assert embedder.embed_documents(["x", "y", "z"]).shape == (3, DIMENSIONS)


def test_an_endpoint_that_refuses_everything_blames_no_text(one: Endpoint, clock: PausedClock) -> None:
    """Not even when it has just answered; and none is remembered as refused."""
    embedder = remote(one, clock, batch_texts=32)
    embedder.load()
    embedder.embed_documents(["a good one"])
    before = len(one.asked)
    one.script = lambda asked: as_json({"error": {"code": "model_not_found"}}, 400)
    texts = [f"text {number}" for number in range(32)]
    with pytest.raises(EmbedderUnavailable, match=r"refuses even a plain word.*\(400, model_not_found\)"):
        embedder.embed_documents(texts)
    assert len(one.asked) - before <= 8
    one.script = None
    clock.at += 1.0
    assert embedder.embed_documents(texts).shape == (32, DIMENSIONS)


def test_a_request_that_is_too_large_teaches_the_limit(
    one: Endpoint, clock: PausedClock, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.script = lambda asked: Said(413) if len(asked.texts) > 3 else None
    embedder.embed_documents(TEXTS)
    assert [len(asked.texts) for asked in one.asked[1:]] == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert "embedding.batch_texts" in caplog.text


def test_what_was_answered_before_a_failure_is_kept(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    one.next.append(one.right)
    one.script = lambda asked: Said(500)
    with pytest.raises(EmbedderUnavailable):
        embedder.embed_documents(TEXTS)
    one.script = None
    embedder.embed_documents(TEXTS)
    assert set(one.twice()) == {"headwater", *TEXTS[8:16]}  # the request that failed, and no other


def test_what_is_sent_is_text_that_endpoints_take(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.embed_documents(["", " \n", "\ud800!", "x" * 5000, "東京"])
    assert one.asked[1].texts == [".", "?!", "x" * 1200, "東京"]


@pytest.mark.parametrize("kind", ["openai", "cohere"])
def test_prompts_stand_before_texts_and_count(one: Endpoint, clock: PausedClock, kind: str) -> None:
    embedder = remote(one, clock, kind=kind, prompts=Prompts("query: ", "passage: "))
    assert embedder.max_tokens == 1200 - len("passage: ")
    embedder.embed_documents(["text", "", "x" * 5000])
    embedder.embed_query("text")
    embedder.embed_query("x" * 5000)
    assert [asked.texts for asked in one.asked[1:]] == [
        ["passage: text", "passage: .", "passage: " + "x" * 1191],
        ["query: text"],
        ["query: " + "x" * 1193],
    ]
    assert embedder.count_tokens(["text"]) == [4]


def test_prompts_are_in_the_fingerprint_where_they_are_set(one: Endpoint, clock: PausedClock) -> None:
    given = [None, Prompts("query: "), Prompts("", "query: "), Prompts("query: ", "passage: ")]
    prints = [remote(one, clock, prompts=prompts).fingerprint for prompts in given]
    assert len(set(prints)) == len(prints)
    assert remote(one, clock, prompts=Prompts()).fingerprint == prints[0]


def test_the_key_is_shown_nowhere(
    one: Endpoint, clock: PausedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    embedder = remote(one, clock, key="another-" + KEY)
    with pytest.raises(EmbedderUnavailable, match="invalid_api_key") as caught:
        embedder.load()
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text
    assert KEY not in "".join(traceback.format_exception(caught.value))
    model = RemoteModel("openai", one.url, "m", KEY, dimensions=DIMENSIONS)
    transport = Transport(one.url, KEY, connections=1)
    for thing in (model, transport, transport._client, transport._client.headers):
        assert KEY not in repr(thing)
    opened.append(make_remote(model))
    assert KEY not in repr(opened[-1])
    transport.close()


def test_the_fingerprint_is_of_the_model_not_of_its_address(clock: PausedClock) -> None:
    with endpoint() as one, endpoint() as other:
        made = [remote(one, clock), remote(other, clock, batch_texts=3), remote(one, clock, dimensions=16)]
        prints = [embedder.fingerprint for embedder in made]
        assert prints[0] == prints[1] != prints[2]
        cohere = remote(one, clock, kind="cohere")
        assert cohere.fingerprint != prints[0]


def test_as_many_requests_as_allowed_and_one_more_for_an_edit_and_a_question(one: Endpoint) -> None:
    embedder = remote(one, SystemClock())
    embedder.load()
    leave = threading.Event()

    def hold(asked: Asked) -> None:
        leave.wait(10)

    one.script = hold
    with ThreadPoolExecutor(10) as pool:
        bulk = [pool.submit(embedder.embed_documents, [text]) for text in TEXTS[:6]]
        until(lambda: one.under_way == AT_ONCE)
        edits = [pool.submit(embedder.embed_fresh, [text]) for text in ("an edit", "another")]
        until(lambda: one.under_way == AT_ONCE + 1)
        question = pool.submit(embedder.embed_query, "a question")
        until(lambda: one.under_way == AT_ONCE + 2)
        leave.set()
        for answer in [*bulk, *edits, question]:
            answer.result(10)
    assert one.most_under_way == AT_ONCE + 2
    assert {asked.texts[0] for asked in one.asked[1 + AT_ONCE : 3 + AT_ONCE]} & {"an edit", "another"}


def test_who_may_not_wait_long_waits_for_no_place_either(
    one: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder_module, "QUESTION_TRY_S", 0.2)
    monkeypatch.setattr(embedder_module, "FRESH_TRY_S", 0.2)
    monkeypatch.setattr(endpoint_module, "_PLACE_S", 0.0)
    embedder = remote(one, SystemClock(), timeout_s=30.0, at_once=1)
    embedder.load()
    leave = threading.Event()

    def hold(asked: Asked) -> None:
        leave.wait(20)

    one.script = hold
    with ThreadPoolExecutor(3) as pool:
        under_way = [pool.submit(embedder.embed_documents, ["bulk work"])]
        until(lambda: one.under_way == 1)
        under_way.append(pool.submit(embedder.embed_fresh, ["an edit"]))
        until(lambda: one.under_way == 2)
        under_way.append(pool.submit(embedder.embed_query, "a question"))
        until(lambda: one.under_way == 3)
        with pytest.raises(EmbedderUnavailable, match="requests before this one") as caught:
            embedder.embed_query("another question")
        with pytest.raises(EmbedderUnavailable, match="requests before this one"):
            embedder.embed_fresh(["another edit"])
        assert "embedding.concurrency" in caught.value.hint
        assert one.under_way == 3  # they were refused while the others still waited
        leave.set()
        for answer in under_way:
            answer.result(10)


def test_bulk_work_does_not_wait_for_a_place_for_ever() -> None:
    slots = Slots(1)
    assert slots.take(timeout_s=0.0)
    assert not slots.take(timeout_s=0.01)
    assert slots.take(1, timeout_s=0.0)
    for _ in range(2):
        slots.give_back()
    assert slots.take(timeout_s=-1.0)  # one that is free needs no time


def test_an_answer_that_is_being_read_holds_up_no_request(one: Endpoint) -> None:
    transport = Transport(one.url + "/embeddings", KEY, connections=1)
    caller = Caller(transport, Slots(1))
    patience = Patience(tries_s=10.0, timeout_s=5.0)
    read = threading.Event()
    call = partial(caller.call, b'{"input": ["a"]}', patience=patience, most_bytes=10_000)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call, lambda body: read.wait(10))
        until(lambda: len(one.asked) == 1)
        assert call(len) > 0
        read.set()
        assert first.result(10)
    assert one.most_under_way == 1
    transport.close()


def test_a_call_that_waited_for_a_place_is_held_back_with_the_others(one: Endpoint) -> None:
    embedder = remote(one, SystemClock(), at_once=1)
    embedder.load()
    asked_for: list[float] = []
    waiting = threading.Event()

    def busy_once(asked: Asked) -> Said:
        waiting.wait(10)
        asked_for.append(time.monotonic() + 0.5)
        return Said(429, b"", {"Retry-After": "0.5"})

    one.next.append(busy_once)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(embedder.embed_documents, [text]) for text in TEXTS[:3]]
        until(lambda: len(slots_of(embedder)._changed._waiters) == 2)  # type: ignore[attr-defined]
        waiting.set()
        for answer in answers:
            answer.result(10)
    late = [asked.at for asked in one.asked[2:]]
    assert len(late) == 3
    assert min(late) >= asked_for[0] - 0.005  # counted before the refusal was sent


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "20"}])
def test_the_gate_is_closed_before_the_place_is_free(
    one: Endpoint, clock: PausedClock, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    embedder = remote(one, clock)
    embedder.load()
    gate, slots = embedder._endpoint._caller.gate, slots_of(embedder)
    closed: list[bool] = []
    give_back = slots.give_back

    def look() -> None:
        closed.append(gate.closed_s() > 0)
        give_back()

    monkeypatch.setattr(slots, "give_back", look)
    one.next.append(Said(429, b"", headers))
    embedder.embed_documents(["a passage"])
    assert closed == [True, False]


def slots_of(embedder: RemoteEmbedder) -> Slots:
    return embedder._endpoint._caller._slots


def test_it_may_be_called_from_several_threads(one: Endpoint, clock: PausedClock) -> None:
    embedder = remote(one, clock)
    embedder.load()
    together = threading.Barrier(4)

    def meet(asked: Asked) -> None:
        together.wait(5)

    one.script = meet
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: embedder.embed_documents([text])[0], TEXTS[:4]))
    assert np.allclose(found, one.embedder.embed_documents(TEXTS[:4]), atol=1e-6)
    assert one.most_under_way == 4
