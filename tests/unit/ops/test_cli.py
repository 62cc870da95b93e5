"""The frame of the command line: commands, help, errors and exit codes, and what starting costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion import errors
from ops.cli import COMMANDS, exit_code, headwater
from ops.version import version
from tests.unit.ops.conftest import Run

HEAVY = (
    "torch",
    "numpy",
    "sqlalchemy",
    "pydantic",
    "celery",
    "rich",
    "fastapi",
    "httpx",
    "prometheus_client",
)


def test_the_help_names_every_command_with_a_sentence() -> None:
    output = CliRunner().invoke(headwater, ["--help"], catch_exceptions=False).output
    for name in COMMANDS:
        line = next(line for line in output.splitlines() if line.strip().startswith(f"{name} "))
        assert len(line.split()) > 3


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_its_name(name: str) -> None:
    result = CliRunner().invoke(headwater, [name, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"headwater {name}" in result.output
    if name != "hash-key":
        assert "--config" in result.output
        assert "--data" in result.output


def test_help_imports_nothing_heavy() -> None:
    """The time itself is measured by the benchmarks: here only its cause."""
    program = (
        "import sys; from ops.cli import headwater\n"
        "headwater(['search', '--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_looking_at_the_ledger_imports_no_model_and_no_worker(data: Path, run: Run) -> None:
    program = (
        "import sys; from ops.cli import headwater\n"
        "import ops.status, ops.commands.status, retrieval.embedding.models\n"
        "print([name for name in ('torch', 'numpy', 'celery', 'rich', 'fastapi', 'httpx', 'alembic',"
        " 'sqlalchemy.dialects.mysql') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_installed_one() -> None:
    assert CliRunner().invoke(headwater, ["--version"]).output == f"headwater {version()}\n"


@pytest.mark.parametrize(
    "words", [["serach"], ["search"], ["search", "-k", "0", "q"], ["up", "--port", "x"], []]
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    result = CliRunner().invoke(headwater, words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WrongSettings("x"), 2),
        (errors.BadQuery("query", "x"), 2),
        (errors.ModelMissing("x"), 2),
        (errors.WrongEdition("x"), 2),
        (errors.DataCorrupt("x"), 1),
        (errors.DataNewer("x"), 1),
        (errors.AlreadyRunning("x"), 1),
        (errors.Misconfigured("x"), 1),
        (errors.LedgerUnavailable("x"), 1),
    ],
)
def test_exit_codes(error: errors.HeadwaterError, code: int) -> None:
    assert exit_code(error) == code


def test_wrong_settings_are_told_together(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text('[daemon]\nport = "x"\n[embeding]\nmodel = 5\n')
    result = run("status", "--config", config, code=2)
    assert f"{config}:2" in result.stderr
    assert f"{config}:3" in result.stderr
    assert result.stdout == ""


def test_a_folder_without_data_says_how_to_begin(run: Run) -> None:
    for command in ("status", "export", "dead list", "explain x", "approve x", "search x"):
        result = run(command, code=1)
        assert "There is no knowledge base in" in result.stderr
        assert "headwater up FOLDER" in result.stderr


def test_a_damaged_data_file_is_told_without_a_trace(run: Run, data: Path) -> None:
    (data / "headwater.sqlite").write_bytes(b"not a database" * 1000)
    result = run("status", code=1)
    assert "is damaged or is not a Headwater data file" in result.stderr
    assert "rebuilt from the sources" in result.stderr
    assert "Traceback" not in result.output


def test_names_in_errors_cannot_write_on_the_terminal(run: Run) -> None:
    result = run("status", "--config", "\x1b[2Jno.toml", code=2)
    assert "\x1b" not in result.output
    assert "\\x1b[2Jno.toml" in result.stderr


def test_what_a_terminal_cannot_show_is_escaped(tmp_path: Path, data: Path, filed: object) -> None:
    """A locale without Unicode must not make status fail."""
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "explain", "日本", "--data", str(data)],
        capture_output=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin", "PYTHONIOENCODING": "latin-1", "HEADWATER_EMBEDDING__MODEL": "hashing"},
    )
    assert done.returncode == 1
    assert b"\\u65e5\\u672c" in done.stderr


def test_a_key_is_hashed_from_a_pipe() -> None:
    from retrieval.api.keys import hash_key

    key = "a-key-that-is-long-enough"
    result = CliRunner().invoke(headwater, ["hash-key"], input=key + "\n")
    assert result.output.strip() == hash_key(key)
    assert CliRunner().invoke(headwater, ["hash-key"], input="short\n").exit_code == 2


@pytest.mark.parametrize("words", [["up", ""], ["up", "--data", ""], ["status", "--config", ""]])
def test_an_empty_path_is_refused(words: list[str]) -> None:
    """Of a variable that is not set, it would be the current folder."""
    result = CliRunner().invoke(headwater, words)
    assert result.exit_code == 2
    assert "is empty; name a folder or a file." in result.output


def test_a_current_folder_that_is_gone_is_told_without_a_trace(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = (
        f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
        "import sys; sys.argv = ['headwater', 'status', '--data', 'data']; from ops.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "The current folder does not exist any more" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_without_a_folder_says_what_to_do(run: Run) -> None:
    assert "headwater up ~/notes" in run("up", code=2).stderr


def test_folders_given_to_up_are_remembered_for_other_terminals(data: Path, handbook: Path) -> None:
    from ops.remembered import NAME, remember_sources, with_remembered_sources
    from ops.settings import load

    bare = load(arguments={"daemon.data": data}, environ={})
    assert with_remembered_sources(bare) is bare
    given = load(arguments={"daemon.data": data, "sources": [handbook]}, environ={})
    remember_sources(given)
    assert with_remembered_sources(bare).sources == given.sources
    other = load(arguments={"daemon.data": data, "sources": [data.parent]}, environ={})
    assert with_remembered_sources(other) is other
    for damaged in ("", "{", "[5]", json.dumps([{"name": "x"}]), "{}"):
        (data / NAME).write_text(damaged)
        assert with_remembered_sources(bare).sources == ()
