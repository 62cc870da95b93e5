"""A name that a ledger cannot keep stops no listing, and is dealt with alike in every ledger."""

from __future__ import annotations

import os
import random
import shutil
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import LedgerRejected
from ingestion.ledger.documents import Change
from ingestion.ledger.names import MAX_URI_BYTES
from ingestion.records import Lane, Seen
from ingestion.sources.files import FilesSource
from retrieval.index.memory import MemoryIndex
from tests.rig import SOURCE, Rig
from workers.outcomes import Result
from workers.reconcile import BURST


def no_pattern(size: int) -> str:
    """Letters in which nothing comes twice: a server compresses long values before it measures them."""
    return "".join(random.Random(7).choices(string.ascii_letters, k=size))


DEEP = "/".join(no_pattern(3600)[at : at + 200] for at in range(0, 3600, 200))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("alpha", "beta", "gamma"):
        (root / f"{name}.md").write_text(f"common words of {name}")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def rig(root: Path, database: Database) -> Rig:
    rig = Rig(database, [FilesSource(SOURCE, root, clock=SystemClock())], index=MemoryIndex())
    rig.recover()
    return rig


def write_deep(root: Path, text: str = "words at the end of a long way") -> Path:
    path = root / DEEP / "deep.md"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(os.fsencode(path.relative_to(root))) > 3500
    return path


def skipped(rig: Rig) -> str:
    (uri,) = [uri for uri, state in rig.states().items() if state == "skipped"]
    return uri


def test_a_path_that_is_too_long_is_skipped_and_the_others_are_looked_after(rig: Rig, root: Path) -> None:
    write_deep(root)
    listed = rig.sync()
    assert (listed.wanted, listed.skipped, listed.fault) == (3, 1, None)
    uri = skipped(rig)
    assert DEEP.startswith(uri.rpartition("/")[0]) and len(uri.encode()) <= MAX_URI_BYTES
    view = rig.ledger.views.named(SOURCE, uri)
    assert view is not None and "bytes is over the limit of 2,000" in (view.reason or "")
    assert rig.results(Result.SKIPPED) == [uri]
    (root / "alpha.md").write_text("edited words")
    (root / "beta.md").unlink()
    listed = rig.sync()
    assert (listed.wanted, listed.retired, listed.skipped) == (1, 1, 0)
    assert [passage[4] for passage in rig.passages()] == ["edited words", "common words of gamma"]


def test_a_hint_of_a_path_that_is_too_long(rig: Rig, root: Path) -> None:
    rig.sync()
    path = write_deep(root)
    rig.look(str(path.relative_to(root)))
    uri = skipped(rig)
    path.unlink()
    rig.look(str(path.relative_to(root)))
    assert uri not in rig.states()
    path.write_text("back")
    rig.look(subtrees=(f"{DEEP[:200]}/",))
    assert skipped(rig) == uri


def test_what_is_renamed_to_a_short_path_is_a_document(rig: Rig, root: Path) -> None:
    path = write_deep(root)
    rig.sync()
    path.rename(root / "short.md")
    rig.sync()
    assert rig.states() == dict.fromkeys(["alpha.md", "beta.md", "gamma.md", "short.md"], "live")


def test_what_is_moved_to_a_path_that_is_too_long_is_not_served_any_more(rig: Rig, root: Path) -> None:
    rig.sync()
    path = write_deep(root)
    path.unlink()
    (root / "alpha.md").rename(path)
    rig.sync()
    assert rig.states() == {"beta.md": "live", "gamma.md": "live", skipped(rig): "skipped"}
    assert {passage[0] for passage in rig.passages()} == {"beta.md", "gamma.md"}


# Where the server itself refuses ---------------------------------------------------------------------------


@pytest.fixture
def without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a long path is what any document may be that a ledger refuses for a reason nobody thought of."""
    monkeypatch.setattr("ingestion.ledger.names.MAX_URI_BYTES", 100_000)


@pytest.mark.usefixtures("without_limit")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.parametrize("others", [3, BURST + 1])
def test_a_document_that_the_ledger_refuses_stops_no_other(rig: Rig, root: Path, others: int) -> None:
    path = write_deep(root)
    for number in range(others - 3):
        (root / f"{number}.md").write_text(f"words of {number}")
    listed = rig.sync()
    assert len(rig.states()) == others and set(rig.states().values()) == {"live"}
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None and state.fault == listed.fault and state.listed_at is not None
    assert DEEP[:200] in (state.fault or "") and "refuses to keep" in (state.fault or "")
    (root / "alpha.md").write_text("edited words")
    assert rig.sync().wanted == 2
    assert "edited words" in [passage[4] for passage in rig.passages()]
    path.rename(root / "short.md")
    assert rig.sync().fault is None
    assert rig.states()["short.md"] == "live"


@pytest.mark.usefixtures("without_limit")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_look_tells_of_what_the_ledger_refuses(rig: Rig, root: Path) -> None:
    rig.sync()
    path = write_deep(root)
    (root / "alpha.md").write_text("edited words")
    rig.look("alpha.md", str(path.relative_to(root)))
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None and "refuses to keep" in (state.fault or "")
    rig.settle()
    assert "edited words" in [passage[4] for passage in rig.passages()]
    path.rename(root / "alpha.md")
    rig.look("alpha.md", str(path.relative_to(root)))
    rig.scan()
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None and state.fault is None


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_a_server_refuses_is_no_outage(rig: Rig) -> None:
    change = Change(Seen(f"{DEEP}/deep.md", "look", None, 1, None, 1.0), 1.0)
    with pytest.raises(LedgerRejected, match="54000"):
        rig.ledger.documents.want(SOURCE, [change], Lane.FRESH, sent=False)
