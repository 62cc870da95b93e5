"""From a model folder to the description of its encoder, or to the reason why there is none.

Whatever the folder asks for is either in the description or refused here, before anything is embedded;
nothing is approximated. It reads configuration only: whether the weights agree with it is for ``weights.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval.embedding.encoder import Activation, Dense, Encoder, Normalise, Pooling, Step
from retrieval.embedding.model_folder import ModelFolder, Module, read_json, truncate_dim
from retrieval.embedding.not_served import not_served
from retrieval.embedding.tensor_names import NAMES
from retrieval.embedding.tokenizer_classes import contradictions

_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_POOLING: Mapping[str, Pooling] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean-sqrt",
}
# In the order in which sentence-transformers puts them end to end.
_OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_TANH, _IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"
_MPNET_PAD_ID, _MPNET_BUCKETS = 1, 32  # constants of its code, whatever its config says
_DISTILBERT_EPSILON = 1e-12  # likewise


class _Asked(Exception):
    """What the folder asks for and this runtime cannot do."""


def describe(folder: ModelFolder) -> Encoder:
    """The encoder of a folder. Raises ModelNotServed with the reason, also for a configuration in which this
    runtime sees no sense; ModelMissing for a file that cannot be read as one."""
    try:
        return _described(folder)
    except _Asked as asked:
        raise not_served(folder.path, f"it asks for {asked}") from None


def _described(folder: ModelFolder) -> Encoder:
    transformer = folder.modules[0]
    config = transformer.config
    _refuse_foreign_code(folder)
    with _sense(folder, "the sentence-transformers settings"):
        _refuse_unusual_files(folder)
    kind = str(config.get("model_type"))
    read = _READERS.get(kind)
    if read is None:
        raise _Asked(f"the architecture {kind!r}")
    with _sense(folder, "the modules' config.json"):
        pooling, steps = _pooling(folder), _steps(folder)
    with _sense(folder, "config.json"):
        encoder = read(config, pooling, steps, folder.dimensions)
        _check_numbers(encoder)
        _check_attention(config, encoder)
        _check_sizes(folder, encoder)
    with _sense(folder, "tokenizer.json or tokenizer_config.json"):
        _check_tokenizer(folder)
    return encoder


@contextmanager
def _sense(folder: ModelFolder, file: str) -> Iterator[None]:
    """Whatever is of a type or size that no such file has makes no sense. Raises ModelNotServed."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{file} makes no sense to it ({type(error).__name__}: {error})"
        raise not_served(folder.path, reason) from error


Reader = Callable[[dict[str, Any], tuple[Pooling, ...], tuple[Step, ...], int], Encoder]


def _bert(
    config: dict[str, Any], pooling: tuple[Pooling, ...], steps: tuple[Step, ...], dimensions: int
) -> Encoder:
    return Encoder(
        vocabulary=int(config["vocab_size"]),
        positions=int(config["max_position_embeddings"]),
        positions_skip=None,
        token_types=int(config.get("type_vocab_size", 2)),
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        hidden=int(config["hidden_size"]),
        inner=int(config["intermediate_size"]),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=_activation(config.get("hidden_act", "gelu")),
        buckets=0,
        pooling=pooling,
        steps=steps,
        dimensions=dimensions,
    )


def _roberta(
    config: dict[str, Any], pooling: tuple[Pooling, ...], steps: tuple[Step, ...], dimensions: int
) -> Encoder:
    like_bert = _bert(config, pooling, steps, dimensions)
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int):
        raise ValueError(f"pad_token_id is {padding!r}, and positions are counted from it")
    return replace(like_bert, positions_skip=padding)


def _mpnet(
    config: dict[str, Any], pooling: tuple[Pooling, ...], steps: tuple[Step, ...], dimensions: int
) -> Encoder:
    buckets = int(config.get("relative_attention_num_buckets", _MPNET_BUCKETS))
    if buckets != _MPNET_BUCKETS:
        raise _Asked(f"{buckets} relative positions")
    like_bert = _bert(config, pooling, steps, dimensions)
    return replace(like_bert, positions_skip=_MPNET_PAD_ID, token_types=0, buckets=buckets)


def _distilbert(
    config: dict[str, Any], pooling: tuple[Pooling, ...], steps: tuple[Step, ...], dimensions: int
) -> Encoder:
    return Encoder(
        vocabulary=int(config["vocab_size"]),
        positions=int(config["max_position_embeddings"]),
        positions_skip=None,
        token_types=0,
        layers=int(config["n_layers"]),
        heads=int(config["n_heads"]),
        hidden=int(config["dim"]),
        inner=int(config["hidden_dim"]),
        epsilon=_DISTILBERT_EPSILON,
        activation=_activation(config.get("activation", "gelu")),
        buckets=0,
        pooling=pooling,
        steps=steps,
        dimensions=dimensions,
    )


