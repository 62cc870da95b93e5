"""Workers, listings and looks of two processes at once, over a folder that changes all the while.

The ledger's conditions alone keep them apart: whatever interleaves, what is published at the end equals an
index made from scratch, and no attempt counts as a failure.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.sources.files import FilesSource
from retrieval.search import SearchRequest
from tests.rig import SOURCE, Rig, ShiftedClock, attempt, fresh_database, from_scratch
from workers.outcomes import Result

LASTS_S = 4.0
REVISIONS = 40
"""Fewer would prove nothing; a busy machine needs longer than `LASTS_S` for them."""
LASTS_AT_MOST_S = 60.0
WORKERS = 3
QUESTIONS = ("common words", "paragraph 3", "revision 9")


class Crowd:
    """Threads that repeat their task until it is over; the first error of any of them is raised."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=32)
        self._threads: list[Future[None]] = []

    def repeat(self, task: Callable[[], object], *, pause_s: float = 0.0) -> None:
        def run() -> None:
            while not self._over.wait(pause_s):
                task()

        self._threads.append(self._pool.submit(run))

    def last(self, enough: Callable[[], bool]) -> None:
        """Let them go on for `LASTS_S` and until it was `enough`, or until one of them ends by an error."""
        started = time.monotonic()
        while not any(one.done() for one in self._threads):
            lasted_s = time.monotonic() - started
            if lasted_s > LASTS_AT_MOST_S or (lasted_s > LASTS_S and enough()):
                break
            time.sleep(0.02)
        self._over.set()
        for one in self._threads:
            one.result(timeout=30.0)
        self._pool.shutdown()


class Changes:
    """One who edits, renames, copies and deletes, and tells where."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.revision = 0

    def make(self) -> tuple[str, ...]:
        """One change; returns the URIs to look at."""
        files = sorted(path.name for path in self.root.iterdir())
        name, other = self.random.choice(files), f"{self.random.randrange(22)}.md"
        kind = self.random.choice(["edit", "edit", "edit", "rename", "copy", "delete", "new"])
        if kind == "rename":
            (self.root / name).rename(self.root / other)
        elif kind == "copy" and name != other:
            shutil.copy(self.root / name, self.root / other)
        elif kind == "delete" and len(files) > 12:
            (self.root / name).unlink()
        else:
            self.write(name if kind == "edit" else other)
        time.sleep(0.005)  # so that the others see more than the end
        return name, other

    def write(self, name: str) -> None:
        self.revision += 1
        paragraphs = [
            f"# Part {n}\n\ncommon words, paragraph {n}" for n in range(self.random.randrange(1, 4))
        ]
        paragraphs.append(f"# Part of {name}\n\ncommon words of {name} in revision {self.revision}")
        temporary = self.root.parent / "temporary"
        temporary.write_text("\n\n".join(paragraphs))
        temporary.replace(self.root / name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    root.mkdir()
    changes = Changes(root, 0)
    for number in range(15):
        changes.write(f"{number}.md")
    return root


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = fresh_database(tmp_path)
    yield database
    database.close()


def work(rig: Rig) -> None:
    try:
        lane, document_ids = rig.queue.popleft()
    except IndexError:
        time.sleep(0.002)
    else:
        attempt(lambda: rig.work.refresh(document_ids, lane))


def approve(rig: Rig) -> None:
    """Deletions are quick here, so that some are held."""
    _, _, shown = rig.ledger.documents.held(SOURCE)
    rig.ledger.documents.approve(SOURCE, shown)


@pytest.mark.parametrize("seed", [1, 2])
def test_everybody_at_once(tmp_path: Path, root: Path, database: Database, seed: int) -> None:
    source = FilesSource(SOURCE, root, clock=SystemClock())
    clock = ShiftedClock()
    daemon = Rig(database, [source], clock=clock)
    daemon.recover()
    daemon.scan()
    second = Database(database.url)
    command = Rig(second, [source], clock=clock)
    changes = Changes(root, seed)
    crowd = Crowd()
    crowd.repeat(lambda: daemon.look(*changes.make()))
    for rig in (daemon, command):
        crowd.repeat(partial(rig.work.list_source, SOURCE), pause_s=0.1)
        crowd.repeat(rig.work.dispatch, pause_s=0.05)
        for _ in range(WORKERS):
            crowd.repeat(partial(work, rig))
    crowd.repeat(daemon.upkeep.sweep, pause_s=0.1)
    crowd.repeat(lambda: daemon.searcher.search(SearchRequest("common words", top_k=20)))
    crowd.last(lambda: changes.revision > REVISIONS)

    assert changes.revision > REVISIONS
    for rig in (command, daemon):
        rig.settle()
    daemon.scan()
    daemon.settle()
    approve(daemon)
    assert set(daemon.states().values()) == {"live"}
    failures = [one for rig in (daemon, command) for one in rig.outcomes if one.result in _FAILURES]
    assert failures == []
    daemon.sweep()
    daemon.consistent()
    passages, answers = from_scratch(tmp_path / "scratch", [source], QUESTIONS)
    assert daemon.passages() == passages
    assert {question: daemon.answers(question) for question in QUESTIONS} == answers
    second.close()


_FAILURES = (Result.FAILED, Result.DEAD, Result.FAULT)
