"""What a folder says of its model, for the shapes that sentence-transformers has saved over the years."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ingestion.errors import Misconfigured, ModelMissing
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.models import DEFAULT_MODEL, find_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete small model, in the layout of sentence-transformers 2; its weights are not weights."""
    path = tmp_path / "small-model"
    path.mkdir()
    write_json(path / "modules.json", [module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")])
    write_json(path / "config.json", {"hidden_size": 48, "max_position_embeddings": 512})
    write_json(path / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    write_json(
        path / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": 48,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
        },
    )
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "passage": 3, ":": 4, "leave": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def module(place: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def fingerprint(folder: Path) -> str:
    return read_model_folder(folder).fingerprint(DigestCache(folder.parent / "digests.json"))


def test_a_folder_describes_its_model(folder: Path) -> None:
    model = read_model_folder(folder)
    assert (model.name, model.dimensions, model.max_tokens) == ("small-model", 48, 128)
    assert (model.document_prompt, model.query_prompt) == ("", "")


def test_its_tokenizer_neither_truncates_nor_pads(folder: Path) -> None:
    tokenizer = read_model_folder(folder).tokenizer()
    assert len(tokenizer.encode("leave " * 10)) == 12


def test_a_limit_that_is_not_stated_is_the_smaller_of_tokenizer_and_model(folder: Path) -> None:
    (folder / "sentence_bert_config.json").unlink()
    assert read_model_folder(folder).max_tokens == 512
    write_json(folder / "tokenizer_config.json", {"model_max_length": 384})
    assert read_model_folder(folder).max_tokens == 384
    write_json(folder / "tokenizer_config.json", {"model_max_length": 1e30})  # "no limit"
    assert read_model_folder(folder).max_tokens == 512


def test_a_model_that_states_no_limit_is_refused(folder: Path) -> None:
    (folder / "sentence_bert_config.json").unlink()
    write_json(folder / "config.json", {"hidden_size": 48})
    with pytest.raises(ModelMissing, match="how many tokens"):
        read_model_folder(folder)


@pytest.mark.parametrize(
    ("pooling", "dimensions"),
    [
        ({"embedding_dimension": 48, "pooling_mode": "cls"}, 48),
        ({"embedding_dimension": 48, "pooling_mode": ["mean", "max"]}, 96),
        ({"word_embedding_dimension": 48, "pooling_mode_cls_token": 1, "pooling_mode_max_tokens": 1}, 96),
    ],
)
def test_pooled_vectors_are_put_end_to_end(folder: Path, pooling: dict[str, Any], dimensions: int) -> None:
    write_json(folder / "1_Pooling" / "config.json", pooling)
    assert read_model_folder(folder).dimensions == dimensions


def test_a_dense_layer_and_a_truncation_set_the_length(folder: Path) -> None:
    kinds = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        ("2_Dense", "Dense"),
        ("3_Normalize", "Normalize"),
    ]
    write_json(folder / "modules.json", [module(n, path, kind) for n, (path, kind) in enumerate(kinds)])
    write_json(folder / "2_Dense" / "config.json", {"in_features": 48, "out_features": 32})
    with pytest.raises(ModelMissing, match=r"2_Dense.model\.safetensors is missing"):
        read_model_folder(folder)
    (folder / "2_Dense" / "model.safetensors").write_bytes(b"dense")
    assert read_model_folder(folder).dimensions == 32
    write_json(folder / "config_sentence_transformers.json", {"truncate_dim": 16})
    assert read_model_folder(folder).dimensions == 16


def test_a_transformer_without_modules_takes_the_mean(folder: Path) -> None:
    (folder / "modules.json").unlink()
    (folder / "1_Pooling" / "config.json").unlink()
    (folder / "1_Pooling").rmdir()
    assert read_model_folder(folder).dimensions == 48


@pytest.mark.parametrize(
    ("settings", "prompts"),
    [
        ({"prompts": {"query": "q: ", "passage": "p: "}}, ("p: ", "q: ")),
        ({"prompts": {"query": "q: ", "document": "d: ", "passage": "p: "}}, ("d: ", "q: ")),
        ({"prompts": {"all": "a: "}, "default_prompt_name": "all"}, ("a: ", "a: ")),
        ({"prompts": {"query": "", "document": ""}, "default_prompt_name": None}, ("", "")),
    ],
)
def test_prompts_are_chosen_as_the_library_does(
    folder: Path, settings: dict[str, Any], prompts: tuple[str, str]
) -> None:
    write_json(folder / "config_sentence_transformers.json", settings)
    model = read_model_folder(folder)
    assert (model.document_prompt, model.query_prompt) == prompts


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelMissing, match=name) as caught:
        read_model_folder(folder)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["modules.json", "config.json", "sentence_bert_config.json"])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b'{"half')
    with pytest.raises(ModelMissing, match=f"{name} cannot be read"):
        read_model_folder(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", "{}"),
        ("modules.json", '["Transformer"]'),
        ("modules.json", '[{"path": ""}]'),
        ("config.json", "[]"),
        ("sentence_bert_config.json", "[]"),
        ("sentence_bert_config.json", '{"max_seq_length": "many"}'),
        ("config_sentence_transformers.json", "[]"),
        ("config_sentence_transformers.json", '{"prompts": ["query"]}'),
        ("config_sentence_transformers.json", '{"truncate_dim": "many"}'),
    ],
)
def test_a_file_without_sense_is_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(ModelMissing, match=name):
        read_model_folder(folder)


