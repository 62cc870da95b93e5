"""Which runtime is taken, and that the choice says why."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.errors import Misconfigured, ModelMissing, ModelNotServed
from retrieval.embedding import examining, openvino_embedder
from retrieval.embedding import machine as machine_module
from retrieval.embedding.choice import Asked, Choice, choose
from retrieval.embedding.describing import describe
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.installing import install_command
from retrieval.embedding.machine import Machine, this_machine
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.models import choose_runtime, make_embedder
from retrieval.embedding.openvino_embedder import OpenVinoEmbedder
from retrieval.embedding.precision import PrecisionClass
from retrieval.embedding.sentence_transformers import SentenceTransformersEmbedder
from tests.small_encoder import change_json, change_weights, make_small_bert

ALL = Machine(gpu=True, torch_for_gpu=True, sentence_transformers=True, openvino=True, bf16=True, vnni=True)
NO_GPU = dataclasses.replace(ALL, gpu=False)
LIGHT = Machine(
    gpu=False, torch_for_gpu=False, sentence_transformers=False, openvino=True, bf16=False, vnni=False
)
STRANGE = ModelNotServed("no", reason="it asks for the architecture 'modernbert'", hint="another")

COMMAND = install_command("sentence-transformers")
EMBEDDING_NORM = "embeddings.LayerNorm.weight"


def chosen(
    machine: Machine,
    runtime: str = "auto",
    precision: PrecisionClass = "float",
    not_served: ModelNotServed | None = None,
) -> Choice:
    return choose(Asked("some-model", runtime, precision, not_served), machine)


@pytest.mark.parametrize(
    ("machine", "not_served", "runtime", "precision", "why"),
    [
        (ALL, None, "sentence-transformers", "bf16 where the GPU has it", "there is a GPU"),
        (ALL, STRANGE, "sentence-transformers", "bf16 where the GPU has it", "there is a GPU"),
        (NO_GPU, None, "openvino", "bf16", "without torch"),
        (NO_GPU, STRANGE, "sentence-transformers", "bf16", "the architecture 'modernbert'"),
        (dataclasses.replace(ALL, torch_for_gpu=False), None, "openvino", "bf16", "without torch"),
        (
            dataclasses.replace(ALL, torch_for_gpu=False),
            STRANGE,
            "sentence-transformers",
            "bf16",
            "modernbert",
        ),
        (LIGHT, None, "openvino", "float32", "without torch"),
        (dataclasses.replace(LIGHT, gpu=True), None, "openvino", "float32", "without torch"),
        (dataclasses.replace(LIGHT, openvino=False), None, "openvino", "float32", "numpy does it"),
    ],
)
def test_auto(
    machine: Machine, not_served: ModelNotServed | None, runtime: str, precision: str, why: str
) -> None:
    choice = chosen(machine, not_served=not_served)
    assert (choice.runtime, choice.precision) == (runtime, precision)
    assert why in choice.why
    assert [other.runtime for other in choice.alternatives] == [
        "openvino" if runtime == "sentence-transformers" else "sentence-transformers"
    ]


def test_what_only_sentence_transformers_computes_needs_it_and_names_the_one_command() -> None:
    for machine in (LIGHT, dataclasses.replace(LIGHT, gpu=True, torch_for_gpu=True)):
        with pytest.raises(Misconfigured, match="modernbert") as caught:
            chosen(machine, not_served=STRANGE)
        assert COMMAND in caught.value.hint
    with pytest.raises(Misconfigured, match="not installed"):
        chosen(LIGHT, "sentence-transformers")
    (other,) = chosen(LIGHT).alternatives
    assert COMMAND in other.note


def test_a_setting_is_obeyed_or_refused() -> None:
    assert chosen(ALL, "openvino").runtime == "openvino"
    assert "embedding.runtime" in chosen(NO_GPU, "sentence-transformers").why
    with pytest.raises(ModelNotServed) as caught:
        chosen(ALL, "openvino", not_served=STRANGE)
    assert caught.value is STRANGE


def test_int8_is_openvinos() -> None:
    for runtime in ("auto", "openvino"):
        choice = chosen(ALL, runtime, "int8")
        assert (choice.runtime, choice.precision) == ("openvino", "int8")
        assert "VNNI" not in choice.why
        assert "embedding.precision to float" in choice.alternatives[0].note
    assert "precision" not in chosen(NO_GPU).alternatives[0].note
    assert "int8 is no quicker" in chosen(LIGHT, precision="int8").why
    with pytest.raises(ModelNotServed):
        chosen(ALL, precision="int8", not_served=STRANGE)
    with pytest.raises(Misconfigured, match="int8"):
        chosen(ALL, "sentence-transformers", "int8")
    for runtime in ("auto", "openvino"):
        with pytest.raises(Misconfigured, match="openvino is not installed") as caught:
            chosen(dataclasses.replace(ALL, openvino=False), runtime, "int8")
        assert "embedding.precision" in caught.value.hint


def test_a_model_of_another_family_goes_to_sentence_transformers(tmp_path: Path) -> None:
    folder = make_small_bert(tmp_path / "small")
    assert isinstance(make_embedder(str(folder), machine=NO_GPU), OpenVinoEmbedder)
    change_json(folder / "config.json", hidden_act="gelu_10")
    assert isinstance(make_embedder(str(folder), machine=NO_GPU), SentenceTransformersEmbedder)
    choice = choose_runtime(str(folder), machine=NO_GPU)
    assert choice is not None
    assert "the activation 'gelu_10'" in choice.why
    with pytest.raises(Misconfigured, match="gelu_10"):
        make_embedder(str(folder), machine=LIGHT)
    with pytest.raises(ModelNotServed, match="gelu_10"):
        make_embedder(str(folder), "openvino", machine=NO_GPU)


def test_weights_with_other_names_go_to_sentence_transformers(tmp_path: Path) -> None:
    folder = make_small_bert(tmp_path / "small")
    change_weights(folder, lambda tensors: tensors.update({"strange": tensors.pop(EMBEDDING_NORM)}))
    assert isinstance(make_embedder(str(folder), machine=NO_GPU), SentenceTransformersEmbedder)
    choice = choose_runtime(str(folder), machine=NO_GPU)
    assert choice is not None
    assert f"holds no tensor {EMBEDDING_NORM}" in choice.why
    with pytest.raises(ModelNotServed, match="no tensor"):
        make_embedder(str(folder), "openvino", machine=NO_GPU)


def test_a_folder_is_examined_again_only_when_a_file_looks_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_small_bert(tmp_path / "small")
    described: list[object] = []

    def noting(model: ModelFolder) -> Encoder:
        described.append(model)
        return describe(model)

    monkeypatch.setattr(examining, "describe", noting)
    monkeypatch.setattr(openvino_embedder, "describe", noting)
    for _ in range(2):
        choose_runtime(str(folder), machine=NO_GPU)
        make_embedder(str(folder), machine=NO_GPU)
    assert len(described) == 1
    for file, change in (("1_Pooling/config.json", {"x": 1}), ("tokenizer_config.json", {"x": 1})):
        before = len(described)
        change_json(folder / file, **change)
        choose_runtime(str(folder), machine=NO_GPU)
        assert len(described) == before + 1
    change_json(folder / "config.json", hidden_act="gelu_10")
    for _ in range(2):
        with pytest.raises(ModelNotServed, match="gelu_10"):
            make_embedder(str(folder), "openvino", machine=NO_GPU)


@pytest.mark.parametrize("runtime", ["auto", "openvino", "sentence-transformers"])
def test_weights_that_were_cut_short_are_found_by_the_choice(tmp_path: Path, runtime: str) -> None:
    folder = make_small_bert(tmp_path / "small")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelMissing, match=r"model\.safetensors.*cut short"):
        choose_runtime(str(folder), runtime, machine=NO_GPU)


def test_weights_that_contradict_the_configuration_are_found_by_the_choice(tmp_path: Path) -> None:
    folder = make_small_bert(tmp_path / "small")
    change_json(folder / "config.json", intermediate_size=65)
    with pytest.raises(ModelMissing, match=r"model\.safetensors.*has the shape"):
        choose_runtime(str(folder), machine=NO_GPU)


def test_with_sentence_transformers_asked_for_no_other_runtime_decides(tmp_path: Path) -> None:
    folder = make_small_bert(tmp_path / "small")
    change_json(folder / "config.json", intermediate_size=65)
    change_json(folder / "sentence_bert_config.json", max_seq_length=130)
    choice = choose_runtime(str(folder), "sentence-transformers", machine=NO_GPU)
    assert choice is not None
    assert "130 tokens" in choice.alternatives[0].note
    assert isinstance(make_embedder(str(folder), machine=NO_GPU), SentenceTransformersEmbedder)
    with pytest.raises(ModelNotServed, match="130 tokens"):
        make_embedder(str(folder), "openvino", machine=NO_GPU)


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A machine with a GPU, which notes each look at it."""
    looks: list[str] = []

    def look() -> bool:
        looks.append("gpu")
        return True

    monkeypatch.setattr(machine_module, "_has_gpu", look)
    this_machine.cache_clear()
    yield looks
    this_machine.cache_clear()


