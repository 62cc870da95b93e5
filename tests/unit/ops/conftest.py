"""A real ledger, in memory or in a data folder, for tests of everything that shows one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ingestion.database import Database
from ops.cli import headwater
from ops.opening import DATA_FILE
from tests.unit.ops.books import Books, SetClock

Run = Callable[..., Result]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def books(clock: SetClock) -> Iterator[Books]:
    """Books in memory with one active source, ``handbook``."""
    database = Database.in_memory()
    made = Books(database, clock)
    made.configure(handbook="/srv/handbook")
    yield made
    database.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    """A folder to be a source."""
    folder = tmp_path / "handbook"
    folder.mkdir()
    return folder


@pytest.fixture
def filed(clock: SetClock, data: Path, handbook: Path) -> Iterator[Books]:
    """Books in the data file, with the folder ``handbook`` as the source of that name."""
    database = Database.file(data / DATA_FILE)
    made = Books(database, clock)
    made.configure(handbook=handbook)
    yield made
    database.close()


@pytest.fixture
def run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the data folder, in an empty folder, with the hashing embedder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_EMBEDDING__MODEL", "hashing")

    def run(command: str, *arguments: str | Path, code: int = 0, input: str | None = None) -> Result:  # noqa: A002
        words = [*command.split(), "--data", str(data), *map(str, arguments)]
        result = CliRunner().invoke(headwater, words, input=input, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run
