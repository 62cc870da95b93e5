"""Folders for tests that need real files, a user whom permissions bind, a server, a ledger's file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.database import Database
from tests.servers.web import WebServer

NOBODY = 65534


@pytest.fixture
def server() -> Iterator[WebServer]:
    one = WebServer()
    yield one
    one.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.file(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A new folder, in a process that permissions bind: the administrator becomes nobody for the test."""
    folder = Path(tempfile.mkdtemp())
    administrator = os.geteuid() == 0
    if administrator:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if administrator:
            os.seteuid(0)
        _open_up(folder)
        shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    folder.chmod(0o700)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            _open_up(path)
