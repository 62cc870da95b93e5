"""Commands that index and search, on real folders with the hashing embedder, without a daemon and beside
one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.errors import DocumentChanging, DocumentUnreadable
from ingestion.records import Content
from ingestion.sources.files import FilesSource
from ingestion.sources.survey import GRANULARITY_S
from ops.lock import running_daemon
from tests.unit.ops.conftest import Run

DEADLINE_S = 30.0


@pytest.fixture(autouse=True)
def config(tmp_path: Path, handbook: Path) -> Path:
    """A settings file that names the folder, where commands look for one."""
    path = tmp_path / "headwater.toml"
    path.write_text(f'[[sources]]\nroot = "{handbook}"\nexclude = ["*.log"]\n')
    (handbook / "leave.md").write_text("# Leave\n\n## Holiday\n\nYou have 27 days of paid leave a year.\n")
    (handbook / "pay.md").write_text("# Pay\n\nWages arrive on the 25th.\n")
    return path


def settle(folder: Path) -> None:
    """Wait until no file is so young that its look counts as racy, and it is read once more."""
    newest = max(path.stat().st_ctime for path in folder.iterdir())
    while time.time() - newest <= GRANULARITY_S:
        time.sleep(0.01)


def test_sync_carries_out_what_it_finds(run: Run, handbook: Path) -> None:
    (handbook / "image.bin").write_bytes(b"\0\1\2")
    settle(handbook)
    first = run("sync").output
    assert "3 documents" in first
    assert "handbook: 3 new or changed" in first
    assert run("sync").output == "handbook: 3 unchanged\n"

    (handbook / "leave.md").write_text("# Leave\n\n## Holiday\n\nYou have 30 days of paid leave a year.\n")
    (handbook / "pay.md").rename(handbook / "wages.md")
    output = run("sync").output
    assert "handbook/leave.md  edited  1 of 1 chunk embedded  searchable after" in output
    assert "handbook/wages.md  renamed, was pay.md  nothing embedded" in output
    assert "1 new or changed, 1 renamed" in output

    (handbook / "wages.md").unlink()
    report = json.loads(run("sync handbook --json").stdout)
    assert report["complete"] is True
    assert report["sources"][0]["retired"] == 1
    assert "there are: handbook" in run("sync nothing", code=2).stderr


def test_a_dry_run_says_everything_and_writes_nothing(run: Run, handbook: Path, data: Path) -> None:
    (handbook / "image.bin").write_bytes(b"\0\1\2")
    settle(handbook)
    output = run("sync --dry-run").output
    assert "index   handbook/leave.md  new" in output
    assert "skip    handbook/image.bin" in output
    assert "would embed 2 texts (" in output
    assert list(data.iterdir()) == []

    run("sync")
    before = run("status --json").stdout
    (handbook / "leave.md").write_text("# Leave\n\n## Holiday\n\nYou have 30 days of paid leave a year.\n")
    (handbook / "copy.md").write_text((handbook / "pay.md").read_text())
    (handbook / "pay.md").unlink()  # the same content elsewhere: a rename
    report = json.loads(run("sync --dry-run --json").stdout)["sources"][0]
    assert report["decisions"] == [["move", "copy.md", "was pay.md"], ["index", "leave.md", "changed"]]
    assert report["texts"] == 1
    after = json.loads(run("status --json").stdout)
    assert after["sources"][0]["listed_at"] == json.loads(before)["sources"][0]["listed_at"]
    assert after["chunks"] == 2


def test_sync_of_a_folder_that_is_gone_ends_with_1(run: Run, handbook: Path) -> None:
    run("sync")
    handbook.rename(handbook.with_name("elsewhere"))
    output = run("sync", code=1).output
    assert "cannot be looked at" in output
    assert "headwater approve handbook" in output
    assert "cannot be looked at" in run("sync --dry-run", code=1).output
    found = json.loads(run("search --json", "days of leave").stdout)
    assert found["hits"][0]["uri"] == "leave.md"


@pytest.mark.parametrize("error", [DocumentUnreadable, DocumentChanging, RuntimeError])
def test_a_document_that_fails_is_named_and_the_others_go_on(
    run: Run, handbook: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    read = FilesSource.read

    def failing(source: FilesSource, uri: str) -> Content:
        if uri == "pay.md":
            raise error("It cannot be read.")
        return read(source, uri)

    monkeypatch.setattr(FilesSource, "read", failing)
    monkeypatch.setattr("ops.syncing.NO_PROGRESS_S", 0.5)
    output = run("sync", code=1).output
    expected = {
        DocumentUnreadable: "handbook/pay.md is a dead letter (generation ",
        DocumentChanging: "Nothing went on for 0 s. It cannot be read.",
        RuntimeError: "handbook/pay.md waits for another attempt (generation ",
    }
    assert expected[error] in output
    assert "leave.md" in run("search --json", "days of leave").stdout
    monkeypatch.undo()


def test_search_prints_passages_with_place_and_age(run: Run) -> None:
    run("sync")
    result = run("search -k 1", "how many days of leave")
    lines = result.stdout.splitlines()
    assert lines[0] == "1. handbook/leave.md  Leave > Holiday"
    assert lines[1].startswith("   changed ")
    assert "   | You have 27 days of paid leave a year." in lines
    assert lines[-1].startswith("1 passage, fresh as of 20")
    assert "loading the model here" in result.stderr
    assert "OUTDATED" not in result.stdout


def test_search_marks_what_is_outdated(run: Run, filed: object, data: Path, handbook: Path) -> None:
    from ingestion.clock import SystemClock
    from ops.commands.search import shown

    hit = {
        "source": "hand\x1bbook",
        "uri": "a\n.md",
        "heading_path": ["Leave", "\x07"],
        "text": "Text\x1b[2J of it.",
        "age_s": 180.0,
        "stale": True,
        "stale_for_s": 2.0,
    }
    answer = {"hits": [hit], "fresh_as_of": None, "took_ms": 5.0, "mode": "text"}
    lines = list(shown(answer, SystemClock().now(), 80))
    assert lines[:3] == [
        "1. hand\\x1bbook/a\\n.md  Leave > \\x07",
        "   changed 3 minutes ago  ** OUTDATED: a newer revision was seen 2.00 s ago **",
        "   | Text\\x1b[2J of it.",
    ]
    assert any("by words alone" in line for line in lines)


def test_search_for_nothing_and_in_no_such_source(run: Run) -> None:
    run("sync")
    assert "query: is empty" in run("search", " ", code=2).stderr
    assert "no-such" in run("search x --source no-such", code=2).stderr


class Up:
    """A daemon in its own process."""

    def __init__(self, data: Path, log: Path, cwd: Path) -> None:
        self.log = log
        self.data = data
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops.cli", "up", "--data", str(data), "--port", "0"],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={
                    **os.environ,
                    "HEADWATER_EMBEDDING__MODEL": "hashing",
                    "HEADWATER_DAEMON__LOG_FORMAT": "text",
                },
            )

    def until(self, text: str) -> str:
        """The log, once it holds the text."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in (log := self.log.read_text()):
            assert time.monotonic() < deadline, log
            assert self.process.poll() is None, log
            time.sleep(0.02)
        return log

    def end(self, *signals: int) -> int:
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.1)
        return self.process.wait(6)


