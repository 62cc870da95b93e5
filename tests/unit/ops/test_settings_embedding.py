"""Settings of an endpoint: what is missing, what makes no sense together, and what is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingestion.errors import Misconfigured, WrongSettings
from ops.remote import cost, remote_embedder
from ops.settings import load
from ops.settings_embedding import leaves_in_the_open
from tests.unit.ops.test_settings import faults, written

KEY = "sk-nobody-may-see-this"
ENDPOINT = '[embedding]\nruntime = "openai"\nurl = "http://localhost:8000/v1"\nmodel = "m"\ndimensions = 8\n'


def test_an_endpoint_and_its_limits(tmp_path: Path) -> None:
    path = written(
        tmp_path, ENDPOINT + "concurrency = 2\nbatch_texts = 16\nprice_per_million_tokens = 0.02\n"
    )
    settings = load(path, environ={"HEADWATER_EMBEDDING__API_KEY": KEY}).embedding
    embedder = remote_embedder(settings)
    assert embedder is not None
    assert embedder.call_limits.at_once == 2
    assert embedder.call_limits.texts == 16
    assert (embedder.dimensions, embedder.max_tokens) == (8, 1200)
    assert cost(settings, 3_000_000) == pytest.approx(0.06)
    embedder.close()


def test_prompts_are_kept_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, ENDPOINT + 'query_prompt = "query: "\n')
    settings = load(path, environ={"HEADWATER_EMBEDDING__DOCUMENT_PROMPT": "passage: "}).embedding
    assert (settings.query_prompt, settings.document_prompt) == ("query: ", "passage: ")
    embedder = remote_embedder(settings)
    assert embedder is not None
    assert embedder.max_tokens == 1200 - len("passage: ")
    embedder.close()


@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_prompt_leaves_room_for_a_text(tmp_path: Path, place: str) -> None:
    prompt = 'query_prompt = "' + "q" * 33 + '"\n'
    environ = {"HEADWATER_EMBEDDING__MAX_CHARACTERS": "64"} if place == "environment" else {}
    path = written(tmp_path, ENDPOINT + prompt + ("" if environ else "max_characters = 64\n"))
    with pytest.raises(WrongSettings, match=r"embedding\.query_prompt: is longer than half") as caught:
        load(path, environ=environ)
    assert "33 characters of 64" in str(caught.value)
    assert load(written(tmp_path, ENDPOINT + prompt), environ={}).embedding.query_prompt == "q" * 33


def test_settings_of_a_local_model_make_no_endpoint(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[embedding]\nmodel = "hashing"\n'), environ={}).embedding
    assert remote_embedder(settings) is None
    assert cost(settings, 1) is None


def test_everything_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[embedding]\nruntime = "cohere"\napi_key = "a"\napi_key_file = "key"\n'
        "batch_texts = 97\nconcurrency = 0\n",
    )
    assert sorted(faults(path)) == sorted(
        [
            f'{path}:1 embedding.url: is missing; name the endpoint: url = "https://api.cohere.com".',
            f'{path}:1 embedding.model: is missing; name the endpoint\'s model: model = "embed-v4.0".',
            f"{path}:4 embedding.api_key_file: is given beside embedding.api_key; keep one of the two.",
            f"{path}:5 embedding.batch_texts: should be at most 96 with cohere. It is 97.",
            f"{path}:6 embedding.concurrency: should be greater than or equal to 1. It is 0.",
        ]
    )


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ('runtime = "sentence-transformers"\nprecision = "int8"\n', ["precision"]),
        ('runtime = "openai"\nurl = "http://h/v1"\nmodel = "m"\nprecision = "int8"\n', ["precision"]),
        ('model = "hashing"\nprecision = "int8"\n', ["precision"]),
        ('model = "hashing"\nruntime = "openvino"\nprecision = "int8"\n', ["runtime", "precision"]),
        ('model = "hashing"\nruntime = "auto"\nprecision = "float"\n', []),
        ('runtime = "openvino"\nprecision = "int8"\n', []),
        ('precision = "int8"\n', []),
    ],
)
def test_a_runtime_a_precision_and_a_model_must_fit(tmp_path: Path, table: str, keys: list[str]) -> None:
    path = written(tmp_path, f"[embedding]\nconcurrency = 0\n{table}")
    told = [line for line in faults(path) if "concurrency" not in line]
    assert [line.split(": ")[0].rsplit(".", 1)[1] for line in told] == keys


def test_what_is_for_an_endpoint_needs_one(tmp_path: Path) -> None:
    path = written(
        tmp_path, f'[embedding]\nurl = "http://localhost/v1"\napi_key = "{KEY}"\nquery_prompt = ""\n'
    )
    told = faults(path)
    assert [line.split(": ")[0] for line in told] == [
        f"{path}:2 embedding.url",
        f"{path}:3 embedding.api_key",
        f"{path}:4 embedding.query_prompt",
    ]
    assert all("set embedding.runtime to openai or cohere" in line for line in told)
    assert KEY not in "".join(told)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:hunter2@host/v1", "holds a user or a password"),
        ("https://host/v1?key=hunter2", "holds a query"),
        ("https://host/v1#hunter2", "holds a query or a fragment"),
        ("ftp://host/hunter2", "is no address"),
        ("host:8000", "is no address"),
        ("http://host:hunter2/v1", "is no address"),
        ("http://[hunter2/v1", "is no address"),
        ("http://ho st/hunter2", "is no address"),
        ("http://exa..mple/v1", "names a host that cannot be"),
        ("http://.example/v1", "names a host that cannot be"),
        (f"http://{'a' * 64}.example/v1", "names a host that cannot be"),
    ],
    ids=range(11),
)
def test_addresses(tmp_path: Path, url: str, said: str) -> None:
    (told,) = faults(written(tmp_path, ENDPOINT.replace("http://localhost:8000/v1", url)))
    assert "embedding.url: " + said in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000/v1", "http://[::1]:8000/v1", "https://bücher.example/v1", "http://host./v1"],
)
def test_addresses_that_can_be(tmp_path: Path, url: str) -> None:
    path = written(tmp_path, ENDPOINT.replace("http://localhost:8000/v1", url))
    assert load(path, environ={}).embedding.url == url


@pytest.mark.parametrize("key", ["two words hunter2", "hunter2\\nX-Header: 1", "hunter2 é"])
def test_a_key_that_no_header_takes_is_not_shown(tmp_path: Path, key: str) -> None:
    (told,) = faults(written(tmp_path, ENDPOINT + f'api_key = "{key}"\n'))
    assert "embedding.api_key: holds a character that no key has" in told
    assert "hunter2" not in told


def test_a_key_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    (told,) = faults(written(tmp_path, ENDPOINT + 'api_key = ["hunter2"]\n'))
    assert "hunter2" not in told


def test_the_key_is_shown_nowhere(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ENDPOINT), environ={"HEADWATER_EMBEDDING__API_KEY": KEY})
    shown = settings.in_force()["embedding.api_key"]
    assert shown == {"value": "**********", "from": "HEADWATER_EMBEDDING__API_KEY"}
    everywhere = [repr(settings), str(settings), settings.model_dump_json(), json.dumps(settings.in_force())]
    assert not any(KEY in text for text in everywhere)


def test_a_key_in_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, ENDPOINT + 'api_key_file = "key"\n')
    settings = load(path, environ={}).embedding
    assert settings.api_key_file == tmp_path / "key"
    with pytest.raises(Misconfigured, match="No such file") as missing:
        remote_embedder(settings)
    assert "embedding.api_key_file" in missing.value.hint
    (tmp_path / "key").write_text("\n")
    with pytest.raises(Misconfigured, match="is empty"):
        remote_embedder(settings)
    (tmp_path / "key").write_text(f"{KEY} and more\n")
    with pytest.raises(Misconfigured, match="no key has") as wrong:
        remote_embedder(settings)
    assert KEY not in str(wrong.value)
    (tmp_path / "key").write_text(f"{KEY}\n")
    embedder = remote_embedder(settings)
    assert embedder is not None
    embedder.close()


@pytest.mark.parametrize("pasted", [KEY, KEY * 30])
def test_a_key_pasted_in_place_of_its_file_is_not_shown(tmp_path: Path, pasted: str) -> None:
    settings = load(written(tmp_path, ENDPOINT + f'api_key_file = "{pasted}"\n'), environ={})
    with pytest.raises(Misconfigured) as caught:
        remote_embedder(settings.embedding)
    assert KEY not in str(caught.value)
    assert "embedding.api_key_file" in str(caught.value)
    assert KEY not in json.dumps(settings.in_force())


@pytest.mark.parametrize(
    ("url", "in_the_open"),
    [
        ("http://gpu.example:8000/v1", True),
        ("http://192.168.1.7/v1", True),
        ("http://[2001:db8::1]/v1", True),
        ("https://gpu.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.2/v1", False),
        ("http://[::1]/v1", False),
    ],
)
def test_what_leaves_the_machine_unencrypted(url: str, in_the_open: bool) -> None:
    assert leaves_in_the_open(url) is in_the_open


def test_an_endpoint_that_is_away_at_the_first_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = written(tmp_path, ENDPOINT.replace("dimensions = 8\n", "").replace("8000", "9"))
    with pytest.raises(Misconfigured, match="cannot be reached") as caught:
        remote_embedder(load(path, environ={}).embedding)
    assert "embedding.url" in caught.value.hint
    assert "set embedding.dimensions" in caught.value.hint


def test_types_are_checked_with_the_rest() -> None:
    with pytest.raises(WrongSettings, match=r"embedding\.timeout_s: should be"):
        load(environ={"HEADWATER_EMBEDDING__RUNTIME": "openai", "HEADWATER_EMBEDDING__TIMEOUT_S": "0"})
