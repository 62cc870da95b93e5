"""The page "Write a source", followed."""

from __future__ import annotations

import importlib.util
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import DocumentGone, NotIndexable, SourceUnavailable
from ingestion.ledger.ledger import Ledger
from ingestion.records import Gone
from ops.cli import headwater
from ops.findings import Verdict
from ops.kinds import KINDS
from ops.kinds.base import Means, SourceSettings
from ops.settings import load
from tests.rig import Rig

PAGE = (Path(__file__).resolve().parents[2] / "ops" / "write-a-source.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
(TOML,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


def made(path: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the page, under the name that its place gives it."""
    name = path.removesuffix(".py").replace("/", ".")
    file = folder / Path(path).name
    file.write_text(FILES[path], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[SourceSettings]:
    (tmp_path / "source").mkdir()
    (tmp_path / "settings").mkdir()
    made("ingestion/sources/archive.py", tmp_path / "source", monkeypatch)
    module = made("ops/kinds/archive.py", tmp_path / "settings", monkeypatch)
    settings: type[SourceSettings] = module.ArchiveSettings
    monkeypatch.setitem(KINDS, "archive", settings)
    return settings


@pytest.fixture
def config(kind: type[SourceSettings], tmp_path: Path) -> Path:
    path = tmp_path / "headwater.toml"
    path.write_text(TOML.replace("/data", str(tmp_path)), encoding="utf-8")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.file(tmp_path / "ledger.db")
    yield made
    made.close()


def packed(folder: Path, **bodies: str) -> None:
    with zipfile.ZipFile(folder / "papers.zip", "w") as archive:
        for name, body in bodies.items():
            archive.writestr(f"{name}.md", body)


def test_a_kind_made_by_the_page_is_kept_searchable(config: Path, database: Database, tmp_path: Path) -> None:
    (settings,) = load(config, environ={}).sources
    clock = SystemClock()
    source = settings.source(Means(clock, Ledger(database, clock), tmp_path))
    packed(tmp_path, one="the ferry leaves", two="the ferry returns", three="x", four="y")
    rig = Rig(database, [source])
    rig.recover()
    rig.sync(settings.name)
    assert rig.states() == {f"{name}.md": "live" for name in ("one", "two", "three", "four")}
    embedded = len(rig.embedder.texts)
    packed(tmp_path, one="the ferry leaves", renamed="the ferry returns", three="z", four="y")
    rig.sync(settings.name)
    assert rig.states().keys() == {"one.md", "renamed.md", "three.md", "four.md"}
    assert rig.embedder.texts[embedded:] == ["z"], "a rename embeds nothing"
    (tmp_path / "papers.zip").unlink()
    assert rig.scan(settings.name).fault is not None
    assert rig.states().keys() == {"one.md", "renamed.md", "three.md", "four.md"}
    with pytest.raises(SourceUnavailable):
        source.look("one.md")
    packed(tmp_path, one="x" * (2**24 + 1))
    with pytest.raises(NotIndexable):
        source.read("one.md")
    assert isinstance(source.look("two.md"), Gone)
    with pytest.raises(DocumentGone):
        source.read("two.md")


def test_it_is_listed_and_examined(config: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(headwater, ["sources", "--config", str(config), "--data", str(tmp_path)]).output
    assert "archive: The documents in a ZIP archive." in told
    assert f"papers  archive  {tmp_path}/papers.zip" in told
    (settings,) = load(config, environ={}).sources
    assert [one.verdict for one in settings.examined()] == [Verdict.WRONG]
    packed(tmp_path, one="x")
    assert [one.verdict for one in settings.examined()] == [Verdict.OK]
