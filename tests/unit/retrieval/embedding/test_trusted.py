"""Trust is earned by what a runtime answers in its trial, and is remembered with what it was earned for."""

from __future__ import annotations

import importlib.abc
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from ingestion.errors import EmbedderRejected, EmbedderUnavailable, Misconfigured, ModelMissing
from retrieval.embedding import trusted
from retrieval.embedding.describing import describe
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.forward import ForwardPass
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.openvino_embedder import OpenVinoEmbedder
from retrieval.embedding.openvino_import import ov
from retrieval.embedding.openvino_runtime import OpenVinoRuntime
from retrieval.embedding.precision import LEAST_COSINE, Precision, PrecisionClass
from retrieval.embedding.processor import cpu_has_bf16
from retrieval.embedding.tokens import Tokens
from retrieval.embedding.trial import worst_cosine
from retrieval.embedding.vectors import checked
from retrieval.embedding.verdicts import Verdicts
from retrieval.embedding.weights import Array, WeightFiles
from tests.small_encoder import change_json, change_weights, make_small_bert

TEXTS = ["Annual leave: 30 days.", "", "The ferry leaves at dawn. " * 40]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_small_bert(tmp_path / "small")


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The worst cosine of each trial that was held."""
    held: list[float] = []
    plain = worst_cosine

    def noting(*arguments: Any) -> float:
        held.append(plain(*arguments))
        return held[-1]

    monkeypatch.setattr(trusted, "worst_cosine", noting)
    return held


@pytest.fixture
def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted, "cpu_has_bf16", lambda: False)


def made(folder: Path, caches: Path, precision: PrecisionClass = "float") -> OpenVinoEmbedder:
    return OpenVinoEmbedder(
        read_model_folder(folder),
        precision,
        digests=DigestCache(caches / "digests.json"),
        verdicts=Verdicts(caches / "trials"),
    )


def loaded(folder: Path, caches: Path, precision: PrecisionClass = "float") -> OpenVinoEmbedder:
    embedder = made(folder, caches, precision)
    embedder.load()
    return embedder


def far_off(monkeypatch: pytest.MonkeyPatch, *precisions: Precision, by: float = 1.0) -> None:
    """Let OpenVINO answer wrongly in these precisions."""
    made_right, right = OpenVinoRuntime.__init__, OpenVinoRuntime.vectors
    wrong: list[OpenVinoRuntime] = []  # themselves: the id of one that is gone may be another's

    def make(self: OpenVinoRuntime, encoder: Any, weights: Any, precision: Precision) -> None:
        made_right(self, encoder, weights, "float32" if precision == "bf16" else precision)
        if precision in precisions:
            wrong.append(self)

    def vectors(self: OpenVinoRuntime, tokens: Tokens) -> Array:
        found = right(self, tokens)
        found[:, 0] += np.float32(by if self in wrong else 0)
        return found

    monkeypatch.setattr(OpenVinoRuntime, "__init__", make)
    monkeypatch.setattr(OpenVinoRuntime, "vectors", vectors)


def test_a_trial_is_held_once(folder: Path, caches: Path, trials: list[float], no_bf16: None) -> None:
    first = loaded(folder, caches)
    assert first.description == "small, openvino, float32"
    assert first.refused == ()
    assert len(trials) == 1
    assert trials[0] > 0.999999
    loaded(folder, caches)
    assert len(trials) == 1
    loaded(folder, caches, "int8")
    assert len(trials) == 2
    assert LEAST_COSINE["int8"] < trials[1] < 0.99999
    change_weights(folder, lambda tensors: tensors["embeddings.LayerNorm.bias"].fill(0.5))
    loaded(folder, caches)
    assert len(trials) == 3


def test_bf16_is_tried_first_where_the_processor_has_it(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch, trials: list[float]
) -> None:
    monkeypatch.setattr(trusted, "cpu_has_bf16", lambda: True)
    far_off(monkeypatch)
    assert loaded(folder, caches).description == "small, openvino, bf16"


@pytest.mark.parametrize(("precision", "hint"), [("bf16", "bf16"), ("float32", "f32"), ("int8", "f32")])
def test_openvino_is_asked_for_the_precision(
    folder: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, hint: str
) -> None:
    """Whatever it settles for: a processor without bf16 gets float32."""
    asked: list[Any] = []
    compile_model = ov.Core.compile_model

    def noting(core: Any, graph: Any, device: str, properties: dict[str, Any]) -> Any:
        asked.append(properties["INFERENCE_PRECISION_HINT"])
        return compile_model(core, graph, device, properties)

    monkeypatch.setattr(ov.Core, "compile_model", noting)
    model = read_model_folder(folder)
    encoder = describe(model)
    made = OpenVinoRuntime(encoder, WeightFiles(model, encoder).read(), precision)
    assert asked == [hint]
    assert made.computes_in == (hint if cpu_has_bf16() else "f32")


def test_bf16_that_is_far_off_falls_back_to_float32_and_says_so_once(
    folder: Path,
    caches: Path,
    monkeypatch: pytest.MonkeyPatch,
    trials: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(trusted, "cpu_has_bf16", lambda: True)
    far_off(monkeypatch, "bf16")
    embedder = loaded(folder, caches)
    embedder.load()
    embedder.embed_documents(TEXTS)
    assert embedder.description == "small, openvino, float32"
    assert "bf16 was too far from float32" in embedder.refused[0]
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "openvino in float32: openvino in bf16 was too far" in warning.getMessage()
    assert len(trials) == 2
    again = loaded(folder, caches)  # the verdict on bf16 is remembered too
    assert again.description == "small, openvino, float32"
    assert len(trials) == 2


def test_float32_that_is_far_off_falls_back_to_the_plain_forward_pass(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch, no_bf16: None
) -> None:
    right = loaded(folder, caches).embed_documents(TEXTS)
    far_off(monkeypatch, "float32", by=0.05)
    embedder = loaded(folder, caches / "other")
    assert embedder.description == "small, numpy, float32"
    np.testing.assert_allclose(embedder.embed_documents(TEXTS), right, atol=2e-6)


def test_int8_that_is_far_off_is_refused_not_replaced(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far_off(monkeypatch, "int8")
    embedder = made(folder, caches, "int8")
    with pytest.raises(Misconfigured, match="cannot be used in int8") as caught:
        embedder.load()
    assert "embedding.precision" in caught.value.hint
    assert not embedder.loaded


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_an_openvino_that_cannot_be_imported(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch, precision: PrecisionClass
) -> None:
    monkeypatch.setitem(sys.modules, "retrieval.embedding.openvino_runtime", None)
    embedder = made(folder, caches, precision)
    if precision == "int8":
        with pytest.raises(Misconfigured, match="openvino cannot be imported"):
            embedder.load()
        return
    embedder.load()
    assert embedder.description == "small, numpy, float32"
    assert "openvino cannot be imported" in embedder.refused[0]


def test_an_openvino_that_cannot_compile(folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("Check 'supported' failed at plugin.cpp:1:\nno such kernel")

    monkeypatch.setattr(OpenVinoRuntime, "__init__", refuse)
    embedder = loaded(folder, caches)
    assert embedder.description == "small, numpy, float32"
    assert "Check 'supported' failed" in embedder.refused[0]


def test_an_openvino_that_does_not_know_its_processor(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise RuntimeError("no device CPU")

    monkeypatch.setattr("retrieval.embedding.openvino_runtime.version", refuse)
    embedder = loaded(folder, caches)
    assert embedder.description == "small, numpy, float32"
    assert "no device CPU" in embedder.refused[0]


@pytest.mark.parametrize("fault", [AttributeError, ValueError, SystemError, SystemExit, RuntimeError])
def test_a_broken_openvino_is_done_without(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    class Broken(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "retrieval.embedding.openvino_runtime":
                raise fault("made for another system")

    monkeypatch.delitem(sys.modules, "retrieval.embedding.openvino_runtime")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    embedder = loaded(folder, caches)
    assert embedder.description == "small, numpy, float32"
    assert "made for another system" in embedder.refused[0]


def test_the_trial_judges_what_an_index_is_given(
    folder: Path, caches: Path, trials: list[float], monkeypatch: pytest.MonkeyPatch, no_bf16: None
) -> None:
    """The value that is wrong is a thirtieth of the whole vector, and a fourth of what is left of it."""
    far_off(monkeypatch, "float32", by=0.002)
    loaded(folder, caches)
    change_json(folder / "config_sentence_transformers.json", truncate_dim=2)
    loaded(folder, caches)
    assert trials[1] < trials[0]


def test_last_resort_is_not_paid_for_with_another_trial(
    folder: Path, caches: Path, trials: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "retrieval.embedding.openvino_runtime", None)
    texts: list[int] = []
    plain = ForwardPass.vectors

    def noting(self: ForwardPass, tokens: Tokens) -> Array:
        texts.append(len(tokens.ids))
        return plain(self, tokens)

    monkeypatch.setattr(ForwardPass, "vectors", noting)
    loaded(folder, caches)
    assert texts == [1]


def test_weights_that_are_no_numbers_are_refused(folder: Path, caches: Path) -> None:
    change_weights(folder, lambda tensors: tensors["embeddings.LayerNorm.weight"].fill(np.nan))
    with pytest.raises(ModelMissing, match="NaN"):
        loaded(folder, caches)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"worst_cosine": 7}', b"\xff\xff"])
def test_a_damaged_verdict_costs_another_trial(
    folder: Path, caches: Path, trials: list[float], damage: bytes, no_bf16: None
) -> None:
    loaded(folder, caches)
    (verdict,) = (caches / "trials").iterdir()
    whole = verdict.read_bytes()
    verdict.write_bytes(damage)
    loaded(folder, caches)
    assert len(trials) == 2
    assert verdict.read_bytes() == whole


def test_a_verdict_on_something_else_does_not_count(
    folder: Path, caches: Path, trials: list[float], no_bf16: None
) -> None:
    loaded(folder, caches)
    (verdict,) = (caches / "trials").iterdir()
    content = json.loads(verdict.read_text())
    content["key"][1] = "openvino 1"
    verdict.write_text(json.dumps(content))
    loaded(folder, caches)
    assert len(trials) == 2


@pytest.mark.parametrize("module", ["openvino_graph", "openvino_runtime", "trial"])
def test_a_verdict_on_other_code_does_not_count(
    folder: Path,
    caches: Path,
    trials: list[float],
    no_bf16: None,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
) -> None:
    loaded(folder, caches)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read(file) + b"#" * (file.name == f"{module}.py"))
    loaded(folder, caches)
    assert len(trials) == 2


def test_a_cache_that_is_missing_costs_another_trial(
    folder: Path, caches: Path, trials: list[float], no_bf16: None
) -> None:
    loaded(folder, caches)
    shutil.rmtree(caches)
    loaded(folder, caches)
    assert len(trials) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, caches: Path, trials: list[float], no_bf16: None
) -> None:
    caches.write_text("a file where the folder should be")
    for times in (1, 2):
        assert loaded(folder, caches).embed_documents(TEXTS).shape == (3, 32)
        assert len(trials) == times


def test_two_processes_may_hold_the_trial_at_once(folder: Path, caches: Path) -> None:
    program = f"""