_READERS: Mapping[str, Reader] = {
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
        raise _Asked(f"the activation {name!r}")
    return found


def _refuse_foreign_code(folder: ModelFolder) -> None:
    for module in folder.modules:
        if not module.class_name.startswith("sentence_transformers."):
            raise _Asked(f"code of its own ({module.class_name})")
    if folder.modules[0].config.get("auto_map"):
        raise _Asked("code of its own (auto_map in config.json)")


def _refuse_unusual_files(folder: ModelFolder) -> None:
    transformer = folder.modules[0]
    wrong = [file.name for file in transformer.weights if file.suffix != ".safetensors"]
    if wrong:
        raise _Asked(f"weights in {wrong[0]}, a format that only torch reads; model.safetensors is not there")
    if (transformer.folder / "adapter_config.json").exists():
        raise _Asked("an adapter (adapter_config.json)")
    if transformer.config.get("quantization_config"):
        raise _Asked("quantised weights (quantization_config in config.json)")
    settings = _settings(folder)
    task = settings.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise _Asked(f"the task {task!r}")
    modalities = settings.get("modality_config") or {"text": _PLAIN_TEXT}
    if modalities.get("text") != _PLAIN_TEXT or settings.get("module_output_name", _TOKENS) != _TOKENS:
        raise _Asked("an output of its own (modality_config)")
    for name in _UNUSUAL_SETTINGS:
        if settings.get(name):
            raise _Asked(f"{name} in its sentence-transformers settings")


_UNUSUAL_SETTINGS = (
    "query_length",
    "document_length",
    "query_expansion",
    "processing_kwargs",
    "tokenizer_name_or_path",
    *(
        f"{part}_{kind}"
        for part in ("model", "tokenizer", "processor", "config")
        for kind in ("args", "kwargs")
    ),
)
_TOKENS = "token_embeddings"
_PLAIN_TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}


def _settings(folder: ModelFolder) -> dict[str, Any]:
    """What sentence-transformers keeps beside the transformer's own configuration."""
    files = sorted(folder.modules[0].folder.glob("sentence_*_config.json"))
    return _json(folder, files[0]) if files else {}


def _json(folder: ModelFolder, file: Path) -> dict[str, Any]:
    """What a JSON file holds, nothing where there is none. Raises ModelMissing naming it."""
    found: dict[str, Any] = read_json(folder.path, file, default={})
    return found


def _pooling(folder: ModelFolder) -> tuple[Pooling, ...]:
    poolings = [module for module in folder.modules if module.kind == "Pooling"]
    if len(poolings) != 1 or folder.modules[1:2] != (*poolings,):
        raise _Asked("something else than one pooling after the transformer")
    config = poolings[0].config
    if not config.get("include_prompt", True) and (folder.document_prompt or folder.query_prompt):
        raise _Asked("a pooling without the prompt (include_prompt)")
    return tuple(_pooling_mode(mode) for mode in _pooling_modes(config))


def _pooling_modes(config: dict[str, Any]) -> Iterable[str]:
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
        return [modes] if isinstance(modes, str) else modes
    unknown = config.keys() - _OLD_POOLING.keys()
    for key in unknown:
        if key.startswith("pooling_mode_") and config[key]:
            raise _Asked(f"the pooling {key!r}")
    return [mode for key, mode in _OLD_POOLING.items() if config.get(key)] or ["mean"]


def _pooling_mode(name: str) -> Pooling:
    if name not in _POOLING:
        raise _Asked(f"the pooling {name!r}")
    return _POOLING[name]


def _steps(folder: ModelFolder) -> tuple[Step, ...]:
    """What follows the pooling. The last scaling is left out: every vector is scaled at the end."""
    steps: list[Step] = []
    for module in folder.modules[2:]:
        if module.kind == "Normalize":
            _check_places(_json(folder, module.folder / "config.json"))
            steps.append(Normalise())
        elif module.kind == "Dense":
            steps.append(_dense(module))
        elif module.kind != "Dropout":
            raise _Asked(f"the module {module.kind}")
    while steps and isinstance(steps[-1], Normalise):
        steps.pop()
    return tuple(steps)


def _check_places(config: dict[str, Any]) -> None:
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in (None, "sentence_embedding"):
            raise _Asked(f"the {name} {config[name]!r}")


