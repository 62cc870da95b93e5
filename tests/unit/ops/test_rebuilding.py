"""What `headwater rebuild` reads, writes and refuses, without a daemon and without work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingestion.errors import Misconfigured, ModelMissing, WrongEdition
from ingestion.ledger.values import EditionState, Gate
from ingestion.sources.memory import MemorySource
from ops.editions_report import editions_report, left_s
from ops.equipping import as_kept, close_embedder, embedder_of, embedder_of_live, kept
from ops.ledger_gauges import LedgerGauges
from ops.rebuilding import STILL_S, Wish, await_switch, begin, go_back, read_gate, went_back
from ops.settings import EmbeddingSettings, Settings, load
from ops.wiring import open_parts
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.port import Embedder
from tests.rig import SOURCE, Rig, ShiftedClock, fresh_database
from tests.unit.ops.books import Books
from tests.unit.ops.conftest import Run


@pytest.fixture
def settings(data: Path, handbook: Path) -> Settings:
    arguments = {"daemon.data": data, "sources": [handbook], "embedding.model": "hashing"}
    return load(arguments=arguments, environ={})


def test_a_gate_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(
        '{"query": "how long?", "expected": ["a/b.md"]}\n\n{"query": "x", "expected": ["c", "d"]}\n'
    )
    assert read_gate(0.5, file) == Gate(0.5, [("how long?", ("a/b.md",)), ("x", ("c", "d"))])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no JSON",
        "[]",
        '{"query": "x"}',
        '{"query": "", "expected": ["a"]}',
        '{"query": "x", "expected": "a"}',
        '{"query": "x", "expected": []}',
        '{"query": 1, "expected": ["a"]}',
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(Misconfigured, match=r"queries.jsonl") as told:
        read_gate(0.5, file)
    assert '"expected"' in told.value.hint


def test_no_secret_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-secret")
    base = {"runtime": "openai", "url": "http://localhost:1/v1", "model": "m", "dimensions": 8}
    with_key = EmbeddingSettings.model_validate(
        {**base, "api_key": "sk-secret", "price_per_million_tokens": 1}
    )
    assert kept(with_key) == base
    assert "secret" not in json.dumps(kept(with_key))
    with_file = EmbeddingSettings.model_validate({**base, "api_key_file": str(file)})
    assert kept(with_file) == {**base, "api_key_file": str(file)}
    no_file = EmbeddingSettings.model_validate({**base, "api_key_file": "/sk-secret"})
    assert kept(no_file) == base, "what is no file may be the key itself"


def test_the_key_in_force_is_used_at_the_same_address_and_at_no_other() -> None:
    base = {"runtime": "openai", "url": "http://localhost:1/v1", "model": "m", "dimensions": 8}
    current = EmbeddingSettings.model_validate({**base, "model": "other", "api_key": "sk-secret"})
    same = as_kept(base, current)
    assert (same.model, same.api_key) == ("m", current.api_key)
    assert as_kept({**base, "url": "http://elsewhere:1/v1"}, current).api_key is None
    with pytest.raises(Misconfigured, match="another version"):
        as_kept({**base, "of_tomorrow": 1}, current)


@pytest.mark.parametrize(
    ("kept_url", "same"),
    [
        ("https://a.example/v1/", True),
        ("https://A.example:443", True),
        ("http://a.example/v1", False),
        ("https://a.example:8443/v1", False),
        ("https://b.example/v1", False),
    ],
)
def test_the_key_in_force_is_that_of_the_host(kept_url: str, same: bool) -> None:
    base = {"runtime": "openai", "model": "m", "dimensions": 8}
    current = EmbeddingSettings.model_validate(
        {**base, "url": "https://a.example/v1", "api_key": "sk-secret"}
    )
    assert (as_kept({**base, "url": kept_url}, current).api_key == current.api_key) is same


def test_a_file_that_may_hold_the_key_of_another_provider_by_now_is_not_used(tmp_path: Path) -> None:
    file, other, alias = tmp_path / "key", tmp_path / "other", tmp_path / "alias"
    for one in (file, other):
        one.write_text("sk-secret")
    alias.symlink_to(file)
    base = {"runtime": "openai", "model": "m", "dimensions": 8}
    model = {**base, "url": "https://a.example/v1", "api_key_file": str(file)}

    def beside(**key: str) -> EmbeddingSettings:
        current = EmbeddingSettings.model_validate({**base, "url": "https://b.example/v1", **key})
        return as_kept(model, current)

    for key in ({"api_key_file": str(file)}, {"api_key_file": str(alias)}, {"api_key": "sk-secret"}, {}):
        with pytest.raises(
            Misconfigured, match=r"key for https://a\.example/v1 is not known any more"
        ) as told:
            beside(**key)
        assert "secret" not in str(told.value)
    assert beside(api_key_file=str(other)).api_key_file == file
    assert as_kept(model, EmbeddingSettings()).api_key_file == file, "no other provider has a key"


def test_the_live_edition_wins_over_the_settings(settings: Settings, filed: Books) -> None:
    other = HashingEmbedder(dimensions=64)
    view = filed.switch_to(other, {"model": "hashing-64"})
    embedder, own = embedder_of_live(settings.embedding, embedder_of(settings.embedding), filed.ledger)
    assert (embedder.fingerprint, own.model) == (view.edition.fingerprint, "hashing-64")
    close_embedder(embedder)


@pytest.mark.parametrize("model", ["/nowhere", "hashing-65"], ids=["gone", "another by now"])
def test_a_live_edition_whose_model_cannot_be_had(settings: Settings, filed: Books, model: str) -> None:
    filed.switch_to(HashingEmbedder(dimensions=64), {"model": model})
    with pytest.raises(WrongEdition, match="cannot be had"):
        embedder_of_live(settings.embedding, embedder_of(settings.embedding), filed.ledger)


def test_a_start_in_the_moment_of_a_switch_looks_once_more(
    settings: Settings, filed: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = HashingEmbedder()
    filed.switch_to(hashing, {"model": "hashing"})
    looks: list[str] = []

    def switching(*arguments: Any, **options: Any) -> tuple[Embedder, EmbeddingSettings]:
        found = embedder_of_live(*arguments, **options)
        if not looks:
            filed.switch_to(HashingEmbedder(dimensions=64), {"model": "hashing-64"})
        looks.append(found[1].model)
        return found

    monkeypatch.setattr("ops.wiring.embedder_of_live", switching)
    parts = open_parts(settings)
    assert looks == ["hashing", "hashing-64"]
    assert parts.edition.dimensions == parts.embedder.dimensions == 64
    parts.close()


def test_a_wish_is_a_row(settings: Settings, filed: Books) -> None:
    view = begin(settings, filed.ledger, Wish("hashing-64", keep_s=60.0))
    assert view.state is EditionState.BUILDING
    assert view.model == {"model": "hashing-64"}
    assert (view.edition.dimensions, view.keep_s) == (64, 60.0)


def test_a_model_that_is_nowhere_is_refused_at_once(settings: Settings, filed: Books) -> None:
    with pytest.raises(ModelMissing):
        begin(settings, filed.ledger, Wish("nobody/nothing"))
    assert filed.ledger.editions.in_state(EditionState.BUILDING) is None


def test_what_is_kept_needs_not_be_built_again(settings: Settings, filed: Books) -> None:
    hashing = HashingEmbedder()
    filed.switch_to(hashing, {"model": "hashing"})
    filed.switch_to(HashingEmbedder(dimensions=64), {"model": "hashing-64"})
    with pytest.raises(Misconfigured, match="is kept") as told:
        begin(settings, filed.ledger, Wish())
    assert "--back" in told.value.hint
    assert begin(settings, filed.ledger, Wish("hashing-64")).edition.name.endswith("_2")


def test_progress_and_time_left(settings: Settings, filed: Books) -> None:
    for number in range(4):
        filed.publish(filed.want("handbook", f"{number}.md")[0])
    view = begin(settings, filed.ledger, Wish("hashing-64"))
    filed.ledger.editions.fill(view.edition)
    filed.clock.at += 30.0
    report = editions_report(filed.ledger, filed.clock)["building"]
    assert (report["documents"], report["done"], report["waiting"]) == (4, 0, 4)
    assert report["left_s"] is None
    assert left_s(done=10, waiting=30, working_s=20.0) == 60.0
    filed.ledger.editions.pause(view.edition, "the gate")
    report = editions_report(filed.ledger, filed.clock)["building"]
    assert (report["paused"], report["fault"], report["left_s"]) == (True, "the gate", None)


def test_the_gauge_of_progress(settings: Settings, filed: Books) -> None:
    filed.publish(filed.want("handbook", "a.md")[0])
    assert _rebuild(filed) == {}
    begin(settings, filed.ledger, Wish("hashing-64"))
    assert _rebuild(filed) == {"done": 0, "waiting": 1, "failed": 0}


def test_status_and_explain_tell_of_the_build(run: Run, settings: Settings, filed: Books) -> None:
    filed.publish(filed.want("handbook", "a.md")[0])
    assert "being built" not in run("status").output
    view = begin(settings, filed.ledger, Wish("hashing-64"))
    filed.ledger.editions.fill(view.edition)
    assert f"being built     {view.edition.name}: hashing (64 dimensions" in run("status").output
    assert "0 of 1 document (0 %)" in run("rebuild --status").output
    said = run("explain handbook/a.md").output
    assert f"in the edition {view.edition.name} (being built): pending, nothing yet" in said
    assert "fresh lane, edition" not in said, "there is one edition in its history"
    (claim,) = filed.ledger.claims.claim(view.edition, [1])
    filed.ledger.claims.fail(claim, "no such token", terminal=True)
    said = run("explain handbook/a.md").output
    assert "(being built): failed, nothing yet: no such token" in said
    assert f"dead, bulk lane, edition {view.edition.name}" in said


def test_waiting_ends_on_a_fault_only_once_nothing_goes_on(
    filed: Books, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process without the model says so, while others build on."""
    left = filed.want("handbook", "0.md", "1.md")
    view = begin(settings, filed.ledger, Wish("hashing-64"))
    filed.ledger.editions.fill(view.edition)
    monkeypatch.setattr("ops.rebuilding.time", filed.clock)
    looks: list[int] = []

    def build_on() -> None:
        looks.append(len(left))
        filed.clock.at += STILL_S - 1.0
        if left:
            filed.publish(left.pop())
            filed.ledger.editions.note_fault(view.edition, "no model here")

    filed.edition = view.edition
    reason = await_switch(filed.ledger, view.edition, lambda *_: None, lambda: False, build_on)
    assert reason == "no model here"
    assert looks == [2, 1, 0, 0]


