"""Documents that are handed over to `headwater up` by HTTP."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.acceptance.program import Json, Program

SETTINGS = """
[[sources]]
name = "tickets"
kind = "push"
max_document_bytes = 2000
[[sources]]
root = "notes"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.md").write_text("ferry times")
    (folder / "headwater.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    with Program(folder / "data", "--config", folder / "headwater.toml") as one:
        yield one.start().ready()


@pytest.fixture
def http(program: Program) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=program.listening(), timeout=40.0, trust_env=False) as client:
        yield client


def at(key: str = "", source: str = "tickets") -> str:
    return f"/v1/sources/{source}/documents" + (f"/{quote(key)}" if key else "")


def put(http: httpx.Client, key: str, body: str | bytes, code: int = 202, **options: object) -> Json:
    response = http.put(at(key), content=body, **options)  # type: ignore[arg-type]
    assert response.status_code == code, response.text
    answer: Json = response.json()
    return answer


def found(program: Program, question: str, generation: int) -> list[str]:
    """Once what was handed over is published."""
    word = question.split()[0]
    answer = program.answer(question, min_generation=generation, timeout_ms=30_000, freshness="wait")
    assert answer["min_generation_met"] is True
    return [hit["uri"] for hit in answer["hits"] if word in hit["text"]]


def test_one_reads_one_s_own_write(program: Program, http: httpx.Client) -> None:
    answer = put(http, "2026/first ticket", "quagga: the printer is on fire")
    assert (answer["source"], answer["key"], answer["changed"]) == ("tickets", "2026/first ticket", True)
    assert found(program, "quagga printer", answer["generation"]) == ["2026/first ticket"]
    answer = put(http, "2026/first ticket", "quagga: the printer is well again")
    (hit,) = [
        one
        for one in program.search("quagga printer", min_generation=answer["generation"])
        if "quagga" in one["text"]
    ]
    assert "well again" in hit["text"]
    answer = http.delete(at("2026/first ticket")).json()
    assert (answer["digest"], answer["changed"]) == (None, True)
    assert found(program, "quagga printer", answer["generation"]) == []


def test_the_same_again_is_the_same(program: Program, http: httpx.Client) -> None:
    first = put(http, "same", "okapi")
    found(program, "okapi", first["generation"])
    again = put(http, "same", "okapi")
    assert again == {**first, "changed": False}


def test_a_type_decides_how_it_is_read_and_a_title_is_kept(program: Program, http: httpx.Client) -> None:
    answer = put(
        http,
        "page",
        "<h1>Bongo</h1><p>antelopes &amp; more</p><script>secret()</script>",
        headers={"Content-Type": "text/html; charset=utf-8"},
        params={"title": "A page", "changed_at": "2026-11-28T05:00:00Z"},
    )
    assert found(program, "antelopes", answer["generation"]) == ["page"]
    (hit,) = [one for one in program.search("antelopes") if one["uri"] == "page"]
    assert "antelopes & more" in hit["text"]
    assert hit["heading_path"] == ["A page", "Bongo"]
    response = http.get(at("page"))
    assert response.headers["ETag"] == f'"{answer["digest"]}"'
    kept = response.json()
    assert (kept["title"], kept["content_type"]) == ("A page", "text/html; charset=utf-8")


def test_what_was_expected_is_compared(http: httpx.Client) -> None:
    one = put(http, "guarded", "tapir", headers={"If-None-Match": "*"})
    put(http, "guarded", "tapir two", 412, headers={"If-None-Match": "*"})
    problem = put(http, "guarded", "tapir two", 412, headers={"If-Match": '"other"'})
    assert f'tickets/guarded is "{one["digest"]}"' in problem["detail"]
    assert "If-Match" in problem["hint"]
    two = put(http, "guarded", "tapir two", headers={"If-Match": f'"{one["digest"]}"'})
    assert http.delete(at("guarded"), headers={"If-Match": f'"{one["digest"]}"'}).status_code == 412
    assert http.delete(at("guarded"), headers={"If-Match": f'"{two["digest"]}"'}).status_code == 202
    assert put(http, "guarded", "x", 422, headers={"If-None-Match": '"a"'})["errors"]


def test_many_come_as_lines_and_all_or_none_are_taken(program: Program, http: httpx.Client) -> None:
    lines: list[Json] = [{"key": f"batch/{number}.md", "text": f"gnu {number}"} for number in range(30)]
    lines += [{"key": "batch/b", "base64": base64.b64encode(b"gnu of bytes").decode(), "title": "T"}]

    def sent(lines: list[Json], code: int = 202) -> Json:
        body = "\n".join(json.dumps(line) for line in lines) + "\n\n"
        response = http.post(at(), content=body)
        assert response.status_code == code, response.text
        answer: Json = response.json()
        return answer

    answer = sent(lines)
    assert [one["key"] for one in answer["documents"]] == [line["key"] for line in lines]
    assert len(found(program, "gnu", answer["generation"])) >= 5
    again = sent(
        [*lines, {"key": "batch/0.md", "text": "twice"}, {"key": "c"}, {"key": "d", "base64": "?"}], 422
    )
    assert [one["field"] for one in again["errors"]] == ["line 32", "line 33", "line 34"]
    assert "line 1 does" in again["errors"][0]["message"]
    gone = sent([{"key": line["key"], "delete": True} for line in lines])
    assert found(program, "gnu", gone["generation"]) == []
    assert "The body holds no line" in sent([], 422)["detail"]


def test_what_cannot_be_taken_is_told_with_its_remedy(http: httpx.Client) -> None:
    problem = put(http, "large", "x" * 2001, 413)
    assert "tickets/large has 2,001 bytes" in problem["detail"]
    assert "max_document_bytes" in problem["hint"]
    response = http.put(at("a.md", "notes"), content="x")
    assert response.status_code == 404
    assert "'notes' is of the kind files" in response.json()["detail"]
    assert "Sources that do: tickets" in response.json()["detail"]
    assert http.put(at("a", "absent"), content="x").status_code == 404
    assert http.delete(at("never")).status_code == 404
    assert http.get(at("never")).status_code == 404
    assert put(http, "late", "x", 422, params={"changed_at": "yesterday"})["errors"]
    assert put(http, "typo", "x", 422, params={"titel": "x"})["errors"]


def test_what_is_taken_outlives_the_process(folder: Path, http: httpx.Client, program: Program) -> None:
    answer = put(http, "durable", "ibex on the rocks")
    program.kill()
    program.start().ready()
    assert found(program, "ibex", answer["generation"]) == ["durable"]
    source = next(one for one in program.get("/v1/sources").json()["sources"] if one["name"] == "tickets")
    listed = datetime.datetime.fromisoformat(source["listed_at"])
    program.until(lambda: _watermark(program) > listed, what="a source that is pushed to counts as seen")
    next_look = datetime.datetime.fromisoformat(program.source("tickets")["next_look_at"])
    assert next_look > datetime.datetime.now(datetime.UTC)
    assert f"next listing   {next_look.astimezone():%Y-%m-%d %H:%M}" in program.command("status").stdout
    told = program.command("sources", "--config", folder / "headwater.toml").stdout
    assert "  tickets  push  PUT /v1/sources/tickets/documents/KEY, looked at" in told


def _watermark(program: Program) -> datetime.datetime:
    sources = program.get("/v1/sources").json()["sources"]
    (mark,) = [one["watermark"] for one in sources if one["name"] == "tickets"]
    return datetime.datetime.fromisoformat(mark)
