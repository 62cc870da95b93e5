"""What the folder of a sentence-transformers model says of itself, read without loading the model.

Reads the model's own configuration files and its tokenizer. It decides what an index built with the
model depends on (the fingerprint), and never imports torch, transformers or sentence-transformers, so
every runtime of one model shares it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion.errors import Misconfigured, ModelMissing
from retrieval.embedding.digests import DigestCache

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # the order in which sentence-transformers looks
_WITHOUT_WEIGHTS = ("Pooling", "Normalize", "Dropout")
SETTINGS = "config_sentence_transformers.json"
_KINDS: dict[type, str] = {dict: "object", list: "list"}
# Of tokenizer_config.json, with the values that tokenizers take where it is silent.
_OVERRULING = {
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "add_prefix_space": None,
    "truncation_side": "right",
}
# What says where a configuration came from or how it is stored; no vector depends on it.
_PROVENANCE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True, slots=True)
class Module:
    """One step of a model: ``kind`` is the last part of ``class_name``, ``config`` its own settings."""

    class_name: str
    kind: str
    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A complete model in a folder. ``max_tokens`` counts the special tokens too."""

    path: Path
    name: str
    modules: tuple[Module, ...]
    dimensions: int
    max_tokens: int
    document_prompt: str
    query_prompt: str

    @property
    def tokenizer_file(self) -> Path:
        return self.modules[0].folder / "tokenizer.json"

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, which neither truncates nor pads: it counts.

        Threads may share it as long as nobody sets anything on it again.
        """
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
        except Exception as error:  # the library raises nothing narrower
            raise _incomplete(self.path, f"{self.tokenizer_file.name} cannot be read ({error})") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def fingerprint(self, digests: DigestCache, precision: str = "float") -> str:
        """Digest of what vectors depend on. The runtime is not in it.

        ``precision`` is a class: float32, fp16 and bf16 are all ``float``. Raises ModelMissing when a file
        can no longer be read.
        """
        try:
            parts = {
                "precision": precision,
                "normalised": True,
                "dimensions": self.dimensions,
                "max_tokens": self.max_tokens,
                "prompts": [self.document_prompt, self.query_prompt],
                "tokenizer": digests.digest(self.tokenizer_file),
                "modules": [
                    [
                        module.kind,
                        _without_provenance(module.config),
                        [digests.digest(w) for w in module.weights],
                    ]
                    for module in self.modules
                ],
                **_overruling(self.path, self.modules[0].folder),
            }
        except OSError as error:
            raise _incomplete(self.path, f"{error.filename} cannot be read ({error.strerror})") from error
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_model_folder(path: Path, name: str | None = None) -> ModelFolder:
    """Describe the model in a folder. ``name`` is how to call it; the folder's own name by default.

    Raises ModelMissing naming the file that is missing or damaged, Misconfigured for a kind of model
    that cannot be described without loading it.
    """
    if not path.is_dir():
        raise _incomplete(path, "there is no such folder")
    modules = _modules(path)
    settings = read_json(path, path / SETTINGS, default={})
    first = modules[0].kind if modules else "nothing"
    if first != "Transformer":
        raise Misconfigured(
            f"The model in {path} starts with {first}, not with a Transformer.",
            hint="Choose a sentence-transformers model that encodes text with a transformer.",
        )
    if not (modules[0].folder / "tokenizer.json").is_file():
        raise _incomplete(path, "tokenizer.json is missing")
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise _incomplete(path, f"{SETTINGS} holds no table of prompts")
    default = prompts.get(settings.get("default_prompt_name") or "", "")
    return ModelFolder(
        path=path,
        name=name or path.name,
        modules=modules,
        dimensions=_dimensions(path, modules, truncate_dim(path)),
        max_tokens=_max_tokens(path, modules[0]),
        document_prompt=next((prompts[key] for key in _DOCUMENT_PROMPTS if key in prompts), default) or "",
        query_prompt=prompts.get("query", default) or "",
    )


_PLAIN_TRANSFORMER = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
]


def _modules(path: Path) -> tuple[Module, ...]:
    steps = read_json(path, path / "modules.json", default=_PLAIN_TRANSFORMER, kind=list)
    try:
        named = [(str(step["type"]), path / step["path"]) for step in steps]
    except (KeyError, TypeError) as error:
        raise _incomplete(path, f"modules.json makes no sense ({type(error).__name__}: {error})") from error
    return tuple(_module(path, class_name, folder) for class_name, folder in named)


def _module(path: Path, class_name: str, folder: Path) -> Module:
    kind = class_name.rsplit(".", 1)[-1]
    if kind == "Normalize":
        return Module(class_name, kind, folder, {}, ())
    if kind == "Pooling" and not folder.exists():
        # A folder without modules.json: sentence-transformers then takes the mean of all tokens.
        return Module(class_name, kind, folder, {"pooling_mode": "mean"}, ())
    config = read_json(path, folder / "config.json")
    weights = () if kind in _WITHOUT_WEIGHTS else _weights(path, folder)
    return Module(class_name, kind, folder, config, weights)


def _weights(path: Path, folder: Path) -> tuple[Path, ...]:
    """The files with the weights, all of the shards where there are several."""
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (folder / single).is_file():
            return (folder / single,)
        index = folder / f"{single}.index.json"
        if index.is_file():
            shards = sorted(
                {folder / shard for shard in read_json(path, index).get("weight_map", {}).values()}
            )
            missing = [shard.name for shard in shards if not shard.is_file()]
            if missing:
                raise _incomplete(path, f"{missing[0]} is missing")
            return tuple(shards)
    raise _incomplete(path, f"{(folder / 'model.safetensors').relative_to(path)} is missing")


def _dimensions(path: Path, modules: Sequence[Module], truncated: int | None) -> int:
    """Length of the vector that leaves the last module."""
    dimensions = modules[0].config.get("hidden_size")
    for module in modules:
        config = module.config
        if module.kind == "Pooling":
            each = config.get("embedding_dimension") or config.get("word_embedding_dimension") or dimensions
            dimensions = each * _pooling_modes(config) if isinstance(each, int) else None
        elif module.kind == "Dense":
            dimensions = config.get("out_features")
    if not isinstance(dimensions, int) or dimensions < 1:
        raise _incomplete(path, "config.json does not say how long its vectors are")
    return min(dimensions, truncated or dimensions)


def _pooling_modes(config: dict[str, Any]) -> int:
    """How many pooled vectors are put end to end."""
    modes = config.get("pooling_mode")
    if isinstance(modes, list):
        return len(modes)
    if modes is not None:
        return 1
    return max(1, sum(bool(value) for key, value in config.items() if key.startswith("pooling_mode_")))


def _max_tokens(path: Path, transformer: Module) -> int:
    """The rule of sentence-transformers: its own limit, else the smaller of tokenizer's and model's."""
    folder = transformer.folder
    for settings in sorted(folder.glob("sentence_*_config.json")):
        limit = read_json(path, settings).get("max_seq_length")
        if limit and not isinstance(limit, int | float):
            raise _incomplete(path, f"max_seq_length in {settings.name} is no number")
        if limit:
            return int(limit)
    limits = (
        read_json(path, folder / "tokenizer_config.json", default={}).get("model_max_length"),
        transformer.config.get("max_position_embeddings"),
    )
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1e9]
    if not known:
        raise _incomplete(path, "no file says how many tokens a text may have")
    return min(known)


def truncate_dim(path: Path) -> int | None:
    """To how many values the folder's settings cut every vector. Raises ModelMissing."""
    truncated = read_json(path, path / SETTINGS, default={}).get("truncate_dim")
    if truncated is not None and (not isinstance(truncated, int) or truncated < 1):
        raise _incomplete(path, f"truncate_dim in {SETTINGS} is no number of values")
    return truncated


