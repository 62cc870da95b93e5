"""What every embedder promises, checked on each: the one without a model, the real model in each runtime, and
a server.

A runtime is loaded once for the module, with every way out to the network closed. The server is a real
OpenAI-compatible one, started here, on the same model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingestion.errors import EmbedderUnavailable, Misconfigured
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.json_file import JsonFile
from retrieval.embedding.models import DEFAULT_MODEL, find_model, make_embedder
from retrieval.embedding.port import Embedder, Vectors
from retrieval.embedding.remote.embedder import RemoteEmbedder
from retrieval.embedding.remote.making import RemoteModel, make_remote
from retrieval.embedding.verdicts import Verdicts
from tests.servers import infinity
from tests.servers.process import NotInstalled, missing

# Two batches of one text may round differently in bf16: eight bits of mantissa, six layers.
SAME = 0.998
KEY = "sk-of-the-contract"
DIMENSIONS = 384  # of the default model

LEAVE = "Annual leave: every employee may take 30 days. The manager grants it within a week."
FERRY = "The ferry leaves the northern harbour at dawn and returns before the tide."


@contextlib.contextmanager
def no_network() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("an embedder asked the network for something")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@dataclasses.dataclass(frozen=True)
class Kind:
    """The settings of an embedder."""

    model: str = DEFAULT_MODEL
    runtime: str = "auto"
    precision: str = "float"


KINDS = {
    "hashing": Kind("hashing"),
    "sentence-transformers": Kind(runtime="sentence-transformers"),
    "openvino": Kind(runtime="openvino"),
    "openvino-int8": Kind(runtime="openvino", precision="int8"),
    "numpy": Kind(runtime="openvino"),
}
ENDPOINT = "endpoint"


@contextlib.contextmanager
def system_of(kind: str) -> Iterator[None]:
    """For numpy, one that openvino has no wheel for."""
    with pytest.MonkeyPatch.context() as patch:
        if kind == "numpy":
            patch.setitem(sys.modules, "retrieval.embedding.openvino_runtime", None)
        yield


def make(kind: str, caches: Path) -> Embedder:
    settings = KINDS[kind]
    return make_embedder(
        settings.model,
        settings.runtime,
        precision=settings.precision,
        digests=DigestCache(caches / "digests.json"),
        verdicts=Verdicts(caches / "trials"),
    )


@pytest.fixture(scope="module", params=[*KINDS, ENDPOINT])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    if request.param == ENDPOINT:
        remote = at(request.getfixturevalue("server"))
        yield checked(remote)
        remote.close()
        return
    made = make(request.param, tmp_path_factory.mktemp("cache"))
    spinning = os.environ.get("GOMP_SPINCOUNT")
    with system_of(request.param), no_network():
        checked(made)
    assert os.environ.get("GOMP_SPINCOUNT") == spinning  # set while torch is imported, and put back
    yield made


def checked(made: Embedder) -> Embedder:
    """The embedder, loaded; what describes it was known before."""
    described = (made.fingerprint, made.dimensions, made.max_tokens, made.count_tokens([LEAVE]))
    assert made.loaded == isinstance(made, HashingEmbedder)
    made.load()
    made.load()
    assert made.loaded
    assert described == (made.fingerprint, made.dimensions, made.max_tokens, made.count_tokens([LEAVE]))
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server of the default model."""
    try:
        infinity.environment()
    except NotInstalled as fault:
        missing(fault)
    with infinity.serving(find_model(DEFAULT_MODEL), tmp_path_factory.mktemp("server"), KEY) as url:
        yield url


def at(url: str, key: str = KEY) -> RemoteEmbedder:
    model = RemoteModel("openai", url, infinity.SERVED_AS, key, dimensions=DIMENSIONS, batch_texts=512)
    return make_remote(model)


def cosine(left: Vectors, right: Vectors) -> float:
    return float(left @ right)


def assert_unit(vectors: Vectors, rows: int, embedder: Embedder) -> None:
    assert vectors.shape == (rows, embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_vectors_have_the_promised_shape(embedder: Embedder) -> None:
    assert_unit(embedder.embed_documents([LEAVE, FERRY]), 2, embedder)
    assert_unit(embedder.embed_documents([]), 0, embedder)
    query = embedder.embed_query("How many days of leave?")
    assert query.shape == (embedder.dimensions,)
    assert_unit(query.reshape(1, -1), 1, embedder)


def test_what_is_alike_is_near(embedder: Embedder) -> None:
    leave, ferry = embedder.embed_documents([LEAVE, FERRY])
    question = embedder.embed_query("how many days of annual leave may an employee take")
    assert cosine(question, leave) > cosine(question, ferry) + 0.2


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\x00",
        "\ud800",
        "half \udcff a pair",
        "\U0001f9ed",
        "東京都の文書",
        "a" * 5_000,
        "word " * 5_000,
    ],
    ids=["empty", "space", "nul", "surrogate", "undecodable", "emoji", "cjk", "one-word", "too-long"],
)
def test_any_text_has_a_vector_and_a_count(embedder: Embedder, text: str) -> None:
    assert_unit(embedder.embed_documents([text]), 1, embedder)
    assert_unit(embedder.embed_query(text).reshape(1, -1), 1, embedder)
    assert embedder.count_tokens([text])[0] >= (2 if embedder.call_limits is None else 0)


