"""How each architecture of BERT's family calls its weights, and their shapes. Pure.

The names are those of the transformers library without the prefix of the architecture (``bert.``), which some
folders have and others lack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from retrieval.embedding.encoder import Dense, Encoder

Shapes = dict[str, tuple[int, ...]]

WORDS = "embeddings.word_embeddings"
POSITIONS = "embeddings.position_embeddings"
TOKEN_TYPES = "embeddings.token_type_embeddings"
EMBEDDING_NORM = "embeddings.LayerNorm"
RELATIVE_POSITIONS = "encoder.relative_attention_bias"
DENSE = "linear"  # of sentence-transformers, in a folder of its own


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Of one layer; each is followed by ``.weight`` and ``.bias``."""

    query: str
    key: str
    value: str
    attended: str
    attended_norm: str
    inner: str
    outer: str
    outer_norm: str

    def of(self, prefix: str) -> LayerNames:
        return LayerNames(*(prefix + getattr(self, name) for name in self.__slots__))


_BERT = LayerNames(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attended="attention.output.dense",
    attended_norm="attention.output.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    outer_norm="output.LayerNorm",
)
_DISTILBERT = LayerNames(
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attended_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    outer_norm="output_layer_norm",
)
_MPNET = replace(
    _BERT,
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attended="attention.attn.o",
    attended_norm="attention.LayerNorm",
)


@dataclass(frozen=True, slots=True)
class Names:
    """``prefix`` is what the weights' names may begin with; ``layer`` comes before a layer's number."""

    prefix: str
    layer: str
    in_layer: LayerNames

    def layers(self, count: int) -> Iterator[LayerNames]:
        return (self.in_layer.of(f"{self.layer}.{number}.") for number in range(count))

    def ours(self, name: str) -> str:
        """A name in a file without its prefix, and with today's word for what TensorFlow's BERT called gamma
        and beta, as the oldest folders still do."""
        name = name.removeprefix(self.prefix)
        for old, new in _OLD_NORM.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name


_OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

NAMES = {
    "bert": Names("bert.", "encoder.layer", _BERT),
    "roberta": Names("roberta.", "encoder.layer", _BERT),
    "xlm-roberta": Names("roberta.", "encoder.layer", _BERT),
    "camembert": Names("roberta.", "encoder.layer", _BERT),
    "distilbert": Names("distilbert.", "transformer.layer", _DISTILBERT),
    "mpnet": Names("mpnet.", "encoder.layer", _MPNET),
}


def encoder_shapes(encoder: Encoder, names: Names) -> Shapes:
    """The shape that each tensor of the transformer must have."""
    hidden, inner = encoder.hidden, encoder.inner
    shapes: Shapes = {
        f"{WORDS}.weight": (encoder.vocabulary, hidden),
        f"{POSITIONS}.weight": (encoder.positions, hidden),
        **_norm(EMBEDDING_NORM, hidden),
    }
    if encoder.token_types:
        shapes[f"{TOKEN_TYPES}.weight"] = (encoder.token_types, hidden)
    if encoder.buckets:
        shapes[f"{RELATIVE_POSITIONS}.weight"] = (encoder.buckets, encoder.heads)
    for layer in names.layers(encoder.layers):
        for name in (layer.query, layer.key, layer.value, layer.attended):
            shapes |= _linear(name, hidden, hidden)
        shapes |= _linear(layer.inner, hidden, inner) | _linear(layer.outer, inner, hidden)
        shapes |= _norm(layer.attended_norm, hidden) | _norm(layer.outer_norm, hidden)
    return shapes


def dense_shapes(dense: Dense) -> Shapes:
    shapes = _linear(DENSE, dense.inputs, dense.outputs)
    if not dense.bias:
        del shapes[f"{DENSE}.bias"]
    return shapes


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}
