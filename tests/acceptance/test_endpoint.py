"""The program with an embedding endpoint that misbehaves: what was good stays, what can go on goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.embedding.remote.endpoint import PROBE
from tests.acceptance.program import Program
from tests.endpoint import DIMENSIONS, KEY, Endpoint, Said, as_json, endpoint

POISON = "poisonous"


@pytest.fixture
def one() -> Iterator[Endpoint]:
    with endpoint() as started:
        yield started


@pytest.fixture
def program(tmp_path: Path, notes: Path, one: Endpoint) -> Iterator[Program]:
    """Two documents, searchable."""
    (notes / "leave.md").write_text("# Leave\n\nYou have 27 days of leave.\n")
    (notes / "pay.md").write_text("# Pay\n\nYou are paid on the last day of the month.\n")
    with Program(tmp_path / "data", notes, model="model-1") as made:
        made.environment |= {
            "HEADWATER_EMBEDDING__RUNTIME": "openai",
            "HEADWATER_EMBEDDING__URL": one.url,
            "HEADWATER_EMBEDDING__API_KEY": KEY,
            "HEADWATER_EMBEDDING__TIMEOUT_S": "2",
            "HEADWATER_EMBEDDING__PRICE_PER_MILLION_TOKENS": "20",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        yield made.start().ready()
        assert KEY not in made.said()


def error_of(program: Program, uri: str) -> str:
    return str(program.documents()[uri]["error"] or "")


def test_one_bad_text_fails_only_its_document(program: Program, notes: Path, one: Endpoint) -> None:
    one.script = lambda asked: Said(400) if any(POISON in text for text in asked.texts) else None
    (notes / "leave.md").write_text(f"# Leave\n\nA {POISON} edit.\n")
    (notes / "pay.md").write_text("# Pay\n\nYou are paid on the first day of the month.\n")
    (notes / "new.md").write_text("# New\n\nA new document about ferries.\n")
    program.until(lambda: "failed" in str(program.documents()["leave.md"]["state"]))
    program.until(lambda: "first day" in program.search("paid", top_k=1)[0]["text"])
    program.until(lambda: "ferries" in program.search("ferries", top_k=1)[0]["text"])
    told = error_of(program, "leave.md")
    assert "refused the text (400)" in told
    assert "stays live" in told
    assert "27 days" in program.search("days of leave", top_k=1)[0]["text"]
    dead = program.command("dead")
    assert "leave.md" in dead.stdout
    one.script = None

    def replayed() -> bool:
        program.command("dead", "replay", "--all")
        return POISON in program.search(POISON, top_k=1)[0]["text"]

    program.until(replayed)
    program.stop()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Said(401), "refused the key (401)"),
        (Said(307, b"", {"Location": "http://127.0.0.1:9/v1"}), "redirects to http://127.0.0.1"),
        (as_json({"data": []}), "texts with 0 vectors"),
        (as_json({"data": [{"index": 0, "embedding": [1.0] * (DIMENSIONS + 1)}]}), "33 numbers"),
    ],
    ids=["key", "redirect", "count", "dimension"],
)
def test_a_fault_of_the_endpoint_costs_no_document_anything(
    program: Program, notes: Path, one: Endpoint, said: Said, words: str
) -> None:
    one.script = lambda asked: said
    (notes / "leave.md").write_text("# Leave\n\nYou have 30 days of leave.\n")
    program.until(lambda: words in error_of(program, "leave.md"))
    document = program.documents()["leave.md"]
    assert document["state"] == "pending"
    answer = program.answer("days of leave", top_k=1)
    assert answer["mode"] == "text"
    assert "27 days" in answer["hits"][0]["text"]
    one.script = None
    program.until(lambda: "30 days" in program.search("days of leave", top_k=1)[0]["text"])
    assert not [step for step in program.history("leave.md") if step["outcome"] == "failed"]
    program.stop()


def test_an_endpoint_that_is_away_at_the_start(program: Program, notes: Path, one: Endpoint) -> None:
    """Its dimensions are remembered; words alone are searched, and nothing is given up."""
    program.stop()
    one.script = lambda asked: Said(503)
    (notes / "leave.md").write_text("# Leave\n\nYou have 30 days of leave.\n")
    program.start().listening()
    program.until(lambda: "cannot answer now (503)" in program.said())
    answer = program.answer("days of leave", top_k=1)
    assert answer["mode"] == "text"
    assert "27 days" in answer["hits"][0]["text"]
    assert "cannot answer now (503)" in program.get("/readyz", codes=(503,)).text
    one.script = None
    program.until(lambda: "30 days" in program.search("days of leave", top_k=1)[0]["text"])
    program.ready()
    program.stop()


def test_tokens_and_cost_are_foretold_and_counted(program: Program, notes: Path, one: Endpoint) -> None:
    tokens = program.metric("headwater_provider_tokens_total")
    assert tokens > 0
    assert program.metric("headwater_provider_cost_total") == pytest.approx(tokens * 20 / 1e6)
    asked = len(one.asked)
    (notes / "long.md").write_text("# Long\n\n" + "Many words about ferries. " * 40)
    program.until(lambda: program.search("ferries", top_k=1)[0]["uri"] == "long.md")
    assert len(one.asked) > asked
    program.stop()
    (notes / "more.md").write_text("# More\n\n" + "Many more words about harbours. " * 30)
    foretold = program.command("sync", "--dry-run")
    assert "would embed 1 text (967 characters, about 242 tokens, at your price about 0.0048)" in (
        foretold.stdout
    )


def test_what_is_shown_never_holds_the_key(program: Program, one: Endpoint) -> None:
    shown = json.dumps(program.status())
    shown += program.command("status").stdout + program.command("doctor").stdout
    assert one.url in shown
    assert KEY not in shown
    assert all(asked.key == f"Bearer {KEY}" for asked in one.asked)
    program.stop()


def test_small_calls_for_one_document_are_made_at_once(tmp_path: Path, notes: Path, one: Endpoint) -> None:
    (notes / "leave.md").write_text("# Leave\n\nYou have 27 days of leave.\n")
    with Program(tmp_path / "data", notes, model="model-1") as program:
        program.environment |= {
            "HEADWATER_EMBEDDING__RUNTIME": "openai",
            "HEADWATER_EMBEDDING__URL": one.url,
            "HEADWATER_EMBEDDING__API_KEY": KEY,
            "HEADWATER_EMBEDDING__CONCURRENCY": "4",
            "HEADWATER_EMBEDDING__BATCH_TEXTS": "1",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        program.start().ready()
        one.most_under_way = 0
        one.script = lambda asked: replace(one.right(asked), wait_s=1.0)
        parts = [f"## Part {part}\n\nThis is part {part} of the leave.\n" for part in range(6)]
        (notes / "leave.md").write_text("# Leave\n\n" + "\n".join(parts))
        program.until(lambda: len(program.passages()) >= 6)
        assert one.most_under_way >= 4
        assert all(len(asked.texts) == 1 for asked in one.asked)
        assert not one.twice(but=[PROBE])