@pytest.fixture
def up(data: Path, tmp_path: Path, config: Path, handbook: Path) -> Iterator[Up]:
    settle(handbook)
    daemon = Up(data, tmp_path / "up.log", tmp_path)
    yield daemon
    if daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.wait()


def test_up_tells_changes_and_other_commands_work_beside_it(
    up: Up, run: Run, handbook: Path, data: Path
) -> None:
    log = up.until("ready: 2 documents, 2 chunks searchable.")
    assert "listens at http://127.0.0.1:" in log
    assert f"source   handbook: {handbook}" in log
    (handbook / "leave.md").write_text("# Leave\n\n## Holiday\n\nYou have 31 days of paid leave a year.\n")
    up.until("handbook/leave.md  edited  1 of 1 chunk embedded  searchable after ")
    (handbook / "pay.md").rename(handbook / "wages.md")
    up.until("handbook/wages.md  renamed, was pay.md  nothing embedded  searchable after ")

    found = json.loads(run("search --json -k 1", "days of leave").stdout)
    assert "31 days" in found["hits"][0]["text"]
    refused = run("search --source no-such", "x", code=2)
    assert "no-such" in refused.stderr
    status = json.loads(run("status --json").stdout)
    assert status["daemon"]["pid"] == up.process.pid
    assert status["model"]["measured"]["embedder"].startswith("hashing")
    assert status["model"]["measured"]["texts_per_s"] > 0
    assert "texts/s with hashing" in run("status").output
    assert f"(pid {up.process.pid}" in run("status").output
    assert "is ready" in run("doctor").output
    assert run("explain handbook/wages.md").output.splitlines()[1].startswith("  live:")
    assert len(run("export").stdout.splitlines()) == 2
    assert f"(process {up.process.pid}, at http://" in run("up --port 0", code=1).stderr

    (handbook / "new.md").write_text("# New\n\nSomething else.\n")
    assert run("sync").output.startswith("handbook: ")
    assert json.loads(run("search --json -k 1", "something else").stdout)["hits"][0]["uri"] == "new.md"
    (handbook.parent / "other").mkdir()
    other = handbook.parent / "other.toml"
    other.write_text('[[sources]]\nroot = "other"\n')
    assert "does not keep other" in run("sync", "--config", other, code=2).stderr

    assert up.end(signal.SIGTERM) == 0
    assert "stopped; nothing is lost" in up.log.read_text()
    assert running_daemon(data) is None


def test_sources_of_up_are_known_to_other_commands_and_two_signals_end_it(
    up: Up, run: Run, config: Path
) -> None:
    up.until("ready: ")
    config.unlink()
    assert "handbook: 2 unchanged" in run("sync").output
    assert up.end(signal.SIGINT, signal.SIGINT) in (0, 130)  # the second one does not wait


def test_a_daemon_that_wants_a_key_and_one_that_hangs(
    data: Path, tmp_path: Path, config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.api.keys import hash_key

    key = "a-key-that-is-long-enough"
    config.write_text(config.read_text() + f'[api]\nkeys = ["{hash_key(key)}"]\n')
    daemon = Up(data, tmp_path / "up.log", tmp_path)
    try:
        daemon.until("ready: ")
        assert "HEADWATER_API_KEY" in run("search x", code=1).stderr
        monkeypatch.setenv("HEADWATER_API_KEY", key)
        assert json.loads(run("search --json", "leave").stdout)["hits"]

        monkeypatch.setattr("ops.commands.search.ANSWER_S", 0.2)
        monkeypatch.setattr("ops.commands.search.WAIT_S", 0.3)
        daemon.process.send_signal(signal.SIGSTOP)  # it hangs
        assert "did not answer" in run("search x", code=1).stderr
        assert f"(pid {daemon.process.pid}" in run("status").output
    finally:
        daemon.process.send_signal(signal.SIGCONT)
        assert daemon.end(signal.SIGTERM) == 0
