"""What transformers makes of a tokenizer whose class it knows, as far as that may differ from tokenizer.json.

From version 5 on such a class takes the vocabulary from tokenizer.json, and builds the normaliser, the way
texts are cut into words and the special tokens around them from tokenizer_config.json or its own defaults
(``TokenizersBackend.convert_to_native_format``, and ``__init__`` of each class). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Parts = Mapping[str, Any]
"""Of ``tokenizer.json``, or of any other file of JSON."""

_AS_STORED = {"TokenizersBackend", "PreTrainedTokenizer", "PythonBackend"}
_OF_ARCHITECTURE = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}
_TEXT = "$A"


def tokenizer_class(settings: Parts, config: Parts) -> str:
    """The class that transformers takes, without the ending that says no more."""
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    return str(named or _OF_ARCHITECTURE.get(str(config.get("model_type")), "")).removesuffix("Fast")


def contradictions(tokenizer: Parts, settings: Parts, config: Parts) -> Iterator[str]:
    """What the class would not make of texts as ``tokenizer`` does, each as something a folder asks for."""
    name = tokenizer_class(settings, config)
    if name in _AS_STORED:
        return
    if name not in _CLASSES:
        yield f"the tokenizer class {name!r}"
        return
    for part in _CLASSES[name](tokenizer, settings):
        yield f"{part} of {name}, which contradicts tokenizer.json"


def _bert(tokenizer: Parts, settings: Parts) -> Iterator[str]:
    yield from _word_pieces(tokenizer, settings, first="[CLS]", last="[SEP]")


def _mpnet(tokenizer: Parts, settings: Parts) -> Iterator[str]:
    yield from _word_pieces(tokenizer, settings, first="<s>", last="</s>")


def _word_pieces(tokenizer: Parts, settings: Parts, *, first: str, last: str) -> Iterator[str]:
    stored = tokenizer.get("normalizer") or {}
    if stored.get("type") != "BertNormalizer" or not stored.get("clean_text", True):
        yield "the normaliser"
        return
    lowercase = settings.get("do_lower_case", True)
    if lowercase != stored.get("lowercase", True):
        yield "do_lower_case"
    strip = settings.get("strip_accents")
    if _strips(strip, lowercase) != _strips(stored.get("strip_accents"), stored.get("lowercase", True)):
        yield "strip_accents"
    if settings.get("tokenize_chinese_chars", True) != stored.get("handle_chinese_chars", True):
        yield "tokenize_chinese_chars"
    if (tokenizer.get("pre_tokenizer") or {}).get("type") != "BertPreTokenizer":
        yield "the cut into words"
    model = tokenizer["model"]
    same = (
        model.get("type", "WordPiece") == "WordPiece"
        and model.get("unk_token", "[UNK]") == _token(settings, "unk_token", "[UNK]")
        and model.get("continuing_subword_prefix", "##") == "##"
        and model.get("max_input_chars_per_word", 100) == 100
    )
    if not same:
        yield "the cut of words into pieces"
    yield from _around_text(
        tokenizer, _token(settings, "cls_token", first), _token(settings, "sep_token", last)
    )


def _strips(strip_accents: bool | None, lowercase: bool) -> bool:
    """Accents go with capitals unless something else is said."""
    return bool(lowercase if strip_accents is None else strip_accents)


def _byte_pairs(tokenizer: Parts, settings: Parts) -> Iterator[str]:
    if tokenizer.get("normalizer"):
        yield "the normaliser"
    words = tokenizer.get("pre_tokenizer") or {}
    if words.get("type") != "ByteLevel" or not words.get("use_regex", True):
        yield "the cut into words"
    elif bool(words.get("add_prefix_space", True)) != bool(settings.get("add_prefix_space", False)):
        yield "add_prefix_space"
    model = tokenizer["model"]
    unlike = (
        "dropout",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "fuse_unk",
        "byte_fallback",
        "ignore_merges",
    )
    if model.get("type", "BPE") != "BPE" or any(model.get(name) for name in unlike):
        yield "the cut of words into pieces"
    yield from _around_text(
        tokenizer, _token(settings, "cls_token", "<s>"), _token(settings, "sep_token", "</s>")
    )


def _xlm_roberta(tokenizer: Parts, settings: Parts) -> Iterator[str]:
    yield from _sentence_pieces(tokenizer, settings, unknown=3)


def _camembert(tokenizer: Parts, settings: Parts) -> Iterator[str]:
    token = _token(settings, "unk_token", "<unk>")
    places = (place for place, entry in enumerate(tokenizer["model"]["vocab"]) if entry[0] == token)
    yield from _sentence_pieces(tokenizer, settings, unknown=next(places, 0))


def _sentence_pieces(tokenizer: Parts, settings: Parts, *, unknown: int) -> Iterator[str]:
    normalisers = _each(tokenizer.get("normalizer"), "normalizers")
    if [part.get("type") for part in normalisers] not in ([], ["Precompiled"]):
        yield "the normaliser"
    words = _each(tokenizer.get("pre_tokenizer"), "pretokenizers")
    if [part.get("type") for part in words] != ["WhitespaceSplit", "Metaspace"]:
        yield "the cut into words"
    else:
        first = "always" if settings.get("add_prefix_space", True) else "never"
        legacy = "always" if words[1].get("add_prefix_space", True) else "never"
        if words[1].get("prepend_scheme", legacy) != first:
            yield "add_prefix_space"
        if words[1].get("replacement") != "\u2581" or not words[1].get("split", True):
            yield "the cut into words"
    model = tokenizer["model"]
    if (
        model.get("type", "Unigram") != "Unigram"
        or model.get("unk_id") != unknown
        or model.get("byte_fallback")
    ):
        yield "the cut of words into pieces"
    yield from _around_text(
        tokenizer, _token(settings, "bos_token", "<s>"), _token(settings, "eos_token", "</s>")
    )


_CLASSES: Mapping[str, Callable[[Parts, Parts], Iterator[str]]] = {
    "BertTokenizer": _bert,
    "DistilBertTokenizer": _bert,
    "MPNetTokenizer": _mpnet,
    "RobertaTokenizer": _byte_pairs,
    "XLMRobertaTokenizer": _xlm_roberta,
    "CamembertTokenizer": _camembert,
}


def _token(settings: Parts, name: str, default: str) -> str:
    token = settings.get(name) or default
    return str(token["content"] if isinstance(token, dict) else token)


def _around_text(tokenizer: Parts, first: str, last: str) -> Iterator[str]:
    if _template(tokenizer.get("post_processor")) != [first, _TEXT, last]:
        yield "the special tokens"


def _template(processor: Any) -> list[str]:
    """A single text with its special tokens, as ``tokenizer.json`` makes it."""
    found: list[str] = []
    for part in _each(processor, "processors"):
        kind = part.get("type")
        if kind in ("BertProcessing", "RobertaProcessing"):
            found += [str(part["cls"][0]), _TEXT, str(part["sep"][0])]
        elif kind == "TemplateProcessing":
            pieces = [piece for one in part["single"] for piece in one.items()]
            found += [_TEXT if name == "Sequence" else str(piece["id"]) for name, piece in pieces]
        elif kind != "ByteLevel":  # which moves offsets only
            found.append(str(kind))
    return found


def _each(part: Any, within: str) -> list[Any]:
    """The parts of a sequence, or the one that there is."""
    if not part:
        return []
    return list(part[within]) if part.get("type") == "Sequence" else [part]
