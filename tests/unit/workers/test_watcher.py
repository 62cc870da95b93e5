"""A real folder, a real watch: hints become looks, and a watch that died is set again."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ingestion.clock import Clock, SystemClock
from ingestion.database import Database
from ingestion.errors import LedgerUnavailable
from ingestion.records import Observation
from ingestion.sources.files import FilesSource
from ingestion.sources.memory import MemorySource
from ingestion.sources.port import SourcePort
from ingestion.sources.settling import PATIENCE_S, Batch
from ingestion.sources.unwatched import Unwatched
from tests.knowledge import SetClock, eventually
from tests.rig import SOURCE, Rig
from workers import watcher as watching
from workers.outcomes import Result
from workers.reconcile import Listed
from workers.watcher import Watcher


class Watched:
    """A pipeline under a watcher. What is listed and sent is done here, in the watcher's thread."""

    def __init__(
        self,
        root: Path,
        database: Database,
        clock: Clock | None = None,
        source: SourcePort | None = None,
    ) -> None:
        self.root = root
        clock = clock or SystemClock()
        self.source = source or FilesSource(SOURCE, root, clock=clock)
        self.rig = Rig(database, [self.source], clock=clock)
        self.rig.recover()
        self.listings = 0
        self.overflows: list[str] = []
        self._working = threading.Lock()
        self.watcher = Watcher(
            self.rig.ledger,
            self.rig.reconciler,
            [self.source],
            clock,
            list_source=self._list,
            overflowed=self.overflows.append,
        )

    def _list(self, name: str) -> None:
        self.rig.work.list_source(name)
        self.listings += 1

    def states(self) -> dict[str, str]:
        with self._working:
            self.rig.work.dispatch()
            self.rig.work_off()
        return self.rig.states()

    def becomes(self, states: dict[str, str]) -> None:
        eventually(lambda: self.states() == states, deadline_s=15.0)

    def heartbeat(self) -> float:
        state = self.rig.ledger.sources.state(SOURCE)
        assert state is not None
        return state.heartbeat_at or 0.0