from pathlib import Path
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.openvino_embedder import OpenVinoEmbedder
from retrieval.embedding.verdicts import Verdicts
caches = Path({str(caches)!r})
embedder = OpenVinoEmbedder(read_model_folder(Path({str(folder)!r})),
    digests=DigestCache(caches / "digests.json"), verdicts=Verdicts(caches / "trials"))
embedder.load()
print(embedder.description)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert len({one.communicate(timeout=60)[0] for one in running}) == 1
    assert [one.returncode for one in running] == [0, 0]
    (verdict,) = (caches / "trials").iterdir()
    assert json.loads(verdict.read_text())["worst_cosine"] > 0.9999


def test_a_text_beyond_the_limit_is_cut_there(folder: Path, caches: Path) -> None:
    embedder = loaded(folder, caches)
    words = ["ferry"] * (embedder.max_tokens - 2)
    assert embedder.count_tokens([" ".join(words)]) == [embedder.max_tokens]
    at, beyond, below = embedder.embed_documents(
        [" ".join(words), " ".join([*words, "harbour"]), " ".join(words[:-1])]
    )
    np.testing.assert_allclose(at, beyond, atol=1e-6)
    assert not np.allclose(at, below, atol=1e-6)


def test_a_tokenizer_that_is_missing_or_of_another_model(folder: Path, caches: Path) -> None:
    small = {"vocab_size": 50}
    change_json(folder / "config.json", **small)
    change_weights(
        folder,
        lambda tensors: tensors.update(
            {"embeddings.word_embeddings.weight": tensors["embeddings.word_embeddings.weight"][:50].copy()}
        ),
    )
    with pytest.raises(ModelMissing, match=r"tokenizer\.json has 30522 tokens, and the model knows 50"):
        loaded(folder, caches)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelMissing, match=r"tokenizer\.json is missing"):
        made(folder, caches)


