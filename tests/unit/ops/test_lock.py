"""One daemon a data folder, and a folder that cannot be had."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.errors import AlreadyRunning, Misconfigured
from ops.cli import headwater
from ops.lock import NOTE_NAME, DaemonNote, held, running_daemon, shared, write_note

NOTE = DaemonNote(pid=17, host="::", port=7878, started_at=0.0, version="1")


def test_a_folder_is_held_by_one_who_says_where_it_answers(tmp_path: Path) -> None:
    data = tmp_path / "a" / "data"
    assert running_daemon(data) is None
    with held(data):
        with pytest.raises(AlreadyRunning, match="still starting"), held(data):
            pass
        write_note(data, NOTE)
        assert running_daemon(data) == NOTE
        with pytest.raises(AlreadyRunning, match=r"process 17, at http://\[::1\]:7878"), held(data):
            pass
    assert running_daemon(data) is None
    assert not (data / NOTE_NAME).exists()


def test_roles_hold_a_folder_together_and_against_a_daemon(tmp_path: Path) -> None:
    with held(tmp_path):
        with pytest.raises(AlreadyRunning), shared(tmp_path):
            pass
        write_note(tmp_path, NOTE)
    write_note(tmp_path, NOTE)  # as of a daemon that was killed
    with shared(tmp_path), shared(tmp_path):
        with pytest.raises(AlreadyRunning, match="roles in processes of their own"), held(tmp_path):
            pass
        assert running_daemon(tmp_path) is None
    with held(tmp_path):
        pass


def test_who_only_asks_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """As ``status`` in a loop does, beside a daemon that is being started again."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            running_daemon(tmp_path)

    with held(tmp_path):
        pass
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(100):
            with held(tmp_path):
                stop.wait(0.001)
    finally:
        stop.set()
        asking.join()


@pytest.mark.parametrize("command", ["up", "sync"])
def test_a_data_folder_that_cannot_be_made_is_told_without_a_trace(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_EMBEDDING__MODEL", "hashing")
    (tmp_path / "headwater.toml").write_text('[[sources]]\nroot = "handbook"\n')
    (tmp_path / "file").write_text("x")
    below = tmp_path / "file" / "data"
    result = CliRunner().invoke(headwater, [command, "--data", str(below)], catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"The data folder {below} cannot be written to (Not a directory).")
    assert "--data" in result.stderr.splitlines()[1]


@pytest.mark.skipif(not os.geteuid(), reason="root may write anywhere")
def test_a_data_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Misconfigured, match="Permission denied"), held(tmp_path):
        pass
    tmp_path.chmod(0o700)
