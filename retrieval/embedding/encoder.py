"""What an encoder of BERT's family computes, as plain values: the one description that every runtime follows.

Says nothing of files, of how the computation is done, or of whether a runtime can do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "gelu-tanh", "relu", "silu"]
Pooling = Literal["cls", "max", "mean", "mean-sqrt"]


@dataclass(frozen=True, slots=True)
class Dense:
    """A layer after the pooling: ``inputs`` values to ``outputs`` values."""

    inputs: int
    outputs: int
    bias: bool
    tanh: bool


@dataclass(frozen=True, slots=True)
class Normalise:
    """Scaling to length one between two other steps."""


Step = Dense | Normalise


@dataclass(frozen=True, slots=True)
class Encoder:
    """Embeddings, layers, pooling, and what follows until the vector, which is scaled to length one.

    ``positions`` counts the rows of the position table. With ``positions_skip`` (a token id, as in RoBERTa)
    the first other token has position ``positions_skip + 1`` and tokens of that id have ``positions_skip``;
    without it positions count from 0. ``buckets`` is the size of the table of relative positions, 0 without
    one (as in MPNet). The vector is cut to its first ``dimensions`` values.
    """

    vocabulary: int
    positions: int
    positions_skip: int | None
    token_types: int
    layers: int
    heads: int
    hidden: int
    inner: int
    epsilon: float
    activation: Activation
    buckets: int
    pooling: tuple[Pooling, ...]
    steps: tuple[Step, ...]
    dimensions: int
