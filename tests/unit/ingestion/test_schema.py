from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger import schema
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.tables import metadata


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.file(tmp_path / "headwater.db")


def test_the_migrations_make_the_tables(database: Database) -> None:
    schema.ensure(database)
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    database.close()


def test_the_indexes_are_partial_where_the_tables_say_so(database: Database) -> None:
    """Alembic does not compare conditions of indexes; SQLite uses one only for the very same words."""
    schema.ensure(database)
    with database.read() as connection:
        made = {
            row.name: row.sql
            for row in connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
        }
    for table in metadata.tables.values():
        for index in table.indexes:
            assert index.name is not None
            where = index.dialect_options["sqlite"]["where"]
            if where is None:
                assert "WHERE" not in made[index.name]
            else:
                condition = str(where.compile(dialect=database._reader.dialect)).replace("publications.", "")
                condition = condition.replace("documents.", "").replace("chunks.", "")
                assert made[index.name].endswith(f"WHERE {condition}")
    database.close()


def test_opening_twice_changes_nothing(database: Database) -> None:
    Ledger(database, SystemClock()).sources.begin_listing()
    assert Ledger(database, SystemClock()).fence.generation() == 1
    assert schema.current_revision(database) == schema.known_revisions()[-1]
    database.close()


def _open(path: Path, start: Barrier) -> None:
    start.wait(timeout=60)
    database = Database.file(path)
    Ledger(database, SystemClock()).sources.begin_listing()
    database.close()


def test_processes_that_open_a_new_file_at_once_all_succeed(database: Database, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    processes = [spawn.Process(target=_open, args=(tmp_path / "headwater.db", start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert Ledger(database, SystemClock()).fence.generation() == 2
    database.close()
