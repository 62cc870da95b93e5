"""The weights of an encoder, from the files of its folder: checked against its description, then read.

Decides nothing about precision: everything is float32 here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.embedding.encoder import Dense, Encoder
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.tensor_files import TensorFiles
from retrieval.embedding.tensor_names import (
    DENSE,
    EMBEDDING_NORM,
    NAMES,
    POSITIONS,
    RELATIVE_POSITIONS,
    TOKEN_TYPES,
    WORDS,
    dense_shapes,
    encoder_shapes,
)

Array = NDArray[np.float32]

_FARTHEST = 128  # MPNet: relative positions from here on share a bucket


@dataclass(frozen=True, slots=True)
class Linear:
    """``weight`` has the shape (outputs, inputs)."""

    weight: Array
    bias: Array | None


@dataclass(frozen=True, slots=True)
class Norm:
    scale: Array
    shift: Array


@dataclass(frozen=True, slots=True)
class Layer:
    query: Linear
    key: Linear
    value: Linear
    attended: Linear
    attended_norm: Norm
    inner: Linear
    outer: Linear
    outer_norm: Norm


@dataclass(frozen=True, slots=True)
class Weights:
    """``positions`` has the embedding of token type 0 added: texts are embedded one at a time.

    ``attention_bias``: shape (heads, max_tokens, max_tokens), by place of the asking and the asked token.
    """

    words: Array
    positions: Array
    embedding_norm: Norm
    attention_bias: Array | None
    layers: tuple[Layer, ...]
    dense: tuple[Linear, ...]


class WeightFiles:
    """The files that hold an encoder's weights; opening them checks every tensor's name and shape."""

    def __init__(self, folder: ModelFolder, encoder: Encoder) -> None:
        """Reads headers only. Raises ModelMissing naming file and tensor, ModelNotServed for other names."""
        self._encoder = encoder
        self._max_tokens = folder.max_tokens
        self._names = NAMES[folder.modules[0].config["model_type"]]
        self._files = TensorFiles(folder.modules[0].weights, self._names.ours)
        self._files.check(encoder_shapes(encoder, self._names))
        self._dense_files = []
        denses = (step for step in encoder.steps if isinstance(step, Dense))
        for module, dense in zip((m for m in folder.modules if m.kind == "Dense"), denses, strict=True):
            files = TensorFiles(module.weights)
            files.check(dense_shapes(dense))
            self._dense_files.append((files, dense))

    def read(self) -> Weights:
        """Everything, into memory. Raises ModelMissing."""
        names = self._names.layers(self._encoder.layers)
        return Weights(
            words=self._files.read(f"{WORDS}.weight"),
            positions=self._positions(),
            embedding_norm=self._norm(EMBEDDING_NORM),
            attention_bias=self._attention_bias(),
            layers=tuple(
                Layer(
                    query=self._linear(layer.query),
                    key=self._linear(layer.key),
                    value=self._linear(layer.value),
                    attended=self._linear(layer.attended),
                    attended_norm=self._norm(layer.attended_norm),
                    inner=self._linear(layer.inner),
                    outer=self._linear(layer.outer),
                    outer_norm=self._norm(layer.outer_norm),
                )
                for layer in names
            ),
            dense=tuple(_linear(files, DENSE, dense.bias) for files, dense in self._dense_files),
        )

    def _positions(self) -> Array:
        positions = self._files.read(f"{POSITIONS}.weight")
        if not self._encoder.token_types:
            return positions
        positions += self._files.read(f"{TOKEN_TYPES}.weight")[0]
        return positions

    def _attention_bias(self) -> Array | None:
        if not self._encoder.buckets:
            return None
        table = self._files.read(f"{RELATIVE_POSITIONS}.weight")
        buckets = relative_buckets(self._max_tokens, self._encoder.buckets)
        return np.ascontiguousarray(table[buckets].transpose(2, 0, 1))

    def _linear(self, name: str) -> Linear:
        return _linear(self._files, name, True)

    def _norm(self, name: str) -> Norm:
        return Norm(self._files.read(f"{name}.weight"), self._files.read(f"{name}.bias"))


def check_headers(folder: ModelFolder) -> None:
    """That no file of weights was cut short, whoever is to read it. Raises ModelMissing."""
    for module in folder.modules:
        TensorFiles([file for file in module.weights if file.suffix == ".safetensors"])


def relative_buckets(tokens: int, buckets: int) -> NDArray[np.int64]:
    """MPNet's bucket of each pair of places, as T5 counts them: shape (tokens, tokens).

    Half of the buckets for each direction; in each, one per distance for the nearer half, then
    logarithmically wider ones (``relative_position_bucket`` of the transformers library).
    """
    ahead = np.arange(tokens)[None, :] - np.arange(tokens)[:, None]
    each = buckets // 2
    exact = each // 2
    distance = np.abs(ahead)
    scaled = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    wider = exact + (scaled / math.log(_FARTHEST / exact) * (each - exact)).astype(np.int64)
    bucket: NDArray[np.int64] = np.where(distance < exact, distance, np.minimum(wider, each - 1))
    bucket += (ahead > 0) * each
    return bucket


def _linear(files: TensorFiles, name: str, bias: bool) -> Linear:
    return Linear(files.read(f"{name}.weight"), files.read(f"{name}.bias") if bias else None)
