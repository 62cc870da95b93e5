"""Commands with an embedding endpoint, without a daemon: what it costs, and what goes on without it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import syncing
from ops.doctor_data import _readable_key
from ops.settings import load
from ops.wiring import bulk_threads, make_pipeline, open_parts
from retrieval.embedding.remote.embedder import DOCUMENTS_TRY_S
from retrieval.embedding.remote.endpoint import PROBE
from tests.endpoint import KEY, Asked, Endpoint, Said, endpoint
from tests.unit.ops.conftest import Run
from workers.refresh import LONGEST_FAULT_DELAY_S
from workers.work import PipelineWork


@pytest.fixture
def one() -> Iterator[Endpoint]:
    with endpoint() as started:
        yield started


@pytest.fixture
def ask(run: Run, one: Endpoint, handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the folder, with the endpoint."""
    (tmp_path / "headwater.toml").write_text(f'[[sources]]\nroot = "{handbook}"\n')
    (handbook / "leave.md").write_text("# Leave\n\nYou have 27 days of paid leave a year.\n")
    (handbook / "pay.md").write_text("# Pay\n\nWages arrive on the 25th.\n")
    for name, value in {
        "MODEL": "model-1",
        "RUNTIME": "openai",
        "URL": one.url,
        "API_KEY": KEY,
        "PRICE_PER_MILLION_TOKENS": "1000000",
    }.items():
        monkeypatch.setenv(f"HEADWATER_EMBEDDING__{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return run


def test_doctor_tells_of_a_key_in_the_open(ask: Run, one: Endpoint, tmp_path: Path) -> None:
    assert f"model-1 at {one.url} answers, with 32 dimensions" in ask("doctor", code=0).output
    environ = {
        "HEADWATER_EMBEDDING__RUNTIME": "openai",
        "HEADWATER_EMBEDDING__MODEL": "m",
        "HEADWATER_EMBEDDING__URL": "http://gpu.example/v1",
    }
    assert not list(_readable_key(load(environ=environ)))
    (told,) = _readable_key(load(environ={**environ, "HEADWATER_EMBEDDING__API_KEY": KEY}))
    assert "unencrypted" in told.what
    assert KEY not in told.what


def test_a_search_is_answered_by_words_while_the_endpoint_is_away(ask: Run, one: Endpoint) -> None:
    ask("sync")
    one.script = lambda asked: Said(401)
    result = ask("search", "days of paid leave")
    assert "27 days" in result.stdout
    assert "Found by words alone" in result.stdout
    assert "refused the key (401)" in result.stderr


def test_a_sync_that_is_interrupted_waits_for_no_gate(
    ask: Run, one: Endpoint, data: Path, handbook: Path
) -> None:
    ask("sync")
    (handbook / "new.md").write_text("# New\n\nA new document.\n")
    one.next.append(one.right)  # the probe
    one.script = lambda asked: Said(429, b"", {"Retry-After": "50"})
    before = len(one.asked)
    began = time.monotonic()
    done = syncing.sync(
        load(arguments={"daemon.data": data}),
        ["handbook"],
        listener=lambda outcome: None,
        remaining=lambda number: None,
        stopping=lambda: len(one.asked) > before + 1,
    )
    assert time.monotonic() - began < 10.0
    assert done.reason.startswith("Interrupted")


def test_a_sync_makes_as_many_calls_together_as_a_daemon(
    ask: Run, one: Endpoint, handbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_EMBEDDING__CONCURRENCY", "3")
    monkeypatch.setenv("HEADWATER_EMBEDDING__BATCH_TEXTS", "1")
    for number in range(12):
        (handbook / f"{number}.md").write_text(f"# Note {number}\n\nThis is number {number}.\n")
    ends = time.monotonic() + 20.0

    def wait_for_others(asked: Asked) -> None:
        while asked.texts != [PROBE] and one.most_under_way < 3 and time.monotonic() < ends:
            time.sleep(0.01)

    one.script = wait_for_others
    ask("sync", code=0)
    assert one.most_under_way == 3
    assert not one.twice()
    assert ask("sync", code=0)


def test_a_sync_ends_with_a_fault_of_one_of_its_threads(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(PipelineWork, "refresh", breaks)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        ask("sync")


def test_a_sync_has_more_patience_than_a_text_at_an_endpoint() -> None:
    assert DOCUMENTS_TRY_S + LONGEST_FAULT_DELAY_S < syncing.NO_PROGRESS_AT_ENDPOINT_S


def tokens(output: str) -> list[int]:
    return [one["tokens"] for one in json.loads(output)["sources"]]


def test_a_dry_run_counts_what_is_owed_already(ask: Run, one: Endpoint, data: Path) -> None:
    whole = tokens(ask("sync --dry-run --json").stdout)
    assert whole[0] > 0
    one.next.append(one.right)
    one.script = lambda asked: Said(401)
    syncing.sync(
        load(arguments={"daemon.data": data}),
        ["handbook"],
        listener=lambda outcome: None,
        remaining=lambda number: None,
        stopping=lambda: len(one.asked) > 3,
    )
    one.script = None
    assert tokens(ask("sync --dry-run --json").stdout) == whole
    assert "found before, and not published yet" in ask("sync --dry-run").stdout
    ask("sync")
    assert tokens(ask("sync --dry-run --json").stdout) == [0]


def test_a_dry_run_counts_the_prompt_of_each_text(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tokens(ask("sync --dry-run --json").stdout)[0]
    monkeypatch.setenv("HEADWATER_EMBEDDING__DOCUMENT_PROMPT", "passage " * 5)
    assert tokens(ask("sync --dry-run --json").stdout)[0] == plain + 2 * 10


def test_a_text_in_two_sources_is_paid_for_once(
    ask: Run, one: Endpoint, handbook: Path, tmp_path: Path
) -> None:
    second = tmp_path / "copies"
    second.mkdir()
    (second / "leave.md").write_bytes((handbook / "leave.md").read_bytes())
    with (tmp_path / "headwater.toml").open("a") as settings:
        settings.write(f'[[sources]]\nroot = "{second}"\n')
    first, copies = tokens(ask("sync --dry-run --json").stdout)
    assert first > 0
    assert copies == 0
    assert "at your price about" in ask("sync --dry-run").stdout


def test_what_is_put_together_for_an_endpoint(ask: Run, one: Endpoint, data: Path) -> None:
    """Every call has its share of the bulk work, and its own threads."""
    settings = load(arguments={"daemon.data": data, "embedding.concurrency": 3})
    parts = open_parts(settings)
    sent: list[int] = []
    pipeline = make_pipeline(
        parts,
        send_message=lambda lane, ids, edition_id=None: sent.append(len(ids)),
        listener=lambda outcome: None,
        missed=lambda source, number: None,
    )
    pipeline.reconciler.list_source(parts.sources["handbook"])
    pipeline.work.dispatch()
    assert bulk_threads(parts.embedder) == 6
    assert sent == [1, 1]
    parts.close()
