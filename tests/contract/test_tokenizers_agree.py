"""A folder whose tokenizer.json does not say how transformers cuts its texts is found out.

transformers builds anew the tokenizers of the classes that it knows. Each folder here is read by it: where
ours is served the two agree token by token, and where it is refused they do not: nothing is refused in vain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ingestion.errors import ModelNotServed
from retrieval.embedding.describing import describe
from retrieval.embedding.model_folder import read_model_folder
from tests.small_encoder import change_json, make_small_bert

TEXTS = [
    "Annual leave: every EMPLOYEE may take 30 days.",
    "na\u00efve caf\u00e9, e\u0301; \u6771\u4eac\u90fd",
    " two  spaces\nand a line ",
    "",
    "don't we'll",
]
SPECIAL = {"cls_token": "<s>", "sep_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"}
PADDING = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
NORMALISER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
CASED = {**NORMALISER, "lowercase": False}


def byte_pairs(space: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    tokenizer.decoder = decoders.ByteLevel()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def sentence_pieces(spaced: bool) -> Tokenizer:
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", *map(chr, range(33, 127))]
    vocabulary = [
        (token, -1.0 - place / 100) for place, token in enumerate([*tokens, "\u2581leave", "<mask>"])
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    scheme = "always" if spaced else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 0), ("</s>", 2)])
    return tokenizer


def agree(folder: Path) -> bool:
    from transformers import AutoTokenizer

    theirs: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ours.no_truncation()
    ours.no_padding()
    return [theirs(text)["input_ids"] for text in TEXTS] == [ours.encode(text).ids for text in TEXTS]


def served(folder: Path) -> bool:
    try:
        describe(read_model_folder(folder))
    except ModelNotServed:
        return False
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_small_bert(tmp_path / "small")


@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", None])
@pytest.mark.parametrize(
    ("normaliser", "settings", "sound"),
    [
        (NORMALISER, {}, True),
        (NORMALISER, {"do_lower_case": None, "tokenize_chinese_chars": None}, True),
        (NORMALISER, {"do_lower_case": False}, False),
        (CASED, {"do_lower_case": False}, True),
        (CASED, {"do_lower_case": None}, False),
        ({**CASED, "strip_accents": True}, {"do_lower_case": False}, False),
        ({**CASED, "strip_accents": True}, {"do_lower_case": False, "strip_accents": True}, True),
        ({**NORMALISER, "handle_chinese_chars": False}, {}, False),
        ({**NORMALISER, "handle_chinese_chars": False}, {"tokenize_chinese_chars": False}, True),
        ({"type": "Lowercase"}, {}, False),
    ],
)
def test_word_pieces(
    folder: Path, name: str | None, normaliser: dict[str, Any], settings: dict[str, Any], sound: bool
) -> None:
    change_json(folder / "tokenizer.json", normalizer=normaliser)
    change_json(folder / "tokenizer_config.json", tokenizer_class=name, **settings)
    assert (served(folder), agree(folder)) == (sound, sound)


def test_a_class_that_reads_the_file_may_have_any_normaliser(folder: Path) -> None:
    change_json(folder / "tokenizer.json", normalizer={"type": "Lowercase"})
    change_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert (served(folder), agree(folder)) == (True, True)


def of_roberta(folder: Path, model_type: str, tokenizer: Tokenizer, **settings: Any) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 200, "pad_token_id": 1}
    change_json(folder / "config.json", model_type=model_type, **config)
    (folder / "tokenizer_config.json").unlink()
    change_json(folder / "tokenizer_config.json", **{**SPECIAL, **PADDING, **settings})


@pytest.mark.parametrize("name", ["RobertaTokenizer", "RobertaTokenizerFast", None])
@pytest.mark.parametrize(
    ("space", "settings", "sound"),
    [
        (False, {}, True),
        (True, {"add_prefix_space": True}, True),
        (True, {}, False),
        (False, {"add_prefix_space": True}, False),
        (False, {"sep_token": "<s>"}, False),
    ],
)
def test_byte_pairs(
    folder: Path, name: str | None, space: bool, settings: dict[str, Any], sound: bool
) -> None:
    of_roberta(folder, "roberta", byte_pairs(space), tokenizer_class=name, **settings)
    assert (served(folder), agree(folder)) == (sound, sound)


@pytest.mark.parametrize("model_type", ["xlm-roberta", "camembert"])
@pytest.mark.parametrize(
    ("spaced", "settings", "sound"),
    [
        (True, {}, True),
        (False, {"add_prefix_space": False}, True),
        (False, {}, False),
    ],
)
def test_sentence_pieces(
    folder: Path, model_type: str, spaced: bool, settings: dict[str, Any], sound: bool
) -> None:
    name = "XLMRobertaTokenizer" if model_type == "xlm-roberta" else "CamembertTokenizer"
    of_roberta(folder, model_type, sentence_pieces(spaced), tokenizer_class=name, **settings)
    assert (served(folder), agree(folder)) == (sound, sound)


def test_a_normaliser_that_sentence_pieces_lose_is_found_out(folder: Path) -> None:
    tokenizer = sentence_pieces(True)
    tokenizer.normalizer = normalizers.Lowercase()
    of_roberta(folder, "xlm-roberta", tokenizer, tokenizer_class="XLMRobertaTokenizer")
    assert (served(folder), agree(folder)) == (False, False)
