"""A pipeline on a fresh database file and a source held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.database import Database
from ingestion.sources.memory import MemorySource
from tests.rig import SOURCE, Rig, ShiftedClock, fresh_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = fresh_database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def source(clock: ShiftedClock) -> MemorySource:
    return MemorySource(SOURCE, clock=clock)


@pytest.fixture
def rig(database: Database, source: MemorySource, clock: ShiftedClock) -> Rig:
    rig = Rig(database, [source], clock=clock)
    rig.recover()
    return rig
