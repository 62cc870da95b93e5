"""The daemon in this process, with a model that is loaded only after the folder was listed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.daemon import Daemon
from ops.kinds.files import FilesSettings
from ops.settings import CanarySettings, DaemonSettings, Settings
from retrieval.embedding.hashing import HashingEmbedder
from workers.outcomes import Outcome, Result

DEADLINE_S = 60.0


class LateEmbedder(HashingEmbedder):
    """The hashing embedder, loading until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.there = threading.Event()

    @property
    def loaded(self) -> bool:
        return self.there.is_set()

    def load(self) -> None:
        assert self.there.wait(DEADLINE_S)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateEmbedder]:
    one = LateEmbedder()
    monkeypatch.setattr("ops.wiring.embedder_of", lambda *_arguments, **_options: one)
    yield one
    one.there.set()


@pytest.fixture
def quick_switching() -> Iterator[None]:
    """What the daemon sets for its process."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("quick_switching")
def test_a_first_index_begins_as_soon_as_the_model_is_there(
    tmp_path: Path, embedder: LateEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the dispatcher's next turn, which is an hour away here."""
    monkeypatch.setattr("workers.app.DISPATCH_EVERY_S", 3600.0)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "one.md").write_text("# One\n\nA note.\n")
    outcomes: list[Outcome] = []
    settings = Settings(
        daemon=DaemonSettings(data=tmp_path / "data", port=0),
        sources=(FilesSettings(name="notes", root=notes),),
        canary=CanarySettings(every_s=0),
    )
    daemon = Daemon(settings, listener=outcomes.append)
    daemon.start()
    try:
        until(lambda: daemon._pipeline.work._postponed)
        embedder.there.set()
        until(lambda: [one.result for one in outcomes] == [Result.PUBLISHED])
        until(lambda: daemon.ready)
    finally:
        daemon.stop()
