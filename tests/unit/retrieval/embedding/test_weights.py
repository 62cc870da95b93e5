"""Weights are checked against the configuration by their headers, and read whatever they are stored as."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ingestion.errors import ModelMissing, ModelNotServed
from retrieval.embedding.describing import describe
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.tensor_files import TensorFiles
from retrieval.embedding.weights import WeightFiles, Weights, relative_buckets
from tests.small_encoder import change_json, change_weights, make_small_bert

QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_small_bert(tmp_path / "small")


def opened(folder: Path) -> WeightFiles:
    model = read_model_folder(folder)
    return WeightFiles(model, describe(model))


def read(folder: Path) -> Weights:
    return opened(folder).read()


def with_prefix(tensors: dict[str, Any]) -> None:
    for name in list(tensors):
        tensors[f"bert.{name}"] = tensors.pop(name)
    tensors["bert.pooler.dense.weight"] = np.zeros((32, 32), dtype=np.float32)


def test_weights_are_what_the_file_holds(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    weights = read(folder)
    assert np.array_equal(weights.layers[1].query.weight, tensors[QUERY])
    types = tensors["embeddings.token_type_embeddings.weight"]
    assert np.array_equal(weights.positions, tensors["embeddings.position_embeddings.weight"] + types[0])


def test_names_may_have_the_prefix_of_the_architecture(folder: Path) -> None:
    before = read(folder)
    change_weights(folder, with_prefix)
    assert np.array_equal(read(folder).words, before.words)


def test_the_oldest_folders_call_scale_and_shift_gamma_and_beta(folder: Path) -> None:
    before = read(folder)

    def renamed(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )
            tensors[f"bert.{old}"] = tensors.pop(name)

    change_weights(folder, renamed)
    after = read(folder)
    assert np.array_equal(after.embedding_norm.scale, before.embedding_norm.scale)
    assert np.array_equal(after.layers[1].outer_norm.shift, before.layers[1].outer_norm.shift)


def test_names_that_nobody_foresaw_are_left_to_another_runtime(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({f"model.{QUERY}": tensors.pop(QUERY)}))
    with pytest.raises(ModelNotServed, match=rf"model\.safetensors holds no tensor {QUERY}"):
        opened(folder)


def test_halves_are_read_as_floats(folder: Path) -> None:
    before = read(folder).words

    def halved(tensors: dict[str, Any]) -> None:
        for name, values in tensors.items():
            tensors[name] = values.astype(np.float16)

    change_weights(folder, halved)
    after = read(folder).words
    assert after.dtype == np.float32
    assert np.array_equal(after, before.astype(np.float16).astype(np.float32))


def test_bf16_is_the_upper_half_of_a_float32(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3e38, 1e-30], dtype=np.float32)
    body = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, len(body)]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + body)
    found = TensorFiles([tmp_path / "x.safetensors"]).read("x")
    np.testing.assert_allclose(found, values, rtol=2**-7)
    assert np.array_equal(found.view(np.uint32) & 0xFFFF, np.zeros(4))


@pytest.mark.parametrize("kept", [0, 5, 8, 200, -1, -100_000])
def test_weights_that_are_cut_short_are_named(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelMissing, match=r"model\.safetensors") as caught:
        opened(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "header", [b"[]", b"{", b'{"x": 1}', b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}']
)
def test_a_header_without_sense_is_named(folder: Path, header: bytes) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    with pytest.raises(ModelMissing, match=r"model\.safetensors"):
        opened(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda tensors: tensors.update({QUERY: tensors[QUERY][:, :16].copy()}), "has the shape 32 x 16"),
        (lambda tensors: tensors.update({QUERY: tensors[QUERY].astype(np.int8)}), "stored as I8"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    folder: Path, change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    change_weights(folder, change)
    with pytest.raises(ModelMissing, match=fault) as caught:
        opened(folder)
    assert str(folder / "model.safetensors") in caught.value.message


@pytest.mark.parametrize("change", [{"hidden_size": 64}, {"vocab_size": 99}, {"intermediate_size": 65}])
def test_a_configuration_that_contradicts_the_weights_is_refused(
    folder: Path, change: dict[str, int]
) -> None:
    change_json(folder / "config.json", **change)
    if "hidden_size" in change:
        change_json(folder / "1_Pooling" / "config.json", word_embedding_dimension=64)
    with pytest.raises(ModelMissing, match=r"model\.safetensors"):
        opened(folder)


def test_a_file_that_shrinks_after_it_was_opened_is_noticed(folder: Path) -> None:
    files = opened(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ModelMissing, match="ends before"):
        files.read()


def test_relative_positions_are_mpnets() -> None:
    import torch
    from transformers.models.mpnet import modeling_mpnet

    library: Any = modeling_mpnet.MPNetEncoder
    places = torch.arange(512)
    wanted = library.relative_position_bucket(places[None, :] - places[:, None], num_buckets=32)
    assert np.array_equal(relative_buckets(512, 32), wanted.numpy())
