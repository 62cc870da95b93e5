"""The plain forward pass of an encoder: float32, numpy, nothing clever.

It is the measure of every quicker runtime, and the runtime of last resort where none can be had. It decides
nothing; it computes what the description says, from the weights as they are stored.
"""

from __future__ import annotations

import math

import numpy as np

from retrieval.embedding.encoder import Activation, Dense, Encoder, Pooling
from retrieval.embedding.erf import erf
from retrieval.embedding.tokens import Tokens
from retrieval.embedding.weights import Array, Layer, Linear, Norm, Weights

_LARGE = np.float32(1e9)  # taken off the score of a padding token: its share becomes exactly 0
_LEAST_EXPONENT = np.float32(-80)  # e to the 80 is a float32 still
# Of one head: 16 MB. Those of all pairs of a text of 8,192 tokens would be 256 MB for each head.
_SCORES_AT_ONCE = 4 * 1024 * 1024
_ROWS_AT_ONCE = 128  # of the widest intermediate value: what the processor's cache holds


class ForwardPass:
    """Vectors of token ids, not scaled to length one except where the model's own steps say so."""

    def __init__(self, encoder: Encoder, weights: Weights) -> None:
        self._encoder = encoder
        self._weights = weights

    def vectors(self, tokens: Tokens) -> Array:
        """Shape (texts, values of the last step), float32."""
        weights, encoder = self._weights, self._encoder
        states = weights.words[tokens.ids] + weights.positions[tokens.positions]
        states = self._normed(states, weights.embedding_norm)
        hidden_tokens = (1 - tokens.mask)[:, None, :] * -_LARGE
        for layer in weights.layers:
            states = self._layer(states, hidden_tokens, layer)
        pooled = np.concatenate([pool(mode, states, tokens.mask) for mode in encoder.pooling], axis=1)
        return self._after(pooled)

    def _layer(self, states: Array, bias: Array, layer: Layer) -> Array:
        attended = linear(self._attention(states, bias, layer), layer.attended)
        states = self._normed(attended + states, layer.attended_norm)
        inner = linear(states, layer.inner)
        _activate(inner, self._encoder.activation)
        return self._normed(linear(inner, layer.outer) + states, layer.outer_norm)

    def _attention(self, states: Array, bias: Array, layer: Layer) -> Array:
        texts, length, hidden = states.shape
        heads = self._encoder.heads
        query, key, value = (
            linear(states, part).reshape(texts, length, heads, -1).transpose(0, 2, 1, 3)
            for part in (layer.query, layer.key, layer.value)
        )
        query = query * np.float32(1 / math.sqrt(hidden // heads))
        near = self._weights.attention_bias
        attended = np.empty_like(query)
        at_once = max(1, _SCORES_AT_ONCE // (texts * length))
        for head in range(heads):
            for start in range(0, length, at_once):
                rows = slice(start, start + at_once)
                scores: Array = query[:, head, rows] @ key[:, head].transpose(0, 2, 1)
                scores += bias
                if near is not None:
                    scores += near[head, rows, :length][: scores.shape[1]]
                scores -= scores.max(axis=-1, keepdims=True)
                np.exp(scores, out=scores)
                scores /= scores.sum(axis=-1, keepdims=True)
                attended[:, head, rows] = scores @ value[:, head]
        return attended.transpose(0, 2, 1, 3).reshape(texts, length, hidden)

    def _normed(self, states: Array, norm: Norm) -> Array:
        states = states - states.mean(axis=-1, keepdims=True)
        variance = np.square(states).mean(axis=-1, keepdims=True)
        states /= np.sqrt(variance + np.float32(self._encoder.epsilon))
        states *= norm.scale
        states += norm.shift
        return states

    def _after(self, pooled: Array) -> Array:
        denses = iter(self._weights.dense)
        for step in self._encoder.steps:
            if isinstance(step, Dense):
                pooled = linear(pooled, next(denses))
                pooled = np.tanh(pooled) if step.tanh else pooled
            else:
                pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return pooled


def pool(mode: Pooling, states: Array, mask: Array) -> Array:
    """One vector of each text's token states: shape (texts, hidden)."""
    if mode == "cls":
        return states[:, 0]
    shown = mask[:, :, None]
    if mode == "max":
        largest: Array = np.where(shown > 0, states, np.float32(-np.inf)).max(axis=1)
        return largest
    count = mask.sum(axis=1, keepdims=True)
    divisor = count if mode == "mean" else np.sqrt(count)
    total: Array = (states * shown).sum(axis=1) / divisor
    return total


def linear(values: Array, layer: Linear) -> Array:
    product: Array = values @ layer.weight.T
    if layer.bias is not None:
        product += layer.bias
    return product


def _activate(values: Array, activation: Activation) -> None:
    """In place, some rows at a time."""
    rows = values.reshape(-1, values.shape[-1])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        part *= _gate(part, activation)


def _gate(x: Array, activation: Activation) -> Array:
    """What each value is multiplied by; gelu-tanh is Hendrycks and Gimpel's approximation of gelu."""
    if activation == "relu":
        return (x > 0).astype(np.float32)
    if activation == "silu":
        share: Array = np.reciprocal(1 + np.exp(-np.maximum(x, _LEAST_EXPONENT)))
        return share
    if activation == "gelu":
        gate = erf(x * np.float32(1 / math.sqrt(2)))
    else:
        gate = np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x))
    gate += 1
    gate *= np.float32(0.5)
    return gate