@pytest.mark.parametrize(
    ("version", "usable"), [("2.9.0+cpu", False), ("2.9.0+cu128", True), ("2.9.0", True)]
)
def test_torch_for_the_processor_alone_uses_no_gpu(
    looking: list[str], monkeypatch: pytest.MonkeyPatch, version: str, usable: bool
) -> None:
    monkeypatch.setattr(machine_module, "_is_installed", lambda _: True)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    assert (this_machine().gpu, this_machine().torch_for_gpu) == (usable, usable)
    assert looking == ["gpu"] * usable


@pytest.mark.parametrize("missing", ["torch", "sentence_transformers"])
def test_a_gpu_that_nothing_could_use_is_not_looked_for(
    looking: list[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(machine_module, "_is_installed", lambda package: package != missing)
    assert not this_machine().gpu
    assert not looking


def test_a_command_is_this_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"pip": object()}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    monkeypatch.setattr(sys, "executable", "/some where/python")
    assert install_command("x", "--no-deps") == "'/some where/python' -m pip install --no-deps x"
    found.clear()
    assert install_command("x") == "uv pip install --python '/some where/python' x"


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(Misconfigured, match="'int4'"):
        make_embedder("hashing", precision="int4")
    assert choose_runtime("hashing") is None


def test_this_machine_is_looked_at_without_importing_anything() -> None:
    program = """
import sys
from retrieval.embedding.machine import this_machine
machine = this_machine()
assert machine.openvino and machine.torch_for_gpu in (True, False) and machine.sentence_transformers
assert not sys.modules.keys() & {"torch", "openvino", "sentence_transformers", "numpy"}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert not this_machine().gpu or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def test_embedding_with_the_default_settings_imports_no_torch_and_tells_nobody(tmp_path: Path) -> None:
    """openvino would report its import; a socket that is opened ends the program here."""
    home = tmp_path / "home"
    home.mkdir()
    program = f"""
import socket, sys
from pathlib import Path
def refuse(*_):
    raise SystemExit("it asked the network for something")
socket.socket.connect = socket.getaddrinfo = refuse
from ingestion.records import Lane
from ops.settings import load
from ops.wiring import open_parts
parts = open_parts(load(arguments={{"daemon.data": Path({str(tmp_path)!r})}}, environ={{}}))
assert parts.batcher.embed(["hello world"], Lane.FRESH).shape == (1, 384)
assert parts.batcher.embed_query("hello").shape == (384,)
assert "openvino" in parts.embedder.description, parts.embedder.description
heavy = sys.modules.keys() & {{"torch", "transformers", "sentence_transformers", "openvino_telemetry"}}
assert not heavy, heavy
parts.close()
"""
    environ = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environ)
    assert list(home.iterdir()) == []
    assert sorted(one.name for one in (tmp_path / "cache" / "headwater").iterdir()) == [
        "digests.json",
        "trials",
    ]
