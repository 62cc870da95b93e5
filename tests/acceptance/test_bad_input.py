"""What users and machines do wrong: others go on, nothing is lost, and the message says what to do."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.anybody import like_anybody
from tests.acceptance.program import Program, expected, running

MIB = 2**20


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A small file system of its own in that folder. Skips the test where that may not be done."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "headwater-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Lazily, as a program may still hold it. Nothing happens where nothing is mounted."""
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def fill(notes: Path, files: int = 5) -> None:
    for number in range(files):
        (notes / f"good-{number}.md").write_text(f"# Good {number}\n\nNote {number} is as it should be.\n")


def states(program: Program) -> dict[str, str]:
    return {uri: document["state"] for uri, document in program.documents().items()}


def test_files_and_folders_that_may_not_be_read(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    secret, locked = notes / "secret.md", notes / "locked"
    locked.mkdir()
    (locked / "inside.md").write_text("# Inside\n\nA note in a folder that will be locked.\n")
    secret.write_text("# Secret\n\nRevision one of the secret.\n")
    with Program(tmp_path / "data", notes, prefix=like_anybody()) as program:
        program.start().ready()
        live = program.export()
        secret.write_text("# Secret\n\nRevision two of the secret.\n")
        secret.chmod(0)
        locked.chmod(0)
        program.stop()
        program.start().ready()
        program.until(lambda: states(program)["secret.md"] == "failed", what="a dead letter")
        dead = program.command("dead")
        assert "secret.md" in dead.stdout
        assert "Permission denied" in dead.stdout
        assert "Give read permission" in dead.stdout
        assert "locked" in program.source()["fault"]
        assert "Permission denied" in program.source()["fault"]
        assert sorted(line["chunk_id"] for line in program.export()) == sorted(
            line["chunk_id"] for line in live
        ), "the last good revisions stay"
        (notes / "good-0.md").write_text("# Good 0\n\nThe others go on.\n")
        program.until(lambda: program.search("the others go on")[0]["uri"] == "good-0.md")
        secret.chmod(0o600)
        locked.chmod(0o700)
        program.command("dead", "replay", "--all")
        program.command("sync")
        program.settles(notes)
        assert program.source()["fault"] is None
        assert set(states(program).values()) == {"live"}


def test_a_file_that_keeps_changing(tmp_path: Path, notes: Path) -> None:
    """It holds up nobody, and its last revision is searchable once it is quiet."""
    fill(notes)
    log, stop = notes / "busy.txt", threading.Event()
    log.write_text("It begins.\n")

    def write() -> None:
        with log.open("a") as file:
            while not stop.wait(0.001):
                file.write("Another line of the log that never stops.\n")
                file.flush()

    with running(tmp_path / "data", notes) as program:
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            for number in range(5):
                (notes / f"good-{number}.md").write_text(f"# Good {number}\n\nEdited beside it, {number}.\n")
                program.until(lambda number=number: f"beside it, {number}" in texts(program))  # type: ignore[misc]
            assert "busy.txt" in states(program)
        finally:
            stop.set()
            writer.join(timeout=10.0)
        program.settles(notes)
        assert states(program)["busy.txt"] == "live"


def texts(program: Program) -> str:
    return "\n".join(hit["text"] for hit in program.search("edited beside it", top_k=20))


def test_files_that_are_no_text(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    (notes / "binary.md").write_bytes(bytes(range(256)) * 64)
    with (notes / "huge.md").open("wb") as file:
        file.truncate(100 * MIB)
    (notes / "latin1.md").write_bytes(
        "# Café\n\nUn café crème à côté de la forêt. Les élèves français ont été reçus après l'été.\n".encode(
            "cp1252"
        )
    )
    (notes / "broken.md").write_bytes(
        b"# Broken\n\nMostly UTF-8 \xe2\x82\xac, and then \xff\xfe\xfa in it.\n" * 3
    )
    (notes / "empty.md").write_bytes(b"")
    with running(tmp_path / "data", notes) as program:
        documents = program.documents()
        assert documents["huge.md"]["state"] == "skipped"
        assert "100" in documents["huge.md"]["reason"]
        assert "max_file_bytes" in documents["huge.md"]["reason"]
        assert documents["binary.md"]["state"] == "skipped"
        assert "binary" in documents["binary.md"]["reason"]
        assert documents["empty.md"]["state"] == "live"
        assert "Café" in program.search("café crème forêt")[0]["text"]
        assert documents["broken.md"]["state"] in ("live", "skipped")
        assert {documents[f"good-{number}.md"]["state"] for number in range(5)} == {"live"}
        assert program.source()["documents"]["skipped"] >= 2
        (notes / "huge.md").write_text("# Small now\n\nIt was too large.\n")
        (notes / "good-0.md").write_bytes(bytes(range(256)) * 64)
        program.until(lambda: states(program)["huge.md"] == "live")
        program.until(lambda: states(program)["good-0.md"] == "skipped")
        assert "good-0.md" not in {hit["uri"] for hit in program.search("note 0 is as it should be")}


def refusal(program: Program, code: int) -> str:
    """What it said, having refused to start."""
    assert program.start().wait() == code, program.said()
    assert "Traceback" not in program.said()
    return program.said()


def test_a_corrupt_data_file(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    data = tmp_path / "data"
    with Program(data, notes) as program:
        data.mkdir()
        (data / "headwater.sqlite").write_bytes(b"this was no database " * 5000)
        said = refusal(program, 1)
        assert str(data / "headwater.sqlite") in said
        assert "rebuilt from the sources" in said
        shutil.rmtree(data)
        program.start().ready()
        assert program.passages() == expected(notes)


def test_a_data_folder_that_is_removed_from_under_a_daemon(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    with running(tmp_path / "data", notes) as program:
        program.ready()
        shutil.rmtree(tmp_path / "data")
        answer = program.get("/readyz", codes=(503,))
        assert "was removed or replaced" in answer.text
        assert "Stop it and start it again" in answer.text
    with running(tmp_path / "data", notes) as program:
        program.ready().settles(notes)


def test_data_of_a_newer_version(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    with Program(tmp_path / "data", notes) as program:
        program.start().ready()
        live = program.export()
        program.stop()
        with contextlib.closing(sqlite3.connect(program.data / "headwater.sqlite")) as database, database:
            (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
            database.execute("UPDATE alembic_version SET version_num = '9999_later'")
        assert "newer version" in refusal(program, 1)
        with contextlib.closing(sqlite3.connect(program.data / "headwater.sqlite")) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", [version])
        program.start().ready()
        assert program.export() == live


def test_data_made_with_another_embedding_model(tmp_path: Path, notes: Path) -> None:
    """It goes on serving with its own; where that is gone, it says so and leaves everything as it is."""
    fill(notes)
    with Program(tmp_path / "data", notes) as program:
        program.start().ready()
        live = program.export()
        program.stop()
        program.environment["HEADWATER_EMBEDDING__MODEL"] = "hashing-64"
        program.start().ready()
        assert "headwater rebuild" in program.said()
        assert program.texts_embedded() == 0
        program.stop()
        with contextlib.closing(sqlite3.connect(program.data / "headwater.sqlite")) as database, database:
            database.execute("UPDATE editions SET model = ?", ['{"model": "/no/such/folder"}'])
        said = refusal(program, 2)
        assert "hashing (384" in said, "which model it was made with"
        assert "/no/such/folder" in said
        assert "--data" in said
        assert program.export() == live
        program.environment["HEADWATER_EMBEDDING__MODEL"] = "hashing"
        program.start().ready()
        assert program.texts_embedded() == 0


def test_settings_with_three_mistakes(tmp_path: Path, notes: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(
        f'[daemon]\nport = "seven"\n\n[embeding]\nmodel = "hashing"\n\n'
        f'[[sources]]\nroot = "{notes}"\nscan_every_s = -1\n'
    )
    with Program(tmp_path / "data", "--config", config) as program:
        program.words.remove("0")
        program.words.remove("--port")
        said = refusal(program, 2)
    for line in (2, 4, 9):
        assert f"{config}:{line}" in said
    assert not program.data.exists()


def test_an_unmounted_folder_of_five_files(tmp_path: Path) -> None:
    """What lies under the mount point is another, empty folder: that is no deletion."""
    notes = tmp_path / "disk"
    with mounted(notes, "2m"), Program(tmp_path / "data", notes) as program:
        fill(notes)
        program.start().ready()
        live = program.export()
        kept = tmp_path / "kept"
        shutil.copytree(notes, kept)
        unmount(notes)
        program.command("sync")
        program.until(lambda: program.source()["documents"].get("held") == 5, what="they are held")
        assert program.export() == live
        assert len(program.search("as it should be")) == 5
        assert f"headwater approve {program.source()['name']}" in program.said()
        program.stop()
        program.start().ready()
        assert program.export() == live, "still held after a restart"
        with mounted(notes, "2m"):
            shutil.copytree(kept, notes, dirs_exist_ok=True)
            program.command("sync")
            program.settles(notes)
            program.until(lambda: set(states(program).values()) == {"live"}, what="they are found again")
            assert program.texts_embedded() == 0


def test_a_full_disk_while_the_ledger_writes(tmp_path: Path, notes: Path) -> None:
    """What is live is served; once there is room, it goes on by itself."""
    fill(notes)
    disk = tmp_path / "disk"
    with mounted(disk, "32m"), Program(disk / "data", notes) as program:
        program.log = tmp_path / "program.log"
        program.start().ready()
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        for number in range(100):
            text = "\n\n".join(f"Note {number} waits for room, part {part}. " * 20 for part in range(20))
            (notes / f"later-{number}.md").write_text(f"# Later {number}\n\n{text}\n")
        program.until(lambda: "full" in program.said(), what="it says that the disk is full")
        assert program.search("note 3 is as it should be")[0]["uri"] == "good-3.md"
        assert program.get("/healthz")
        assert program.passages() != expected(notes), "there was room after all"
        ballast.unlink()
        program.settles(notes)
        assert set(states(program).values()) == {"live"}
        program.stop()
        assert "Traceback" not in program.said()
