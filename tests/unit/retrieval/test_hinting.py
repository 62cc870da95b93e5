"""Hints of changes by HTTP: with a key, or signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from retrieval.api.guard import MAX_BODY_BYTES, Guard
from retrieval.api.hinting import add_hinting
from retrieval.api.keys import hash_key
from retrieval.api.problems import install
from retrieval.api.server import Server
from retrieval.hints import Hinting

KEY = "a-key-of-sufficient-length"
SECRET = b"a-secret-of-sufficient-length"


@dataclass
class Ear:
    """Who is told, behind a server."""

    keys: Sequence[str]
    heard: list[tuple[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        app = FastAPI()
        app.add_middleware(Guard, key_hashes=[hash_key(key) for key in self.keys], host="127.0.0.1")
        install(app, time.monotonic)
        add_hinting(app, Hinting(["wiki", "notes"], self._hear, {"wiki": SECRET}))
        self.server = Server(app, "127.0.0.1", 0)
        self.server.start()
        self.http = httpx.Client(base_url=self.server.url, timeout=20.0, trust_env=False)

    def _hear(self, source: str, places: Sequence[str]) -> None:
        self.heard.append((source, list(places)))

    def post(self, source: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.http.post(f"/v1/sources/{source}/hints", content=body, headers=named)
        return response.status_code, response.json()

    def close(self) -> None:
        self.http.close()
        self.server.stop()


@pytest.fixture(params=["with keys", "without keys"])
def ear(request: pytest.FixtureRequest) -> Iterator[Ear]:
    one = Ear([KEY] if request.param == "with keys" else [])
    yield one
    one.close()


def signed(body: bytes, secret: bytes = SECRET) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def named(*uris: Any) -> bytes:
    return json.dumps({"uris": uris}).encode()


def test_who_has_a_key_may_say_what_changed(ear: Ear) -> None:
    for source in ("wiki", "notes"):
        code, answer = ear.post(source, named("a", "b/"), authorization=f"Bearer {KEY}")
        assert (code, answer) == (202, {"source": source, "hints": 2})
    assert ear.heard == [("wiki", ["a", "b/"]), ("notes", ["a", "b/"])]


def test_who_signs_needs_no_key(ear: Ear) -> None:
    body = named("a")
    assert ear.post("wiki", body, x_hub_signature_256=signed(body))[0] == 202
    webhook = b'{"ref": "refs/heads/main", "commits": []}'
    assert ear.post("wiki", webhook, x_hub_signature_256=signed(webhook))[1]["hints"] == 0
    assert ear.heard == [("wiki", ["a"]), ("wiki", [""])]


def test_a_signature_that_is_none_is_refused(ear: Ear) -> None:
    body = named("a")
    for source, signature in (
        ("wiki", signed(body, b"another secret of some length")),
        ("wiki", signed(body + b" ")),
        ("wiki", ""),
        ("wiki", "sha256="),
        ("wiki", "sha1=ab"),
        ("notes", signed(body)),
        ("notes", signed(body, b"")),
    ):
        code, answer = ear.post(source, body, x_hub_signature_256=signature)
        assert code == 401
        assert "hint_secret_file" in answer["hint"]
    assert ear.heard == []


def test_a_signature_opens_no_other_address() -> None:
    ear = Ear([KEY])
    try:
        signature = {"x-hub-signature-256": signed(b"")}
        for path in ("/v1/sources", "/v1/sources/wiki/documents/hints", "/v1/sources/a/b/hints", "/metrics"):
            assert ear.http.post(path, headers=signature).status_code == 401
        assert ear.post("wiki", named("a"))[0] == 401
        assert ear.heard == []
    finally:
        ear.close()


def test_who_has_no_key_cannot_send_much() -> None:
    """The signature is looked at once all of the body is there."""
    ear, large = Ear([KEY]), b"x" * (MAX_BODY_BYTES + 1)
    try:
        assert ear.post("wiki", large, x_hub_signature_256=signed(large))[0] == 413
        assert ear.post("wiki", large, authorization=f"Bearer {KEY}")[0] == 202
    finally:
        ear.close()


@pytest.mark.parametrize(
    "uris", [[1], [""], ["a\0"], ["x" * 2001], ["a"] * 1001], ids=["number", "empty", "NUL", "long", "many"]
)
def test_what_no_document_is_called_is_refused(ear: Ear, uris: list[Any]) -> None:
    code, answer = ear.post("notes", named(*uris), authorization=f"Bearer {KEY}")
    assert code == 422
    assert answer["errors"][0]["field"] == "uris"
    assert ear.heard == []


def test_a_source_that_there_is_not_is_told(ear: Ear) -> None:
    code, answer = ear.post("absent", named("a"), authorization=f"Bearer {KEY}")
    assert code == 404
    assert "There are: wiki, notes" in answer["detail"]