def read_json(path: Path, file: Path, default: Any = None, kind: type = dict) -> Any:
    """What a JSON file of the model in ``path`` holds; ``default`` where it is not there.

    Raises ModelMissing naming the file, also where it holds something else than an object (or ``kind``).
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise _incomplete(path, f"{file.relative_to(path)} holds no {_KINDS[kind]}")
        return found
    except FileNotFoundError as error:
        if default is not None:
            return default
        raise _incomplete(path, f"{file.relative_to(path)} is missing") from error
    except (OSError, ValueError) as error:
        raise _incomplete(
            path, f"{file.relative_to(path)} cannot be read ({type(error).__name__})"
        ) from error


def _overruling(path: Path, folder: Path) -> dict[str, Any]:
    """Settings beside tokenizer.json that change what becomes of a text. Those of the usual value are left
    out, as they always were: an index made before they counted stays good."""
    tokenizer = read_json(path, folder / "tokenizer_config.json", default={})
    found = {name: tokenizer[name] for name in _OVERRULING if name in tokenizer}
    overruling = {name: value for name, value in found.items() if value not in (None, _OVERRULING[name])}
    for settings in sorted(folder.glob("sentence_*_config.json"))[:1]:
        if read_json(path, settings).get("do_lower_case"):
            overruling["lower case first"] = True
    return {"overruling": overruling} if overruling else {}


def _without_provenance(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _PROVENANCE}


def _incomplete(path: Path, fault: str) -> ModelMissing:
    return ModelMissing(
        f"The folder {path} holds no complete embedding model: {fault}.",
        hint="Put the whole model there again, as sentence-transformers saves it, or set embedding.model "
        "to another one.",
    )
