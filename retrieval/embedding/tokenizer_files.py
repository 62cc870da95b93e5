"""Whether tokenizer.json alone says what becomes of a text, as it must for this runtime.

Other files of the folder may overrule it in transformers; what the classes of that library do, whatever any
file says, is in ``tokenizer_classes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retrieval.embedding.model_folder import ModelFolder, read_json
from retrieval.embedding.not_served import AsksFor
from retrieval.embedding.tokenizer_classes import contradictions


def check_tokenizer(folder: ModelFolder, *, lower_case: bool) -> None:
    """That tokenizer.json says how text is cut, whatever other files transformers lets overrule it, and that
    single texts have tokens, all of type 0. ``lower_case``: sentence-transformers makes it so first.

    Raises AsksFor, ModelMissing, and what Python raises for a file that makes no sense.
    """
    here = folder.modules[0].folder
    tokenizer = read_json(folder.path, here / "tokenizer.json", default={})
    settings = read_json(folder.path, here / "tokenizer_config.json", default={})
    normaliser = tokenizer.get("normalizer") or {}
    if lower_case and not _lowercases(normaliser):
        raise AsksFor("lower case that tokenizer.json does not make (do_lower_case)")
    for name, part in (("truncation_side", "truncation"), ("padding_side", "padding")):
        side = settings.get(name) or (tokenizer.get(part) or {}).get("direction", "right")
        if side.lower() != "right":
            raise AsksFor(f"the {name} {side!r}")
    if settings.get("auto_map"):
        raise AsksFor("code of its own (auto_map in tokenizer_config.json)")
    types = list(_special_token_types(tokenizer.get("post_processor") or {}))
    if not types:
        raise AsksFor("texts without special tokens")
    if any(types):
        raise AsksFor("token types other than 0 for a single text")
    for asked in contradictions(tokenizer, settings, folder.modules[0].config):
        raise AsksFor(asked)


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