def test_a_token_that_was_added_for_nobody_is_refused_where_it_occurs(folder: Path, caches: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["ferryboat"])
    tokenizer.save(str(folder / "tokenizer.json"))
    embedder = loaded(folder, caches)
    assert embedder.embed_query("ferry").shape == (32,)
    with pytest.raises(EmbedderRejected, match=r"tokenizer\.json"):
        embedder.embed_query("the ferryboat")


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_that_leaves_no_room_for_text_is_refused(folder: Path, caches: Path, limit: int) -> None:
    change_json(folder / "sentence_bert_config.json", max_seq_length=limit)
    with pytest.raises(ModelMissing, match=f"{limit} tokens .max_seq_length., 2 of which are special"):
        loaded(folder, caches)


@pytest.mark.parametrize(
    ("values", "fault"), [([[0, 0]], "all zero"), ([[1, np.nan]], "NaN"), ([[1, 2, 3]], "its shape is")]
)
def test_what_is_no_vector_is_refused_with_the_reason(values: Any, fault: str) -> None:
    with pytest.raises(EmbedderRejected, match=fault):
        checked(np.array(values, dtype=np.float32), (1, 2))


def test_a_text_that_always_fails_is_given_up_and_takes_no_other_along(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch, no_bf16: None
) -> None:
    embedder = loaded(folder, caches)
    wanted = embedder.embed_documents(["ferry", "harbour"])
    compute = OpenVinoRuntime.vectors

    def fail(self: OpenVinoRuntime, tokens: Tokens) -> Array:
        if tokens.ids.shape[1] > 50:
            raise RuntimeError("no kernel for this\nat plugin.cpp:1")
        return compute(self, tokens)

    monkeypatch.setattr(OpenVinoRuntime, "vectors", fail)
    with pytest.raises(EmbedderRejected, match="no kernel for this") as caught:
        embedder.embed_documents(["ferry", "harbour " * 60])
    assert "plugin" not in caught.value.message
    np.testing.assert_allclose(embedder.embed_documents(["ferry", "harbour"]), wanted, atol=1e-6)


def test_a_batch_that_fails_once_is_computed_text_by_text(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch, no_bf16: None
) -> None:
    embedder = loaded(folder, caches)
    wanted = embedder.embed_documents(TEXTS)
    compute = OpenVinoRuntime.vectors

    def fail(self: OpenVinoRuntime, tokens: Tokens) -> Array:
        if len(tokens.ids) > 1:
            raise RuntimeError("too much at once")
        return compute(self, tokens)

    monkeypatch.setattr(OpenVinoRuntime, "vectors", fail)
    np.testing.assert_allclose(embedder.embed_documents(TEXTS), wanted, atol=1e-5)


def test_an_openvino_that_fails_later_is_tried_again(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = loaded(folder, caches)

    def fail(*_: object) -> None:
        raise RuntimeError("out of something")

    with monkeypatch.context() as patch:
        patch.setattr(OpenVinoRuntime, "vectors", fail)
        patch.setattr(ForwardPass, "vectors", fail)
        with pytest.raises(EmbedderUnavailable, match="out of something"):
            embedder.embed_query("ferry")
    assert embedder.embed_query("ferry").shape == (32,)