def test_going_back_waits_for_what_the_index_lost_of_the_kept_edition(tmp_path: Path) -> None:
    clock = ShiftedClock()
    source, database = MemorySource(SOURCE, clock=clock), fresh_database(tmp_path)
    rig = Rig(database, [source], clock=clock)
    rig.recover()
    for number in range(3):
        source.put(f"{number}.md", f"# Note {number}\n\nThe tide.\n".encode())
    rig.sync()
    rig.rebuild()
    rig.build()
    kept = rig.ledger.editions.in_state(EditionState.RETIRING)
    assert kept is not None
    rig.index.drop(kept.edition.name)
    assert not went_back(rig.ledger, rig.index, kept)
    assert rig.ledger.editions.backlog(kept).lacking == 3
    go_back(rig.ledger, rig.index, kept, rig.build, lambda: False)
    rig.equipment.look()
    assert rig.edition == kept.edition
    assert len(rig.answers("tide")) == 3
    rig.consistent()
    database.close()


def test_wrong_usage_says_what_belongs_together(run: Run, filed: Books) -> None:
    assert "belong together" in run("rebuild --min-recall 0.5", code=2).output
    assert "Give one of" in run("rebuild --pause --cancel", code=2).output
    assert "is for a new index" in run("rebuild --cancel --model x", code=2).output
    assert "are not for --back" in run("rebuild --back --accept-failed", code=2).output
    assert "No index is being built" in run("rebuild --cancel", code=1).output
    assert "No edition is kept" in run("rebuild --back", code=1).output


def _rebuild(filed: Books) -> dict[str, float]:
    gauges = LedgerGauges(filed.ledger, filed.clock)
    return {
        sample.labels["state"]: sample.value
        for family in gauges.collect()
        for sample in family.samples
        if family.name == "headwater_rebuild_documents"
    }