@pytest.fixture
def watched(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("a.md", "b.md"):
        (root / name).write_text(f"words of {name}")
    watched = Watched(root, database)
    watched.watcher.start()
    try:
        watched.becomes({"a.md": "live", "b.md": "live"})
        yield watched
    finally:
        watched.watcher.stop()


def test_changes_are_looked_at_without_another_listing(watched: Watched) -> None:
    (watched.root / "c.md").write_text("words of c")
    (watched.root / "a.md").unlink()
    watched.becomes({"b.md": "live", "c.md": "live"})
    (watched.root / "c.md").rename(watched.root / "d.md")
    watched.becomes({"b.md": "live", "d.md": "live"})
    assert watched.listings == 1
    assert watched.rig.missed == []


def test_what_somebody_says_has_changed_is_looked_at(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a source that nothing tells of: by a hint to the watcher, or by one that waits in the ledger."""
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    source = MemorySource(SOURCE, clock=SystemClock())
    source.put("a.md", b"words of a")
    watched = Watched(tmp_path, database, source=source)
    watched.watcher.start()
    try:
        watched.becomes({"a.md": "live"})
        source.put("b.md", b"words of b")
        watched.watcher.hint(SOURCE, ["b.md", "absent.md"])
        watched.becomes({"a.md": "live", "b.md": "live"})
        source.put("c/d.md", b"words of d")
        source.delete("b.md")
        watched.rig.ledger.hints.add(SOURCE, ["c/", "c/"])
        watched.rig.ledger.hints.add("another", ["x"])
        watched.becomes({"a.md": "live", "b.md": "live", "c/d.md": "live"})
        assert watched.listings == 1
        watched.rig.ledger.hints.add(SOURCE, [""])
        watched.becomes({"a.md": "live", "c/d.md": "live"})
        eventually(lambda: watched.listings == 2)
        assert watched.rig.ledger.hints.take([SOURCE, "another"]) == {"another": ["x"]}
        assert watched.heartbeat() == 0.0, "only listings prove what nothing tells of"
    finally:
        watched.watcher.stop()


def test_a_heartbeat_says_that_everything_before_it_was_seen(watched: Watched) -> None:
    before = watched.heartbeat()
    eventually(lambda: watched.heartbeat() > before)
    assert watched.heartbeat() <= SystemClock().now() - watching.EVENT_DELAY_S


class Asking(Unwatched):
    """A watch that asks by itself, and was last answered at this moment."""

    answered_at: float | None = None

    def seen_until(self, now: float) -> float | None:
        return self.answered_at


def test_a_heartbeat_of_what_is_asked_speaks_until_the_last_answer(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    source, asking = MemorySource(SOURCE, clock=SystemClock()), Asking()
    monkeypatch.setattr(source, "watch", lambda on_dirty: asking)
    watched = Watched(tmp_path, database, source=source)
    beats: list[float | None] = []
    heartbeat = watched.rig.ledger.sources.heartbeat
    hints = watched.rig.ledger.hints.take

    def taken(names: list[str]) -> Mapping[str, Sequence[str]]:
        beats.append(None)
        return hints(names)

    def beaten(seen: Mapping[str, float], events: Mapping[str, float]) -> None:
        beats.append(seen[SOURCE])
        heartbeat(seen, events)

    monkeypatch.setattr(watched.rig.ledger.hints, "take", taken)
    monkeypatch.setattr(watched.rig.ledger.sources, "heartbeat", beaten)
    watched.watcher.start()
    try:
        eventually(lambda: len(beats) > 3)
        assert set(beats) == {None}, "nothing was answered yet"
        asking.answered_at = SystemClock().now() - 5.0
        eventually(lambda: any(beat is not None for beat in beats))
        told = {beat for beat in beats if beat is not None}
        assert told == {asking.answered_at - watching.EVENT_DELAY_S}
    finally:
        watched.watcher.stop()


class Beats:
    """Hints on a clock that is moved by hand, and whether a heartbeat ever speaks for one that waits."""

    def __init__(self, watched: Watched, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number, self.wrong = 0, list[float]()
        self._watched, self._clock = watched, clock
        self._waiting: dict[str, float] = {}
        self._look, self._beat = watched.rig.reconciler.look, watched.rig.ledger.sources.heartbeat
        self.doubts = 0
        monkeypatch.setattr(watched.rig.reconciler, "look", self._looked)
        monkeypatch.setattr(watched.rig.ledger.sources, "heartbeat", self._beaten)

    @property
    def until(self) -> float:
        """What the last one speaks for."""
        return self._watched.heartbeat()

    def step(self, *uris: str) -> None:
        """A tenth of a second later these are told of; returns after a heartbeat."""
        self._clock.time += 0.1
        before = self.number
        for uri in uris:
            self._waiting.setdefault(uri, self._clock.time)
        self._watched.watcher.doubt(SOURCE, uris)
        eventually(lambda: self.number > before)

    def _looked(self, source: SourcePort, batch: Batch, noticed_at: float) -> Listed:
        looked = self._look(source, batch, noticed_at)
        if self.doubts:
            self.doubts -= 1
            return replace(looked, doubts=batch.uris)
        for uri in batch.uris:
            self._waiting.pop(uri, None)
        return looked

    def _beaten(self, seen: Mapping[str, float], events: Mapping[str, float]) -> None:
        oldest = min(self._waiting.values(), default=self._clock.time)
        if seen[SOURCE] > oldest - watching.EVENT_DELAY_S:
            self.wrong.append(seen[SOURCE] - oldest)
        self._beat(seen, events)
        self.number += 1


@pytest.fixture
def beats(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beats]:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    root, clock = tmp_path / "folder", SetClock(SystemClock().now())
    root.mkdir()
    watched = Watched(root, database, clock)
    watched.watcher.start()
    try:
        eventually(lambda: watched.listings == 1, deadline_s=15.0)
        yield Beats(watched, clock, monkeypatch)
    finally:
        watched.watcher.stop()


def test_files_that_never_settle_do_not_make_a_source_blind(beats: Beats) -> None:
    """Two logs that are written all the time: something always waits."""
    begun_at = beats.until
    for step in range(60):
        beats.step("a.log", *(["b.log"] if step >= 10 else []))
    assert beats.wrong == []
    assert beats.until > begun_at + 60 * 0.1 - PATIENCE_S - 0.5


def test_what_a_look_leaves_in_doubt_is_not_seen(beats: Beats) -> None:
    beats.doubts = 2
    beats.step("a.md")
    for _ in range(20):
        beats.step()
    assert beats.wrong == [] and beats.doubts == 0


def test_the_ledger_knows_when_the_system_last_told_of_a_change(watched: Watched) -> None:
    def event_at() -> float:
        state = watched.rig.ledger.sources.state(SOURCE)
        assert state is not None
        return state.event_at or 0.0

    began = SystemClock().now()
    (watched.root / "c.md").write_text("words of c")
    eventually(lambda: event_at() >= began)
    beat = watched.heartbeat()
    eventually(lambda: watched.heartbeat() > max(beat, event_at()))  # quiet is no event
    assert event_at() <= SystemClock().now()


def test_a_root_that_is_deleted_and_made_again(watched: Watched) -> None:
    shutil.rmtree(watched.root)
    watched.becomes({"a.md": "held", "b.md": "held"})
    silent_at = watched.heartbeat()
    watched.root.mkdir()
    (watched.root / "a.md").write_text("words of a.md")
    (watched.root / "b.md").write_text("changed words")
    watched.becomes({"a.md": "live", "b.md": "live"})
    assert watched.rig.embedder.texts.count("words of a.md") == 1
    eventually(lambda: watched.heartbeat() > silent_at)
    (watched.root / "c.md").write_text("words of c")
    watched.becomes({"a.md": "live", "b.md": "live", "c.md": "live"})


def test_a_look_that_failed_is_made_up_for_by_a_listing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = watched.rig.reconciler.look
    failures: list[object] = []

    def away(*arguments: object) -> None:
        failures.append(arguments)
        monkeypatch.setattr(watched.rig.reconciler, "look", look)
        raise LedgerUnavailable("the disk is full")

    monkeypatch.setattr(watched.rig.reconciler, "look", away)
    (watched.root / "c.md").write_text("words of c")
    watched.becomes({"a.md": "live", "b.md": "live", "c.md": "live"})
    assert len(failures) == 1


def test_an_unforeseen_error_of_a_look_loses_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[object] = []

    def broken(*arguments: object) -> None:
        failures.append(arguments)
        raise ZeroDivisionError

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(watched.rig.reconciler, "look", broken)
        (watched.root / "c.md").write_text("words of c")
        eventually(lambda: len(failures) > 0)
        watched.becomes({"a.md": "live", "b.md": "live", "c.md": "live"})
    assert "ZeroDivisionError" in caplog.text


def test_a_folder_that_cannot_be_watched_is_listed_again_and_again(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(watching, "POLL_S", 0.2)
    monkeypatch.setattr("ingestion.sources.watching.unseen_changes", lambda _root: "a network mount")
    root = tmp_path / "folder"
    root.mkdir()
    watched = Watched(root, database)
    watched.watcher.start()
    try:
        assert watched.watcher.blind(SOURCE) == "a network mount"
        before = watched.listings
        eventually(lambda: watched.listings >= before + 3)
        assert watched.heartbeat() == 0.0  # nobody can say that everything was seen
        (root / "a.md").write_text("words of a")
        watched.becomes({"a.md": "live"})
    finally:
        watched.watcher.stop()


def test_a_root_that_is_not_there_at_the_start(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    root = tmp_path / "folder"
    watched = Watched(root, database)
    watched.watcher.start()
    try:
        assert watched.states() == {}
        root.mkdir()
        (root / "a.md").write_text("words of a")
        watched.becomes({"a.md": "live"})
        (root / "b.md").write_text("words of b")
        watched.becomes({"a.md": "live", "b.md": "live"})
    finally:
        watched.watcher.stop()


def test_a_ledger_that_is_away_is_told_once_and_without_a_trace(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat, asked = watched.rig.ledger.sources.heartbeat, threading.Semaphore(0)

    def beaten_since(before: float) -> bool:
        return watched.heartbeat() > before

    def away(*_args: object) -> None:
        asked.release()
        raise LedgerUnavailable("The disk is full.")

    for _ in range(2):
        caplog.clear()
        monkeypatch.setattr(watched.rig.ledger.sources, "heartbeat", away)
        for _ in range(3):
            assert asked.acquire(timeout=15.0)
        monkeypatch.setattr(watched.rig.ledger.sources, "heartbeat", heartbeat)
        told = [one for one in caplog.records if "The disk is full." in one.message]
        assert [(one.levelno, one.exc_info) for one in told] == [(logging.WARNING, None)]
        eventually(partial(beaten_since, watched.heartbeat()))


def test_what_a_worker_did_not_find_may_have_been_renamed(watched: Watched) -> None:
    before = watched.rig.document_ids()
    watched.watcher.doubt(SOURCE, ["a.md", "b.md"])
    (watched.root / "a.md").rename(watched.root / "z.md")
    watched.becomes({"b.md": "live", "z.md": "live"})
    assert watched.rig.document_ids() == {"b.md": before["b.md"], "z.md": before["a.md"]}


@pytest.mark.parametrize("new", ["c.md", "sub/c.md"])
def test_a_rename_between_a_hint_and_its_look_keeps_the_document(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, new: str
) -> None:
    """The look does not find what it was told of, and nothing has told of the rename yet."""
    before, look = watched.rig.document_ids(), watched.rig.reconciler.look
    (watched.root / new).parent.mkdir(exist_ok=True)

    def renamed_first(*arguments: Any) -> Listed:
        monkeypatch.setattr(watched.rig.reconciler, "look", look)
        (watched.root / "a.md").rename(watched.root / new)
        return look(*arguments)

    monkeypatch.setattr(watched.rig.reconciler, "look", renamed_first)
    (watched.root / "a.md").write_text("changed words")
    watched.becomes({"b.md": "live", new: "live"})
    assert watched.rig.document_ids() == {"b.md": before["b.md"], new: before["a.md"]}
    assert watched.rig.results(Result.RETIRED) == []


def test_a_deletion_between_a_hint_and_its_look_is_found(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = watched.rig.reconciler.look

    def deleted_first(*arguments: Any) -> Listed:
        monkeypatch.setattr(watched.rig.reconciler, "look", look)
        (watched.root / "a.md").unlink()
        return look(*arguments)

    monkeypatch.setattr(watched.rig.reconciler, "look", deleted_first)
    (watched.root / "a.md").write_text("changed words")
    watched.becomes({"b.md": "live"})


def test_a_listing_that_another_process_asks_for_is_done_once(watched: Watched) -> None:
    watched.rig.ledger.sources.ask_listing(SOURCE)
    before = watched.listings

    def done() -> bool:
        state = watched.rig.ledger.sources.state(SOURCE)
        return state is not None and not state.is_asked_for

    eventually(lambda: done() and watched.listings == before + 1, deadline_s=15.0)
    beat = watched.heartbeat()
    eventually(lambda: watched.heartbeat() > beat, deadline_s=15.0)
    assert watched.listings == before + 1


class Hanging:
    """A source at which looks hang until they are let go."""

    def __init__(self, inner: SourcePort) -> None:
        self._inner = inner
        self.entered, self.let_go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        self.entered.set()
        assert self.let_go.wait(30.0)
        return self._inner.looks(uris)


def test_a_look_that_hangs_keeps_no_other_source_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.05)
    clock = SystemClock()
    places = {name: MemorySource(name, clock=clock) for name in ("far", "near")}
    far = Hanging(places["far"])
    rig = Rig(database, list(places.values()), clock=clock)
    rig.recover()
    watcher = Watcher(
        rig.ledger,
        rig.reconciler,
        [far, places["near"]],
        clock,
        list_source=lambda name: None,
        overflowed=lambda name: None,
    )
    watcher.start()
    try:
        for name, place in places.items():
            place.put("a.md", b"words of a")
            watcher.hint(name, ["a.md"])
        assert far.entered.wait(15.0)
        places["near"].put("b.md", b"words of b")
        watcher.hint("near", ["b.md"])
        eventually(lambda: set(rig.states()) == {"a.md", "b.md"}, deadline_s=15.0)
        watcher.hint("far", ["a.md"])  # one look at a time
        far.let_go.set()
        eventually(lambda: len(rig.ledger.documents.entries("far")) == 1, deadline_s=15.0)
    finally:
        far.let_go.set()
        watcher.stop()