def _dense(module: Module) -> Dense:
    config = module.config
    _check_places(config)
    if config.get("use_residual"):
        raise _Asked("a dense layer with a residual")
    wrong = [file.name for file in module.weights if file.suffix != ".safetensors"]
    if wrong:
        raise _Asked(f"weights in {module.folder.name}/{wrong[0]}, a format that only torch reads")
    activation = config.get("activation_function", _TANH)
    if activation not in (_TANH, _IDENTITY):
        raise _Asked(f"the activation {activation!r} of a dense layer")
    return Dense(
        int(config["in_features"]),
        int(config["out_features"]),
        bool(config.get("bias", True)),
        activation == _TANH,
    )


def _check_numbers(encoder: Encoder) -> None:
    for name in ("vocabulary", "positions", "layers", "heads", "hidden", "inner"):
        if getattr(encoder, name) < 1:
            raise ValueError(f"it counts {getattr(encoder, name)} {name}")


def _check_attention(config: dict[str, Any], encoder: Encoder) -> None:
    kind = config.get("position_embedding_type", "absolute")
    if kind not in ("absolute", None):
        raise _Asked(f"positions of the type {kind!r}")
    for name in ("is_decoder", "add_cross_attention", "pruned_heads"):
        if config.get(name):
            raise _Asked(f"{name} in config.json")
    if encoder.hidden % encoder.heads:
        raise ValueError(f"hidden_size {encoder.hidden} is no multiple of {encoder.heads} attention heads")


def _check_sizes(folder: ModelFolder, encoder: Encoder) -> None:
    """That each step takes what the one before gives, and every text has its positions."""
    first = 0 if encoder.positions_skip is None else encoder.positions_skip + 1
    if folder.max_tokens > encoder.positions - first:
        raise ValueError(
            f"texts may have {folder.max_tokens} tokens, config.json has positions for "
            f"{encoder.positions - first} (max_position_embeddings)"
        )
    for name in ("embedding_dimension", "word_embedding_dimension"):
        pooled = folder.modules[1].config.get(name, encoder.hidden)
        if pooled != encoder.hidden:
            raise ValueError(f"the pooling's {name} is {pooled}, and tokens have {encoder.hidden} values")
    size = encoder.hidden * len(encoder.pooling)
    for step in encoder.steps:
        if isinstance(step, Dense):
            if step.inputs != size:
                raise ValueError(f"a dense layer takes {step.inputs} values and is given {size}")
            size = step.outputs
    if encoder.dimensions != min(size, truncate_dim(folder.path) or size):
        raise ValueError(f"the vectors have {size} values, not {encoder.dimensions}")


def _check_tokenizer(folder: ModelFolder) -> None:
    """That tokenizer.json says how text is cut, whatever other files transformers lets overrule it, and that
    single texts have tokens, all of type 0."""
    here = folder.modules[0].folder
    tokenizer = _json(folder, here / "tokenizer.json")
    settings = _json(folder, here / "tokenizer_config.json")
    normaliser = tokenizer.get("normalizer") or {}
    if _settings(folder).get("do_lower_case") and not _lowercases(normaliser):
        raise _Asked("lower case that tokenizer.json does not make (do_lower_case)")
    for name, part in (("truncation_side", "truncation"), ("padding_side", "padding")):
        side = settings.get(name) or (tokenizer.get(part) or {}).get("direction", "right")
        if side.lower() != "right":
            raise _Asked(f"the {name} {side!r}")
    if settings.get("auto_map"):
        raise _Asked("code of its own (auto_map in tokenizer_config.json)")
    types = list(_special_token_types(tokenizer.get("post_processor") or {}))
    if not types:
        raise _Asked("texts without special tokens")
    if any(types):
        raise _Asked("token types other than 0 for a single text")
    for asked in contradictions(tokenizer, settings, folder.modules[0].config):
        raise _Asked(asked)


def _lowercases(normaliser: dict[str, Any]) -> bool:
    if normaliser.get("type") == "Sequence":
        return any(_lowercases(part) for part in normaliser.get("normalizers", []))
    return normaliser.get("type") == "Lowercase" or bool(normaliser.get("lowercase"))


def _special_token_types(processor: dict[str, Any]) -> Iterator[int]:
    """The token types that a single text is given, once for each token or text in the template."""
    kind = processor.get("type")
    if kind == "Sequence":
        for part in processor.get("processors", []):
            yield from _special_token_types(part)
    elif kind in ("BertProcessing", "RobertaProcessing"):
        yield 0
    elif kind == "TemplateProcessing":
        parts = [(name, part) for piece in processor["single"] for name, part in piece.items()]
        if any(name == "SpecialToken" for name, _ in parts):
            yield from (int(part["type_id"]) for _, part in parts)