def test_a_text_has_one_vector_whatever_is_beside_it(embedder: Embedder) -> None:
    others = [f"{FERRY} {'Passengers wait. ' * (number * 3)}" for number in range(9)]
    alone = embedder.embed_documents([LEAVE])[0]
    beside = embedder.embed_documents([*others[:5], LEAVE, *others[5:]])
    assert cosine(alone, beside[5]) > SAME
    for row, text in zip((0, 9), (others[0], others[8]), strict=True):
        assert cosine(beside[row], embedder.embed_documents([text])[0]) > SAME
    assert np.array_equal(alone, embedder.embed_documents([LEAVE])[0])


def test_text_up_to_the_limit_is_seen_whole(embedder: Embedder) -> None:
    filler = ["leave"] * embedder.max_tokens
    while embedder.count_tokens([" ".join([*filler, "ferry"])])[0] > embedder.max_tokens:
        filler.pop()
    with_it, without_it = embedder.embed_documents(
        [" ".join([*filler, "ferry"]), " ".join([*filler, "leave"])]
    )
    assert not np.array_equal(with_it, without_it)


def test_counts_are_of_the_whole_text(embedder: Embedder) -> None:
    short, long = embedder.count_tokens(["one two three", "one two three " * 1000])
    assert short >= 5  # its own special tokens too, where it has any
    assert long > 2900
    assert embedder.count_tokens([]) == []


def test_ten_thousand_texts_at_once(embedder: Embedder) -> None:
    words = ["leave", "ferry", "harbour", "week", "tide"]
    pick = random.Random(7)
    number = 1_000 if ", numpy, " in embedder.description else 10_000  # the last resort takes half a minute
    texts = [pick.choice(words) for _ in range(number)]
    vectors = embedder.embed_documents(texts)
    assert_unit(vectors, len(texts), embedder)
    assert len(embedder.count_tokens(texts)) == len(texts)
    single = dict(zip(words, embedder.embed_documents(words), strict=True))
    for row in pick.sample(range(len(texts)), 50):
        assert cosine(vectors[row], single[texts[row]]) > SAME


def test_threads_may_share_it(embedder: Embedder) -> None:
    texts = [f"{LEAVE} {'Again and again. ' * number}" for number in range(8)]
    alone = embedder.embed_documents(texts)
    question = embedder.embed_query(FERRY)
    counts = embedder.count_tokens(texts)
    start = threading.Barrier(6)

    def use(kind: int) -> None:
        start.wait()
        for row, text in enumerate(texts):
            if kind % 3 == 0:
                assert cosine(embedder.embed_documents([text])[0], alone[row]) > SAME
            elif kind % 3 == 1:
                assert cosine(embedder.embed_query(FERRY), question) > SAME
            else:
                assert embedder.count_tokens(texts) == counts

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(use, range(6)))


def test_what_people_read_says_what_it_is(embedder: Embedder) -> None:
    assert embedder.description
    assert "/" not in embedder.description
    assert len(embedder.fingerprint) == 64


@pytest.fixture(scope="module")
def plain() -> Any:
    """The library itself, in float32: the floor under every runtime of the default model."""
    import torch
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(find_model(DEFAULT_MODEL)),
        device="cpu",
        local_files_only=True,
        model_kwargs={"dtype": torch.float32},
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hashing"])
def test_the_model_agrees_with_the_library_and_the_count_with_its_tokenizer(
    kind: str, plain: Any, tmp_path: Path
) -> None:
    embedder = make(kind, tmp_path)
    texts = [LEAVE, FERRY, "", "word " * 400]
    expected = plain.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    with system_of(kind):
        found = embedder.embed_documents(texts)
    assert f", {kind.split('-int8')[0]}, " in embedder.description
    assert (np.einsum("ij,ij->i", expected, found) > 0.99).all()
    counted = [len(plain.tokenizer(text, truncation=False, verbose=False)["input_ids"]) for text in texts]
    assert embedder.count_tokens(texts) == counted
    assert embedder.max_tokens == plain.max_seq_length
    assert embedder.dimensions == plain.get_embedding_dimension()


def test_runtimes_of_one_class_may_share_an_index_and_int8_may_not(tmp_path: Path) -> None:
    prints = {kind: make(kind, tmp_path).fingerprint for kind in KINDS}
    assert prints["openvino"] == prints["numpy"] == prints["sentence-transformers"]
    assert len(set(prints.values())) == 3


def test_a_server_of_the_same_model_gives_the_same_vectors(server: str, tmp_path: Path) -> None:
    local = make("openvino", tmp_path)
    texts = [LEAVE, FERRY, "word " * 100, "東京都の文書"]
    remote = at(server)
    billed: list[int] = []
    remote.on_billed = billed.append
    found = remote.embed_documents(texts)
    assert (np.einsum("ij,ij->i", local.embed_documents(texts), found) > SAME).all()
    assert billed[0] > 0
    remote.close()


def test_a_server_that_refuses_the_key(server: str) -> None:
    remote = at(server, "sk-of-somebody-else")
    with pytest.raises(EmbedderUnavailable, match="refused the key") as caught:
        remote.load()
    assert "embedding.api_key" in caught.value.hint
    remote.close()


def test_dimensions_are_learned_from_a_server_once(server: str, tmp_path: Path) -> None:
    remembered = JsonFile(tmp_path / "dimensions.json")
    model = RemoteModel("openai", server, infinity.SERVED_AS, KEY)
    for _ in range(2):
        remote = make_remote(model, remembered=remembered)
        assert remote.dimensions == DIMENSIONS
        remote.close()
    away = dataclasses.replace(model, key="sk-of-somebody-else")
    assert make_remote(away, remembered=remembered).dimensions == DIMENSIONS
    with pytest.raises(Misconfigured, match="refused the key") as caught:
        make_remote(away, remembered=JsonFile(tmp_path / "other.json"))
    assert "embedding.dimensions" in caught.value.hint
