"""What a folder's modules make of the token states: pooling, and the steps from there to the vector.

Whatever they ask for is either in the result or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from retrieval.embedding.encoder import Dense, Normalise, Pooling, Step
from retrieval.embedding.model_folder import ModelFolder, Module, read_json
from retrieval.embedding.not_served import AsksFor

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


def pooling_of(folder: ModelFolder) -> tuple[Pooling, ...]:
    """How the token states become one vector, or several end to end. Raises AsksFor."""
    poolings = [module for module in folder.modules if module.kind == "Pooling"]
    if len(poolings) != 1 or folder.modules[1:2] != (*poolings,):
        raise AsksFor("something else than one pooling after the transformer")
    config = poolings[0].config
    if not config.get("include_prompt", True) and (folder.document_prompt or folder.query_prompt):
        raise AsksFor("a pooling without the prompt (include_prompt)")
    return tuple(_pooling_mode(mode) for mode in _pooling_modes(config))


def _pooling_modes(config: dict[str, Any]) -> Iterable[str]:
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
        return [modes] if isinstance(modes, str) else modes
    unknown = config.keys() - _OLD_POOLING.keys()
    for key in unknown:
        if key.startswith("pooling_mode_") and config[key]:
            raise AsksFor(f"the pooling {key!r}")
    return [mode for key, mode in _OLD_POOLING.items() if config.get(key)] or ["mean"]


def _pooling_mode(name: str) -> Pooling:
    if name not in _POOLING:
        raise AsksFor(f"the pooling {name!r}")
    return _POOLING[name]


def steps_of(folder: ModelFolder) -> tuple[Step, ...]:
    """What follows the pooling. Raises AsksFor.

    The last scaling is left out: every vector is scaled at the end.
    """
    steps: list[Step] = []
    for module in folder.modules[2:]:
        if module.kind == "Normalize":
            _check_places(read_json(folder.path, module.folder / "config.json", default={}))
            steps.append(Normalise())
        elif module.kind == "Dense":
            steps.append(_dense(module))
        elif module.kind != "Dropout":
            raise AsksFor(f"the module {module.kind}")
    while steps and isinstance(steps[-1], Normalise):
        steps.pop()
    return tuple(steps)


def _check_places(config: dict[str, Any]) -> None:
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in (None, "sentence_embedding"):
            raise AsksFor(f"the {name} {config[name]!r}")


def _dense(module: Module) -> Dense:
    config = module.config
    _check_places(config)
    if config.get("use_residual"):
        raise AsksFor("a dense layer with a residual")
    wrong = [file.name for file in module.weights if file.suffix != ".safetensors"]
    if wrong:
        raise AsksFor(f"weights in {module.folder.name}/{wrong[0]}, a format that only torch reads")
    activation = config.get("activation_function", _TANH)
    if activation not in (_TANH, _IDENTITY):
        raise AsksFor(f"the activation {activation!r} of a dense layer")
    return Dense(
        int(config["in_features"]),
        int(config["out_features"]),
        bool(config.get("bias", True)),
        activation == _TANH,
    )