def test_a_damaged_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelMissing, match=r"tokenizer\.json"):
        read_model_folder(folder).tokenizer()


def test_every_shard_must_be_there(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    weights = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    write_json(folder / "model.safetensors.index.json", {"weight_map": weights})
    with pytest.raises(ModelMissing, match=r"model-2\.safetensors is missing"):
        read_model_folder(folder)
    (folder / "model-2.safetensors").write_bytes(b"more")
    assert len(read_model_folder(folder).modules[0].weights) == 2


def test_no_folder_and_another_kind_of_model_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no such folder"):
        read_model_folder(tmp_path / "nowhere")
    write_json(folder / "modules.json", [module(0, "", "StaticEmbedding")])
    with pytest.raises(Misconfigured, match="StaticEmbedding"):
        read_model_folder(folder)


def test_the_fingerprint_ignores_where_the_model_is_and_how_it_is_stored(folder: Path) -> None:
    before = fingerprint(folder)
    moved = folder.rename(folder.parent / "moved")
    write_json(
        moved / "config.json",
        {
            "hidden_size": 48,
            "max_position_embeddings": 512,
            "dtype": "float16",
            "transformers_version": "9",
        },
    )
    (moved / "README.md").write_text("new")
    assert fingerprint(moved) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", "WEIGHTS"),
        ("sentence_bert_config.json", '{"max_seq_length": 64}'),
        ("config.json", '{"hidden_size": 48, "max_position_embeddings": 512, "hidden_act": "relu"}'),
        ("1_Pooling/config.json", '{"word_embedding_dimension": 48, "pooling_mode_cls_token": true}'),
        ("config_sentence_transformers.json", '{"prompts": {"query": "q: "}}'),
        ("sentence_bert_config.json", '{"max_seq_length": 128, "do_lower_case": true}'),
        ("tokenizer_config.json", '{"do_lower_case": false}'),
        ("tokenizer_config.json", '{"strip_accents": false}'),
        ("tokenizer_config.json", '{"add_prefix_space": true}'),
        ("tokenizer_config.json", '{"truncation_side": "left"}'),
    ],
)
def test_the_fingerprint_follows_what_vectors_depend_on(folder: Path, name: str, content: str) -> None:
    before = fingerprint(folder)
    (folder / name).write_text(content)
    assert fingerprint(folder) != before


def test_a_setting_of_the_usual_value_leaves_the_fingerprint(folder: Path) -> None:
    before = fingerprint(folder)
    usual = {
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "unk_token": "[UNK]",
    }
    write_json(folder / "tokenizer_config.json", usual)
    assert fingerprint(folder) == before


def test_the_fingerprint_of_the_default_model_is_what_it_was(tmp_path: Path) -> None:
    """Indexes have been made with it."""
    found = read_model_folder(find_model(DEFAULT_MODEL)).fingerprint(DigestCache(tmp_path / "digests.json"))
    assert found == "91e46a37c497bbb3f75945c5741a19dbff31d0611383ba73d46da6a3c643bc34"


def test_the_fingerprint_follows_the_tokenizer(folder: Path) -> None:
    before = fingerprint(folder)
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"leave"', '"holiday"'))
    assert fingerprint(folder) != before


def test_a_file_that_went_away_meanwhile_is_named(folder: Path) -> None:
    model = read_model_folder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelMissing, match=r"model\.safetensors"):
        model.fingerprint(DigestCache(folder.parent / "digests.json"))
