"""Folders for each test, and the programs' logs beside each failure."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.acceptance import program

SHOWN_CHARACTERS = 6000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for one in (*program.started, *program.ended):
            report.sections.append((f"what {one.data} said last", one.said()[-SHOWN_CHARACTERS:]))
    if call.when == "call":
        program.ended.clear()
    return report


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder to be a source, beside the data folder ``tmp_path / "data"``."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder
