"""What a folder asks for is described or refused with its reason, before anything is embedded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestion.errors import ModelMissing, ModelNotServed
from retrieval.embedding.describing import describe
from retrieval.embedding.encoder import Dense, Encoder, Normalise
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.models import DEFAULT_MODEL, find_model
from tests.small_encoder import change_json, make_small_bert, write_json

Change = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_small_bert(tmp_path / "small")


def described(folder: Path) -> Encoder:
    return describe(read_model_folder(folder))


def config(**changes: Any) -> Change:
    return lambda folder: change_json(folder / "config.json", **changes)


def settings(**changes: Any) -> Change:
    return lambda folder: change_json(folder / "sentence_bert_config.json", **changes)


def pooling(**changes: Any) -> Change:
    return lambda folder: change_json(folder / "1_Pooling" / "config.json", **changes)


def tokenizing(**changes: Any) -> Change:
    return lambda folder: change_json(folder / "tokenizer.json", **changes)


def tokenizer_config(**changes: Any) -> Change:
    return lambda folder: change_json(folder / "tokenizer_config.json", **changes)


def prompted_without_prompt(folder: Path) -> None:
    pooling(include_prompt=False)(folder)
    change_json(folder / "config_sentence_transformers.json", prompts={"query": "q: "})


def module(kind: str, **own: Any) -> Change:
    """Put another module at the end."""

    def add(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        name = kind.rsplit(".", 1)[-1]
        path = f"{len(modules)}_{name}"
        class_name = kind if "." in kind else f"sentence_transformers.models.{kind}"
        modules.append({"idx": len(modules), "path": path, "type": class_name})
        write_json(folder / "modules.json", modules)
        write_json(folder / path / "config.json", own)
        (folder / path / "model.safetensors").touch()

    return add


def dense(**own: Any) -> Change:
    return module("Dense", **{"in_features": 32, "out_features": 16, **own})


def only_for_torch(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def test_the_default_model_is_described() -> None:
    assert described(find_model(DEFAULT_MODEL)) == Encoder(
        vocabulary=30522,
        positions=512,
        positions_skip=None,
        token_types=2,
        layers=6,
        heads=12,
        hidden=384,
        inner=1536,
        epsilon=1e-12,
        activation="gelu",
        buckets=0,
        pooling=("mean",),
        steps=(),
        dimensions=384,
    )


def test_what_follows_the_pooling_is_described(folder: Path) -> None:
    dense(activation_function="torch.nn.modules.linear.Identity", bias=False)(folder)
    module("Dropout")(folder)
    module("Normalize")(folder)
    assert described(folder).steps == (Normalise(), Dense(32, 16, bias=False, tanh=False))
    assert described(folder).dimensions == 16


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (config(model_type="modernbert"), "the architecture 'modernbert'"),
        (config(model_type=None), "the architecture 'None'"),
        (config(hidden_act="gelu_10"), "the activation 'gelu_10'"),
        (config(position_embedding_type="relative_key"), "positions of the type 'relative_key'"),
        (config(auto_map={"AutoModel": "own.Model"}), "code of its own (auto_map"),
        (config(quantization_config={"bits": 4}), "quantised weights"),
        (config(is_decoder=True), "is_decoder"),
        (config(pruned_heads={"0": [1]}), "pruned_heads"),
        (settings(do_lower_case=True), None),  # its tokenizer makes lower case itself
        (settings(transformer_task="fill-mask"), "the task 'fill-mask'"),
        (settings(modality_config={"text": {"method": "other"}}), "an output of its own"),
        (settings(query_length=32), "query_length"),
        (settings(tokenizer_args={"use_fast": False}), "tokenizer_args"),
        (pooling(pooling_mode_mean_tokens=False, pooling_mode_lasttoken=True), "the pooling 'lasttoken'"),
        (pooling(pooling_mode_new_kind=True), "the pooling 'pooling_mode_new_kind'"),
        (pooling(pooling_mode="weightedmean"), "the pooling 'weightedmean'"),
        (pooling(include_prompt=False), None),  # there is no prompt
        (prompted_without_prompt, "a pooling without the prompt"),
        (module("LSTM"), "the module LSTM"),
        (module("someone.else.Normalize"), "code of its own (someone.else.Normalize)"),
        (module("Normalize", module_input_name="token_embeddings"), "module_input_name"),
        (dense(use_residual=True), "a dense layer with a residual"),
        (dense(activation_function="torch.nn.modules.activation.GELU"), "of a dense layer"),
        (only_for_torch, "weights in pytorch_model.bin"),
        (lambda folder: write_json(folder / "adapter_config.json", {}), "an adapter"),
        (tokenizer_config(truncation_side="left"), "the truncation_side 'left'"),
        (tokenizer_config(do_lower_case=False), "which contradicts tokenizer.json"),
        (tokenizer_config(tokenizer_class="BertTokenizerFast", do_lower_case=None), None),
        (tokenizer_config(tokenizer_class=None), None),  # the architecture's own
        (
            tokenizer_config(tokenizer_class="BertJapaneseTokenizer"),
            "tokenizer class 'BertJapaneseTokenizer'",
        ),
        (tokenizer_config(tokenizer_class="RobertaTokenizer"), "the normaliser of RobertaTokenizer"),
        (tokenizer_config(auto_map={"AutoTokenizer": "own.Tokenizer"}), "auto_map in tokenizer_config.json"),
        (tokenizer_config(cls_token="<s>"), "the special tokens of BertTokenizer"),
        (tokenizing(truncation={"direction": "Left", "max_length": 9}), "the truncation_side 'Left'"),
        (tokenizing(normalizer=None), "the normaliser of BertTokenizer"),
        (tokenizing(post_processor=None), "texts without special tokens"),
        (
            tokenizing(
                post_processor={
                    "type": "TemplateProcessing",
                    "single": [
                        {"SpecialToken": {"id": "[CLS]", "type_id": 2}},
                        {"Sequence": {"id": "A", "type_id": 0}},
                    ],
                }
            ),
            "token types other than 0",
        ),
    ],
)
def test_what_it_cannot_compute_is_refused_with_the_reason(
    folder: Path, change: Change, reason: str | None
) -> None:
    change(folder)
    if reason is None:
        described(folder)
        return
    with pytest.raises(ModelNotServed) as caught:
        described(folder)
    assert reason in caught.value.reason
    assert str(folder) in caught.value.message
    assert "embedding.runtime" in caught.value.hint


def test_lower_case_that_nobody_makes_is_refused(folder: Path) -> None:
    tokenizing(normalizer={"type": "NFC"})(folder)
    tokenizer_config(tokenizer_class="PreTrainedTokenizerFast")(folder)
    described(folder)
    settings(do_lower_case=True)(folder)
    with pytest.raises(ModelNotServed, match="lower case"):
        described(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (config(num_attention_heads=5), "no multiple of 5"),
        (config(vocab_size=None), "vocab_size"),
        (config(num_hidden_layers="many"), "many"),
        (settings(max_seq_length=500), "500 tokens, config.json has positions for 128"),
        (dense(in_features=48), "takes 48 values and is given 32"),
        (config(num_attention_heads=0), r"config\.json .*counts 0 heads"),
        (config(num_hidden_layers=-1), r"config\.json .*counts -1 layers"),
        (settings(modality_config=["text"]), "sentence-transformers settings"),
        (pooling(pooling_mode=7), r"the modules' config\.json"),
        (pooling(word_embedding_dimension=16), "word_embedding_dimension is 16, and tokens have 32"),
        (pooling(embedding_dimension=64), "embedding_dimension is 64, and tokens have 32"),
        (tokenizing(normalizer=["no"]), r"tokenizer\.json"),
        (config(model_type="xlm-roberta", pad_token_id=[]), r"config\.json .*pad_token_id is \[\]"),
    ],
)
def test_a_configuration_without_sense_is_refused(folder: Path, change: Change, fault: str) -> None:
    change(folder)
    with pytest.raises(ModelNotServed, match=fault) as caught:
        described(folder)
    assert str(folder) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["tokenizer_config.json", "sentence_bert_config.json", "tokenizer.json"])
def test_a_file_that_is_no_json_object_is_named(folder: Path, name: str) -> None:
    model = read_model_folder(folder)
    (folder / name).write_text("[]")
    with pytest.raises(ModelMissing, match=f"{name} holds no object"):
        describe(model)
    (folder / name).unlink()
    (folder / name).mkdir()  # whoever runs the tests, nobody reads a folder
    with pytest.raises(ModelMissing, match=f"{name} cannot be read"):
        describe(model)


def test_vectors_are_cut_only_where_the_folder_says_so(folder: Path) -> None:
    change_json(folder / "config_sentence_transformers.json", truncate_dim=20)
    assert described(folder).dimensions == 20
    cut = read_model_folder(folder)
    (folder / "config_sentence_transformers.json").unlink()
    with pytest.raises(ModelNotServed, match="have 32 values, not 20"):
        describe(cut)
