"""How each architecture's config.json names what an encoder is made of. Pure.

Whatever a configuration asks for beyond that is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from retrieval.embedding.encoder import Activation, Encoder, Pooling, Step
from retrieval.embedding.not_served import AsksFor
from retrieval.embedding.tensor_names import NAMES

_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_MPNET_PAD_ID, _MPNET_BUCKETS = 1, 32  # constants of its code, whatever its config says
_DISTILBERT_EPSILON = 1e-12  # likewise

Config = Mapping[str, Any]
"""Of ``config.json``. What is missing, or of a wrong type, raises what Python raises."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of the token states that leave the last layer."""

    pooling: tuple[Pooling, ...]
    steps: tuple[Step, ...]
    dimensions: int


@dataclass(frozen=True, slots=True)
class _Keys:
    """What a configuration calls a thing."""

    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    hidden: str = "hidden_size"
    inner: str = "intermediate_size"
    activation: str = "hidden_act"


def read_encoder(kind: str, config: Config, ending: Ending) -> Encoder:
    """The encoder of a configuration of an architecture that ``check_architecture`` knows.

    Raises AsksFor for what this runtime cannot do; ValueError and its like where it sees no sense.
    """
    encoder = _READERS[kind](config, ending)
    _check_numbers(encoder)
    _check_attention(config, encoder)
    return encoder


def check_architecture(kind: str) -> None:
    """Raises AsksFor."""
    if kind not in _READERS:
        raise AsksFor(f"the architecture {kind!r}")


def _bert(config: Config, ending: Ending) -> Encoder:
    types = int(config.get("type_vocab_size", 2))
    return _encoder(config, ending, _Keys(), types, float(config.get("layer_norm_eps", 1e-12)))


def _roberta(config: Config, ending: Ending) -> Encoder:
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int):
        raise ValueError(f"pad_token_id is {padding!r}, and positions are counted from it")
    return replace(_bert(config, ending), positions_skip=padding)


def _mpnet(config: Config, ending: Ending) -> Encoder:
    buckets = int(config.get("relative_attention_num_buckets", _MPNET_BUCKETS))
    if buckets != _MPNET_BUCKETS:
        raise AsksFor(f"{buckets} relative positions")
    return replace(_bert(config, ending), positions_skip=_MPNET_PAD_ID, token_types=0, buckets=buckets)


def _distilbert(config: Config, ending: Ending) -> Encoder:
    keys = _Keys("n_layers", "n_heads", "dim", "hidden_dim", "activation")
    return _encoder(config, ending, keys, 0, _DISTILBERT_EPSILON)


def _encoder(config: Config, ending: Ending, keys: _Keys, token_types: int, epsilon: float) -> Encoder:
    return Encoder(
        vocabulary=int(config["vocab_size"]),
        positions=int(config["max_position_embeddings"]),
        positions_skip=None,
        token_types=token_types,
        layers=int(config[keys.layers]),
        heads=int(config[keys.heads]),
        hidden=int(config[keys.hidden]),
        inner=int(config[keys.inner]),
        epsilon=epsilon,
        activation=_activation(config.get(keys.activation, "gelu")),
        buckets=0,
        pooling=ending.pooling,
        steps=ending.steps,
        dimensions=ending.dimensions,
    )


_READERS: Mapping[str, Callable[[Config, Ending], Encoder]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "camembert": _roberta,
    "distilbert": _distilbert,
    "mpnet": _mpnet,
}
assert _READERS.keys() == NAMES.keys()


def _activation(name: object) -> Activation:
    found = _ACTIVATIONS.get(str(name))
    if found is None:
        raise AsksFor(f"the activation {name!r}")
    return found


def _check_numbers(encoder: Encoder) -> None:
    for name in ("vocabulary", "positions", "layers", "heads", "hidden", "inner"):
        if getattr(encoder, name) < 1:
            raise ValueError(f"it counts {getattr(encoder, name)} {name}")


def _check_attention(config: Config, encoder: Encoder) -> None:
    kind = config.get("position_embedding_type", "absolute")
    if kind not in ("absolute", None):
        raise AsksFor(f"positions of the type {kind!r}")
    for name in ("is_decoder", "add_cross_attention", "pruned_heads"):
        if config.get(name):
            raise AsksFor(f"{name} in config.json")
    if encoder.hidden % encoder.heads:
        raise ValueError(f"hidden_size {encoder.hidden} is no multiple of {encoder.heads} attention heads")
