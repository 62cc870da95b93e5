"""A real ledger in memory, for tests of everything that shows one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion.database import Database
from tests.unit.ops.books import Books, SetClock


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
