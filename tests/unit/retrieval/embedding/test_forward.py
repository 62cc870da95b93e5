"""The parts of the plain forward pass that have a definition to be compared with."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.embedding import forward
from retrieval.embedding.describing import describe
from retrieval.embedding.erf import erf
from retrieval.embedding.forward import ForwardPass
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.tokens import Encoding
from retrieval.embedding.weights import WeightFiles
from tests.small_encoder import change_json, change_weights, make_small_bert

LONG = 3_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For texts of up to 3,000 tokens."""
    path = make_small_bert(tmp_path / "small")
    change_json(path / "config.json", max_position_embeddings=LONG)
    change_json(path / "sentence_bert_config.json", max_seq_length=LONG)
    name = "embeddings.position_embeddings.weight"

    def longer(tensors: dict[str, Any]) -> None:
        tensors[name] = np.resize(tensors[name], (LONG, 32))

    change_weights(path, longer)
    return path


def made(folder: Path) -> tuple[ForwardPass, Encoding]:
    model = read_model_folder(folder)
    encoder = describe(model)
    return ForwardPass(encoder, WeightFiles(model, encoder).read()), Encoding(model, encoder)


def test_attention_is_the_same_in_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, encoding = made(folder)
    tokens = encoding.batch(encoding.ids(["ferry", "The ferry leaves at dawn. " * 9]))
    whole = plain.vectors(tokens)
    for most in (1, 3 * tokens.ids.size, 7 * tokens.ids.size):
        monkeypatch.setattr(forward, "_SCORES_AT_ONCE", most)
        np.testing.assert_allclose(plain.vectors(tokens), whole, atol=1e-6)


def test_a_very_long_text_takes_no_memory_by_its_square(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, encoding = made(folder)
    tokens = encoding.batch(encoding.ids(["ferry " * 2 * LONG]))
    monkeypatch.setattr(forward, "_SCORES_AT_ONCE", 2**18)
    tracemalloc.start()
    try:
        plain.vectors(tokens)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < LONG * LONG * 4 / 2


def test_the_error_function_is_exact_to_float32() -> None:
    values = np.concatenate([np.linspace(-6, 6, 200_001), np.logspace(-30, 0, 2_000)]).astype(np.float32)
    wanted = np.array([math.erf(value) for value in values.tolist()])
    assert np.abs(erf(values) - wanted).max() < 5e-7
    assert erf(np.array([np.inf, -np.inf], dtype=np.float32)).tolist() == [1.0, -1.0]
