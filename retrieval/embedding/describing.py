"""From a model folder to the description of its encoder, or to the reason why there is none.

Whatever the folder asks for is either in the description or refused here, before anything is embedded;
nothing is approximated. It reads configuration only: whether the weights agree with it is for ``weights.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from retrieval.embedding.architectures import Ending, check_architecture, read_encoder
from retrieval.embedding.encoder import Dense, Encoder
from retrieval.embedding.model_folder import ModelFolder, read_json, truncate_dim
from retrieval.embedding.not_served import AsksFor, not_served
from retrieval.embedding.pooling import pooling_of, steps_of
from retrieval.embedding.tokenizer_files import check_tokenizer


def describe(folder: ModelFolder) -> Encoder:
    """The encoder of a folder. Raises ModelNotServed with the reason, also for a configuration in which this
    runtime sees no sense; ModelMissing for a file that cannot be read as one."""
    try:
        return _described(folder)
    except AsksFor as asked:
        raise not_served(folder.path, f"it asks for {asked}") from None


def _described(folder: ModelFolder) -> Encoder:
    config = folder.modules[0].config
    _refuse_foreign_code(folder)
    with _sense(folder, "the sentence-transformers settings"):
        _refuse_unusual_files(folder)
    kind = str(config.get("model_type"))
    check_architecture(kind)
    with _sense(folder, "the modules' config.json"):
        ending = Ending(pooling_of(folder), steps_of(folder), folder.dimensions)
    with _sense(folder, "config.json"):
        encoder = read_encoder(kind, config, ending)
        _check_sizes(folder, encoder)
    with _sense(folder, "tokenizer.json or tokenizer_config.json"):
        check_tokenizer(folder, lower_case=bool(_settings(folder).get("do_lower_case")))
    return encoder


@contextmanager
def _sense(folder: ModelFolder, file: str) -> Iterator[None]:
    """Whatever is of a type or size that no such file has makes no sense. Raises ModelNotServed."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{file} makes no sense to it ({type(error).__name__}: {error})"
        raise not_served(folder.path, reason) from error


def _refuse_foreign_code(folder: ModelFolder) -> None:
    for module in folder.modules:
        if not module.class_name.startswith("sentence_transformers."):
            raise AsksFor(f"code of its own ({module.class_name})")
    if folder.modules[0].config.get("auto_map"):
        raise AsksFor("code of its own (auto_map in config.json)")


def _refuse_unusual_files(folder: ModelFolder) -> None:
    transformer = folder.modules[0]
    wrong = [file.name for file in transformer.weights if file.suffix != ".safetensors"]
    if wrong:
        raise AsksFor(
            f"weights in {wrong[0]}, a format that only torch reads; model.safetensors is not there"
        )
    if (transformer.folder / "adapter_config.json").exists():
        raise AsksFor("an adapter (adapter_config.json)")
    if transformer.config.get("quantization_config"):
        raise AsksFor("quantised weights (quantization_config in config.json)")
    settings = _settings(folder)
    task = settings.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise AsksFor(f"the task {task!r}")
    modalities = settings.get("modality_config") or {"text": _PLAIN_TEXT}
    if modalities.get("text") != _PLAIN_TEXT or settings.get("module_output_name", _TOKENS) != _TOKENS:
        raise AsksFor("an output of its own (modality_config)")
    for name in _UNUSUAL_SETTINGS:
        if settings.get(name):
            raise AsksFor(f"{name} in its sentence-transformers settings")


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
    return read_json(folder.path, files[0]) if files else {}


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
