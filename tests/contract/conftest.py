"""The databases that a ledger can live in; a test of the ledger's contract runs on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.database import Database

DATABASES = ("sqlite in memory", "sqlite file", "postgres")


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        made = Database(server.fresh())
    elif request.param == "sqlite file":
        made = Database.file(tmp_path / "headwater.db")
    else:
        made = Database.in_memory()
    yield made
    made.close()
    if request.param == "postgres":
        server.drop(made.url)
