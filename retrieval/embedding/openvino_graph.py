"""An encoder as an OpenVINO model, from its description and weights. Decides nothing and runs nothing.

Inputs: ``ids`` and ``positions`` (int32) and ``mask`` (float32), each of the shape (texts, longest). Output:
as ``ForwardPass.vectors``. Building takes 10 ms, since the weights are not copied, and compiling 0.2 s; a
graph kept on disk saves 0.05 s of that, and costs a second copy of the model.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from retrieval.embedding.encoder import Activation, Dense, Encoder, Pooling
from retrieval.embedding.openvino_import import ops, ov
from retrieval.embedding.weights import Layer, Linear, Norm, Weights

_LARGE = 1e9  # as in the plain forward pass
_INT8_STEPS = 127


def build_graph(encoder: Encoder, weights: Weights, *, int8: bool = False) -> ov.Model:
    """With ``int8`` the weights of the layers are rounded to 8 bits, with one scale for each output value."""
    graph = _Graph(encoder, weights, int8)
    return ov.Model([graph.result()], [graph.ids, graph.positions, graph.mask], "encoder")


class _Graph:
    def __init__(self, encoder: Encoder, weights: Weights, int8: bool) -> None:
        self._encoder = encoder
        self._weights = weights
        self._int8 = int8
        self.ids = ops.parameter([-1, -1], np.int32, name="ids")
        self.positions = ops.parameter([-1, -1], np.int32, name="positions")
        self.mask = ops.parameter([-1, -1], np.float32, name="mask")

    def result(self) -> ov.Node:
        weights = self._weights
        words = ops.gather(_constant(weights.words), self.ids, _integer(0))
        positions = ops.gather(_constant(weights.positions), self.positions, _integer(0))
        states = self._normed(ops.add(words, positions), weights.embedding_norm)
        bias = self._attention_bias()
        for layer in weights.layers:
            states = self._layer(states, bias, layer)
        pooled = [self._pooled(mode, states) for mode in self._encoder.pooling]
        return self._after(pooled[0] if len(pooled) == 1 else ops.concat(pooled, 1))

    def _attention_bias(self) -> ov.Node:
        hidden = ops.multiply(ops.subtract(self.mask, _number(1)), _number(_LARGE))
        bias = ops.unsqueeze(hidden, _integers(1, 2))
        table = self._weights.attention_bias
        if table is None:
            return bias
        length = ops.gather(ops.shape_of(self.ids, "i32"), _integers(1), _integer(0))
        ends = ops.concat([length, length], 0)
        near = ops.slice(_constant(table), _integers(0, 0), ends, _integers(1, 1), _integers(1, 2))
        return ops.add(bias, ops.unsqueeze(near, _integers(0)))

    def _layer(self, states: ov.Node, bias: ov.Node, layer: Layer) -> ov.Node:
        query, key, value = (
            self._by_head(self._linear(states, part)) for part in (layer.query, layer.key, layer.value)
        )
        scale = _number(1 / math.sqrt(self._encoder.hidden // self._encoder.heads))
        attended = ops.scaled_dot_product_attention(query, key, value, bias, scale)
        together = ops.reshape(
            ops.transpose(attended, _integers(0, 2, 1, 3)), _integers(0, 0, self._encoder.hidden), True
        )
        states = self._normed(ops.add(self._linear(together, layer.attended), states), layer.attended_norm)
        inner = _activated(self._linear(states, layer.inner), self._encoder.activation)
        return self._normed(ops.add(self._linear(inner, layer.outer), states), layer.outer_norm)

    def _linear(self, values: ov.Node, layer: Linear) -> ov.Node:
        return (_rounded_linear if self._int8 else _linear)(values, layer)

    def _by_head(self, states: ov.Node) -> ov.Node:
        heads = self._encoder.heads
        apart = ops.reshape(states, _integers(0, 0, heads, self._encoder.hidden // heads), True)
        return ops.transpose(apart, _integers(0, 2, 1, 3))

    def _normed(self, states: ov.Node, norm: Norm) -> ov.Node:
        even = ops.mvn(states, _integers(-1), True, self._encoder.epsilon, "inside_sqrt")
        return ops.add(ops.multiply(even, _constant(norm.scale)), _constant(norm.shift))

    def _pooled(self, mode: Pooling, states: ov.Node) -> ov.Node:
        if mode == "cls":
            return ops.gather(states, _integer(0), _integer(1))
        shown = ops.unsqueeze(self.mask, _integers(2))
        if mode == "max":
            least = ops.multiply(ops.subtract(shown, _number(1)), _number(_LARGE))
            return ops.reduce_max(ops.add(ops.multiply(states, shown), least), _integers(1))
        total = ops.reduce_sum(ops.multiply(states, shown), _integers(1))
        count = ops.reduce_sum(self.mask, _integers(1), True)
        return ops.divide(total, count if mode == "mean" else ops.sqrt(count))

    def _after(self, pooled: ov.Node) -> ov.Node:
        denses = iter(self._weights.dense)
        for step in self._encoder.steps:
            if isinstance(step, Dense):
                pooled = _linear(pooled, next(denses))
                pooled = ops.tanh(pooled) if step.tanh else pooled
            else:
                pooled = ops.normalize_l2(pooled, _integers(1), 1e-12, "max")
        return pooled


def _linear(values: ov.Node, layer: Linear) -> ov.Node:
    return _biased(ops.matmul(values, _constant(layer.weight), False, True), layer)


def _rounded_linear(values: ov.Node, layer: Linear) -> ov.Node:
    """With the weights in 8 bits. A processor that is quick at them rounds the values too, as it goes."""
    scale = np.abs(layer.weight).max(axis=1, keepdims=True).clip(min=1e-12) / np.float32(_INT8_STEPS)
    rounded = np.round(layer.weight / scale).astype(np.int8)
    weight = ops.multiply(ops.convert(_constant(rounded), "f32"), _constant(scale))
    return _biased(ops.matmul(values, weight, False, True), layer)


def _biased(product: ov.Node, layer: Linear) -> ov.Node:
    return product if layer.bias is None else ops.add(product, _constant(layer.bias))


def _activated(values: ov.Node, activation: Activation) -> ov.Node:
    if activation == "gelu":
        return ops.gelu(values, "erf")
    if activation == "gelu-tanh":
        return ops.gelu(values, "tanh")
    if activation == "silu":
        return ops.swish(values)
    return ops.relu(values)


def _constant(values: NDArray[np.float32] | NDArray[np.int8]) -> ov.Node:
    """Not copied; the constant keeps the array alive."""
    return ops.constant(values, shared_memory=True)


def _number(value: float) -> ov.Node:
    return ops.constant(np.float32(value))


def _integer(value: int) -> ov.Node:
    return ops.constant(np.int32(value))


def _integers(*values: int) -> ov.Node:
    return ops.constant(np.array(values, dtype=np.int32))
