"""The command ``sources``: every kind with its settings, and what is configured."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ops.cli import headwater
from ops.kinds import KINDS
from ops.opening import data_file
from ops.settings import load


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "headwater.toml"
    path.write_text(f'[daemon]\ndata = "data"\n{text}', encoding="utf-8")
    return path


def told(path: Path, *words: str) -> str:
    result = CliRunner().invoke(headwater, ["sources", "--config", str(path), *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_every_kind_is_told_with_each_of_its_settings(tmp_path: Path) -> None:
    answer = json.loads(told(settings_file(tmp_path, ""), "--json"))
    found = {one["kind"]: {each["setting"] for each in one["settings"]} for one in answer["kinds"]}
    assert found == {word: set(kind.model_fields) - {"kind"} for word, kind in KINDS.items()}
    assert answer["sources"] == []


def test_what_is_configured_is_told_with_its_place_and_its_last_look(tmp_path: Path) -> None:
    path = settings_file(tmp_path, '[[sources]]\nname = "notes"\nroot = "notes"\n[[sources]]\nroot = "b"\n')
    lines = [" ".join(line.split()) for line in told(path).splitlines()]
    assert f"notes files {tmp_path}/notes, not looked at yet" in lines
    assert "scan_every_s seconds between complete scans (300)" in lines
    assert "root the folder; it need not be there yet (needed)" in lines

    settings, clock = load(path, environ={}), SystemClock()
    settings.daemon.data.mkdir()
    database = Database.file(data_file(settings))
    ledger = Ledger(database, clock)
    ledger.sources.add([SourceRow("notes", "files", str(tmp_path / "notes"))])
    listing = {"started_at": clock.now() - 120, "device": None, "fault": None}
    ledger.sources.finish_listing("notes", ledger.sources.begin_listing(), **listing)  # type: ignore[arg-type]
    database.close()
    assert f"  notes  files  {tmp_path}/notes, looked at 2 minutes ago" in told(path).splitlines()
