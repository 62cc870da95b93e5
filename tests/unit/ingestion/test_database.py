from __future__ import annotations

import hashlib
import multiprocessing
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import LOG_BYTES, Database
from ingestion.errors import DataCorrupt, DataNewer, LedgerUnavailable
from ingestion.ledger.ledger import Ledger


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database.in_memory() if request.param == "memory" else Database.file(tmp_path / "a.db")
    with made.write() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (value INTEGER NOT NULL UNIQUE)")
        connection.exec_driver_sql("INSERT INTO numbers VALUES (0)")
    yield made
    made.close()


def value(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT value FROM numbers").scalar_one())


def add_one(database: Database) -> None:
    """Read, then modify, then write: what loses updates where a transaction begins as a reader."""
    with database.write() as connection:
        seen = connection.exec_driver_sql("SELECT value FROM numbers").scalar_one()
        connection.exec_driver_sql("UPDATE numbers SET value = ?", (seen + 1,))


def test_eight_threads_lose_no_update(database: Database) -> None:
    threads = [threading.Thread(target=_add_25, args=(database,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(database) == 200


def _add_25(database: Database) -> None:
    for _ in range(25):
        add_one(database)


def _add_many(path: Path, number: int) -> None:
    database = Database.file(path)
    for _ in range(number):
        add_one(database)
    database.close()


def test_two_processes_lose_no_update(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = Database.file(path)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (value INTEGER)")
        connection.exec_driver_sql("INSERT INTO numbers VALUES (0)")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_add_many, args=(path, 100)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert value(database) == 200
    database.close()


def test_what_raises_is_rolled_back(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as connection:
        connection.exec_driver_sql("UPDATE numbers SET value = 7")
        raise KeyError
    assert value(database) == 0


def test_a_reader_sees_one_moment_and_does_not_hold_up_writers(tmp_path: Path) -> None:
    database = Database.file(tmp_path / "a.db")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (value INTEGER)")
        connection.exec_driver_sql("INSERT INTO numbers VALUES (0)")
    with database.read() as reader:
        assert reader.exec_driver_sql("SELECT value FROM numbers").scalar_one() == 0
        add_one(database)
        assert reader.exec_driver_sql("SELECT value FROM numbers").scalar_one() == 0
    assert value(database) == 1
    database.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    database = Database.file(tmp_path / "a.db")
    with pytest.raises(LedgerUnavailable), database.read() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (value INTEGER)")
    database.close()


def test_the_log_is_cut_back_after_a_long_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = Database.file(path)
    log = tmp_path / "a.db-wal"
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE blobs (value BLOB)")
    with database.read() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM blobs").scalar_one()
        while log.stat().st_size <= LOG_BYTES:
            with database.write() as connection:
                connection.exec_driver_sql("INSERT INTO blobs VALUES (zeroblob(8388608))")
    for _ in range(3):  # a checkpoint of everything, and then a commit that starts the log anew
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO blobs VALUES (zeroblob(5000000))")
    assert log.stat().st_size <= LOG_BYTES
    database.close()


def test_a_fault_of_the_program_keeps_its_name(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO numbers VALUES (0)")


def test_something_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "headwater.db"
    path.write_text("Dear diary, " * 500)
    with pytest.raises(DataCorrupt, match=r"headwater\.db.*Move it away"):
        Ledger(Database.file(path), SystemClock())
    assert path.read_text() == "Dear diary, " * 500


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()
    with pytest.raises(DataCorrupt, match="something else"):
        Ledger(Database.file(path), SystemClock())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("photos",)]
    connection.close()


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "headwater.db"
    database = Database.file(path)
    Ledger(database, SystemClock())
    database.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(DataCorrupt, match="rebuilt from the sources"):
        Ledger(Database.file(path), SystemClock())


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "headwater.db"
    database = Database.file(path)
    Ledger(database, SystemClock())
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    newer = Database.file(path)
    with pytest.raises(DataNewer, match=r"9999.*Nothing was changed"):
        Ledger(newer, SystemClock())
    newer.close()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["headwater.db"]


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    database = Database.file(tmp_path / "a.db")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE blobs (value BLOB)")
        connection.exec_driver_sql("INSERT INTO blobs VALUES (zeroblob(1000))")
        connection.exec_driver_sql("PRAGMA max_page_count = 20")
    with pytest.raises(LedgerUnavailable, match="full; nothing was written"), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO blobs VALUES (zeroblob(1000))")
        connection.exec_driver_sql("INSERT INTO blobs VALUES (zeroblob(1000000))")
    with database.write() as connection:  # there is room again
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        connection.exec_driver_sql("INSERT INTO blobs VALUES (zeroblob(1000000))")
        assert connection.exec_driver_sql("SELECT count(*) FROM blobs").scalar_one() == 2
    database.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    database = Database.file(tmp_path / "missing" / "a.db")
    with pytest.raises(LedgerUnavailable, match="folder must exist"), database.read():
        pass


def test_a_writer_waits_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = Database.file(path)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (value INTEGER)")
        connection.exec_driver_sql("INSERT INTO numbers VALUES (0)")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE numbers SET value = 10")
    committing = threading.Timer(0.05, lambda: other.execute("COMMIT"))
    committing.start()
    add_one(database)
    committing.join()
    other.close()
    assert value(database) == 11
    database.close()
