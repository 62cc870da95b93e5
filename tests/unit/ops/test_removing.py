"""``headwater source remove``: what it asks, refuses and says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingestion.errors import WrongSettings
from ops import removing
from ops.keeping import LET_GO_S
from ops.lock import DaemonNote
from ops.settings import load
from tests.unit.ops.books import Books, SetClock
from tests.unit.ops.conftest import Run


@pytest.fixture
def left(filed: Books, handbook: Path) -> Books:
    """The source ``old`` has left the settings, with two documents."""
    filed.configure(handbook=handbook, old="/srv/old")
    for uri in ("a.md", "b.md"):
        filed.publish(filed.want("old", uri)[0])
    filed.publish(filed.want("handbook", "c.md")[0])
    filed.configure(handbook=handbook)
    return filed


def test_it_asks_and_says_how_many(left: Books, run: Run) -> None:
    assert "headwater source remove old" in run("status").output
    output = run("source remove old", input="n\n", code=1).output
    assert "2 documents of old would be removed." in output
    assert len(left.ledger.documents.entries("old")) == 2
    assert "2 documents removed." in run("source remove old", input="y\n").output
    assert "source remove" not in run("status").output
    assert [state.name for state in left.ledger.sources.all()] == ["handbook"]
    assert left.ledger.documents.count_served("handbook") == 1
    assert "Nothing is kept of a source 'old'; there are: handbook." in run("source remove old --yes").output


def test_the_copy_of_a_repository_goes_too(left: Books, run: Run, data: Path) -> None:
    copies = data / "git"
    for name in ("old", "other"):
        (copies / name / "0123.git").mkdir(parents=True)
    run("source remove old --yes")
    assert [folder.name for folder in copies.iterdir()] == ["other"]


def test_for_programs(left: Books, run: Run) -> None:
    def told(words: str = "") -> dict[str, object]:
        answer: dict[str, object] = json.loads(run(f"source remove old --json {words}").output)
        return answer

    assert told() == {"source": "old", "known": True, "documents": 2, "removed": 0}
    assert told("--yes") == {"source": "old", "known": True, "documents": 2, "removed": 2}
    assert told("--yes") == {"source": "old", "known": False, "documents": 0, "removed": 0}
    assert left.ledger.documents.count_served("old") == 0


def test_what_the_settings_have_stays(left: Books, run: Run, tmp_path: Path, handbook: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(f'[[sources]]\nname = "old"\nroot = "{handbook}"\n')
    output = run(f"source remove old --yes --config {config}", code=2).output
    assert "old is in these settings; nothing was removed." in output
    assert len(left.ledger.documents.entries("old")) == 2


def test_what_a_daemon_has_stays(left: Books, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = DaemonNote(pid=17, host="h", port=1, started_at=0.0, version="0")
    monkeypatch.setattr(removing, "running_daemon", lambda data: daemon)
    assert "(pid 17) still has handbook" in run("source remove handbook --yes", code=2).output
    assert "2 documents removed." in run("source remove old --yes").output, "of this one it knows nothing"
    assert left.ledger.documents.count_served("handbook") == 1


def test_what_a_role_has_stays(left: Books, clock: SetClock, data: Path) -> None:
    settings = load(arguments={"daemon.data": data, "broker.url": "redis://localhost"}, environ={})
    clock.at += 10
    left.ledger.sources.keep(["old"])
    clock.at += LET_GO_S - 1
    with pytest.raises(WrongSettings, match="A process that runs has old"):
        removing.remove(left.ledger, settings, "old")
    assert len(left.ledger.documents.entries("old")) == 2
    clock.at += 2
    assert removing.remove(left.ledger, settings, "old") == 2
