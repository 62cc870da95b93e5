"""Start, stop, kill, start again; commands beside a running program and without one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.program import Json, Program, expected, passage_of, running

FILES = 600


def fill(notes: Path, files: int = FILES, sections: int = 6) -> None:
    """Enough for a first index that takes seconds; every text is a different one."""
    for number in range(files):
        text = "\n".join(
            f"## Section {part}\n\nNote {number} says in part {part}: {number * part} of {number}.\n"
            for part in range(sections)
        )
        (notes / f"{number}.md").write_text(f"# Note {number}\n\n{text}")


def index_partly(program: Program, share: float) -> None:
    """Start, and return in the middle of the first index, once this share of the documents is live."""
    program.start().listening()
    program.until(lambda: program.source()["documents"].get("live", 0) > FILES * share, what="it has begun")
    assert program.source()["documents"]["pending"], "the first index was over before it was interrupted"


def test_a_signal_ends_it_within_seconds_and_loses_nothing(tmp_path: Path, notes: Path) -> None:
    fill(notes, 20)
    with Program(tmp_path / "data", notes) as program:
        live: list[Json] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            program.start().ready()
            live = live or program.export()
            assert program.texts_embedded() in (0, len(live))
            program.stop(number)
            assert "nothing is lost" in program.said()
            assert program.export() == live
        assert program.start().ready().texts_embedded() == 0


def test_signals_in_the_middle_of_a_first_index(tmp_path: Path, notes: Path) -> None:
    """It goes on where it was: what was live is not embedded again."""
    fill(notes)
    with Program(tmp_path / "data", notes) as program:
        for number, share in ((signal.SIGTERM, 0.1), (signal.SIGINT, 0.5)):
            index_partly(program, share)
            program.stop(number)
        done = len(program.export())
        program.start().ready()
        assert program.passages() == expected(notes)
        assert program.texts_embedded() <= len(expected(notes)) - done


def test_kill_in_the_middle_of_a_first_index(tmp_path: Path, notes: Path) -> None:
    """Twice, and files are added meanwhile. The end state is that of an undisturbed index."""
    fill(notes)
    with Program(tmp_path / "data", notes) as program, Program(tmp_path / "other", notes) as undisturbed:
        for share in (0.1, 0.5):
            index_partly(program, share)
            program.kill()
            (notes / f"later-{share}.md").write_text(f"# Later\n\nWritten after the kill at {share}.\n")
        program.start().ready()
        undisturbed.start().ready()
        assert program.passages() == undisturbed.passages() == expected(notes)
        assert {document["state"] for document in program.documents().values()} == {"live"}
        for question in ("what does note 207 say in part 5", "written after the kill at 0.5"):
            (found,), (wanted,) = program.search(question, top_k=1), undisturbed.search(question, top_k=1)
            assert (found["uri"], found["text"]) == (wanted["uri"], wanted["text"])


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program with three notes."""
    folder = tmp_path_factory.mktemp("idle")
    (folder / "notes").mkdir()
    fill(folder / "notes", 3)
    with running(folder / "data", folder / "notes") as program:
        yield program


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(idle: Program) -> None:
    refused = idle.command("up", idle.data.parent / "notes", "--port", "0")
    assert refused.returncode == 1
    assert f"process {idle.pid}" in refused.stderr
    assert "--data" in refused.stderr
    assert idle.search("what does note 2 say")


def test_a_taken_port_is_told(idle: Program, tmp_path: Path, notes: Path) -> None:
    port = idle.listening().rsplit(":", 1)[1]
    with Program(tmp_path / "data", notes, "--port", port) as program:
        assert program.start().wait() == 1
        assert port in program.said()
        assert "--port" in program.said()
        assert "Traceback" not in program.said()


def test_exit_codes(idle: Program, tmp_path: Path) -> None:
    """0 done, 1 something is wrong with the data or the service, 2 wrong usage or settings."""
    for code, words in (
        (0, ["sync"]),
        (0, ["dead"]),
        (1, ["explain", "/nowhere/at/all.md"]),
        (2, ["search", " "]),
        (2, ["search", "x", "-k", "0"]),
        (2, ["approve", "nosuchsource"]),
        (2, ["status", "--config", "missing.toml"]),
    ):
        done = idle.command(*words)
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        assert code == 0 or done.stderr
        assert "Traceback" not in done.stderr
    nothing_yet = Program(tmp_path / "data").command("status")
    assert nothing_yet.returncode == 1
    assert "headwater up FOLDER" in nothing_yet.stderr


def test_commands_beside_a_running_daemon_and_without_one(tmp_path: Path, notes: Path) -> None:
    fill(notes, 12)
    (notes / "leave.md").write_text("# Leave\n\nEverybody has 27 days of leave.\n")
    question = "how many days of leave"
    with running(tmp_path / "data", notes) as program:
        for running_now in (True, False):
            if not running_now:
                program.stop()
            status = program.command("status", "--json")
            assert status.returncode == 0, status.stderr
            assert (json.loads(status.stdout)["daemon"] is not None) is running_now
            assert "13 live" in program.command("status").stdout
            search = program.command("search", question, "--json", "-k", "1")
            assert search.returncode == 0, search.stderr
            (hit,) = json.loads(search.stdout)["hits"]
            assert hit["uri"] == "leave.md"
            assert "1. notes/leave.md" in program.command("search", question).stdout
            export = program.command("export")
            assert export.returncode == 0, export.stderr
            lines = [json.loads(line) for line in export.stdout.splitlines()]
            assert sorted(map(passage_of, lines)) == expected(notes)
            explain = program.command("explain", notes / "leave.md")
            assert explain.returncode == 0, explain.stderr
            assert "published" in explain.stdout


@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_it_serves_when_what_it_says_cannot_be_written(tmp_path: Path, notes: Path, output: str) -> None:
    """A full disk, and a closed standard output."""
    (notes / "a.md").write_text("alpha")
    with Program(tmp_path / "data", notes, prefix=["sh", "-c", f'exec "$@" {output}', "sh"]) as program:
        program.start()
        program.until((tmp_path / "data" / "daemon.json").exists, what="it listens")
        program.until(lambda: [one["text"] for one in program.export()] == ["alpha"])
        (notes / "a.md").write_text("beta")
        program.until(lambda: [one["text"] for one in program.export()] == ["beta"])
        program.stop()
