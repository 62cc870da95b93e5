"""Any history of a folder ends where an index made from scratch ends; deletions in bulk wait for approval.

A real folder, a real database file, the whole pipeline in one thread. Hints are given as a watcher would
give them, or twice, late, out of order, or not at all; processes stop, and die in the middle of a call.
After each settling, live chunks and search results equal those of an index made from scratch; nothing is
embedded that the index holds, so neither a rename nor a copy ever is.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingestion.clock import SystemClock
from ingestion.errors import Interrupted
from ingestion.records import Lane
from ingestion.sources.files import FilesSource
from ingestion.sources.paths import uri_of
from retrieval.embedding.port import Vectors
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import Index, IndexedChunk
from tests.faults.fuse import Died, Fuse, Fused, FusedDatabase, FusedEmbedder, Moment
from tests.rig import SOURCE, CountingEmbedder, Rig, ShiftedClock, attempt, fresh_database, from_scratch
from tests.servers.postgres import Postgres

QUESTIONS = ("common words", "word3 word5", "Heading")
FOLDERS = ("", "sub/", "sub/deep/", "other/")
NAMES = ("a.md", "b.md", "c.txt", "two words.md", "new\nline.md", "é.md")

paths = st.builds("{}{}".format, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
folders = st.sampled_from(["sub", "sub/deep", "other", "else"])
texts = st.lists(st.integers(0, 9), max_size=4).map(
    lambda numbers: "\n\n".join(f"# Heading {n}\n\ncommon words and word{n}" for n in numbers)
)
picks = st.integers(0, 999)  # one of the files that are there
moments = st.sampled_from(list(Moment))


class Histories(RuleBasedStateMachine):
    """The folder itself is the model: what is in it is what must be found."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(mkdtemp(prefix="headwater-model-"))
        self.root = self.place / "folder"
        self.root.mkdir()
        self._file = fresh_database(self.place)
        self._url = self.ledger_url()
        self._close = self._file.close
        self.clock = ShiftedClock()
        self.embedder = CountingEmbedder()
        self.hints: list[tuple[str, bool]] = []  # (place, whether it is a subtree)
        self.all_hinted = False
        self.embedded_again: list[str] = []
        self.damaged = False
        self.unknown_vector = self.embedder.inner.embed_query("common words")
        self.process()

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self._close()
            self._file.close()
            shutil.rmtree(self.place)

    def ledger_url(self) -> sa.URL:
        """The ledger is in the index's file."""
        return self._file.url

    # What happens to the folder.

    @initialize(written=st.dictionaries(paths, texts, min_size=1, max_size=14))
    def begin(self, written: dict[str, str]) -> None:
        for path, text in written.items():
            self._write(path, text)
        self.start()

    @rule(path=paths, text=texts)
    def write(self, path: str, text: str) -> None:
        self._write(path, text)

    @precondition(lambda self: self.has_files)
    @rule(pick=picks, text=texts, way=st.sampled_from(["append", "atomic", "as git", "without a trace"]))
    def edit(self, pick: int, text: str, way: str) -> None:
        path = self._pick(pick)
        target = self.root / path
        if way == "append":
            with target.open("a") as file:
                file.write("\n\n" + text)
        elif way == "atomic":
            temporary = self.root / f".{SOURCE}.tmp"
            temporary.write_text(text)
            temporary.replace(target)
        elif way == "as git":
            target.unlink()
            target.write_text(text)
        else:  # the same size and the same mtime
            times, old = target.stat(), target.read_text()
            target.write_text(old.replace("word", "drow") if "word" in old else old.replace("drow", "word"))
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        self._hint(path)

    @precondition(lambda self: self.has_files)
    @rule(pick=picks, new=paths)
    def rename(self, pick: int, new: str) -> None:
        old = self._pick(pick)
        if old != new and self._may_hold(new):
            (self.root / new).parent.mkdir(parents=True, exist_ok=True)
            (self.root / old).rename(self.root / new)
            self._hint(old)
            self._hint(new)

    @rule(old=folders, new=folders)
    def rename_a_folder(self, old: str, new: str) -> None:
        source, target = self.root / old, self.root / new
        if source.is_dir() and not target.exists() and not new.startswith(old):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            self._hint(old, subtree=True)
            self._hint(new, subtree=True)

    @precondition(lambda self: self.has_files)
    @rule(pick=picks, new=paths)
    def copy(self, pick: int, new: str) -> None:
        old = self._pick(pick)
        if old != new and self._may_hold(new):
            (self.root / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / old, self.root / new)
            self._hint(new)

    @precondition(lambda self: self.has_files)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        path = self._pick(pick)
        (self.root / path).unlink()
        self._hint(path)

    @rule(folder=folders)
    def delete_a_folder(self, folder: str) -> None:
        if (self.root / folder).is_dir():
            shutil.rmtree(self.root / folder)
            self._hint(folder, subtree=True)

    @precondition(lambda self: self.has_files)
    @rule(pick=picks, text=texts)
    def replace_by_a_folder(self, pick: int, text: str) -> None:
        path = self._pick(pick)
        (self.root / path).unlink()
        (self.root / path).mkdir()
        (self.root / path / "inner.md").write_text(text)
        self._hint(path)
        self._hint(path, subtree=True)

    # What the program hears of it, and does.

    @rule(order=st.randoms(use_true_random=False), twice=st.booleans())
    def look(self, order: random.Random, twice: bool) -> None:
        """Some of the hints in one batch, in any order, perhaps twice."""
        some = [hint for hint in self.hints if order.random() < 0.5]
        order.shuffle(some)
        self.hints = [hint for hint in self.hints if hint not in some]
        for _ in range(1 + twice):
            self._look(some)

    @rule(what=st.sampled_from(["listing", "message", "hints lost", "message lost"]))
    def go_on(self, what: str) -> None:
        if what == "listing":
            attempt(lambda: self.rig.work.list_source(SOURCE))
        elif what == "hints lost":
            self.all_hinted = self.all_hinted and not self.hints
            self.hints.clear()
        elif self.rig.queue:
            lane, document_ids = self.rig.queue.popleft()
            if what == "message":
                attempt(lambda: self.rig.work.refresh(document_ids, lane))

    @rule(number=st.integers(0, 60), moment=moments, deadly=st.booleans())
    def fail_or_die_in_the_middle(self, number: int, moment: Moment, deadly: bool) -> None:
        """Somewhere within a listing and the work that follows, or never."""
        self.fuse.arm(number, moment, deadly=deadly)
        try:
            with self.fuse.lit():
                attempt(lambda: self.rig.work.list_source(SOURCE))
                attempt(self.rig.work.dispatch)
                self.rig.work_off()
                attempt(self.rig.upkeep.sweep)
        except Died:
            self.process()
            self.start()
        self.all_hinted = False

    @rule(slices=st.integers(0, 2))
    def stop_gently(self, slices: int) -> None:
        """The process is asked to stop, and hands back what it holds before the next slice is embedded."""
        self.slices_left = slices
        attempt(lambda: self.rig.work.list_source(SOURCE))
        self.rig.work_off(most=20)
        self.process()
        self.start()

    @rule(pick=picks)
    def damage_the_index(self, pick: int) -> None:
        """It forgets a chunk and remembers one that nobody knows; an audit is due."""
        rows = list(self.rig.ledger.views.export())
        if rows:
            row = rows[pick % len(rows)]
            forgotten = IndexedChunk("unknown", SOURCE, "no digest", "", "common words", self.unknown_vector)
            self.rig.index.delete(self.rig.edition.name, [row.chunk_id])
            self.rig.index.upsert(self.rig.edition.name, [forgotten])
            self.damaged = True

    # What must then be so.

    @rule()
    def settle(self) -> None:
        self.rig.scan()
        self.rig.settle()
        self.mend()
        self.check()
        self.hints.clear()
        self.all_hinted = True

    @rule()
    def restart_and_settle(self) -> None:
        self.process()
        self.start()
        self.settle()

    @precondition(lambda self: self.all_hinted)
    @rule(order=st.randoms(use_true_random=False))
    def settle_by_hints_alone(self, order: random.Random) -> None:
        """If none was lost, no listing is needed, whatever their order."""
        order.shuffle(self.hints)
        self._look(self.hints[::2])
        self._look(self.hints[1::2])
        self.hints.clear()
        self.rig.settle()
        self.mend()
        self.check()

    @precondition(lambda self: self.has_files)
    @rule(by_listing=st.booleans())
    def vanish_and_return(self, by_listing: bool) -> None:
        """As when a disk is unmounted: everything is held, answers stay, and its return costs nothing."""
        self.settle()
        before, texts = self.rig.passages(), len(self.embedder.texts)
        away = self.place / "away"
        self.root.rename(away)
        self.root.mkdir()
        self._notice_everything(by_listing)
        assert set(self.rig.states().values()) == {"held"}
        assert self.rig.passages() == before
        self.root.rmdir()
        away.rename(self.root)
        self._notice_everything(by_listing)
        self.rig.settle()
        assert set(self.rig.states().values()) == {"live"}
        assert self.rig.passages() == before
        assert len(self.embedder.texts) == texts

    def _notice_everything(self, by_listing: bool) -> None:
        if by_listing:
            self.rig.scan()
        else:
            self._look([(uri, False) for uri in self.rig.states()])

    def mend(self) -> None:
        if self.damaged:
            self.rig.audit()
            self.rig.settle()
            self.damaged = False

    def check(self) -> None:
        """What is held is not there; once that is approved, nothing differs from an index made now."""
        entries, _, shown = self.rig.ledger.documents.held(SOURCE)
        there = self._documents()
        assert not {entry.uri for entry in entries} & there
        self.rig.ledger.documents.approve(SOURCE, shown)
        assert self.rig.states().keys() == there
        assert set(self.rig.states().values()) <= {"live"}
        assert self.embedded_again == []
        self.rig.sweep()
        self.rig.consistent()
        passages, answers = from_scratch(self.place / "scratch", [self._source()], QUESTIONS)
        assert self.rig.passages() == passages
        assert {question: self.rig.answers(question) for question in QUESTIONS} == answers

    def process(self) -> None:
        """Another process takes over the data folder. Messages and hints were the old one's."""
        self._close()
        self.fuse = Fuse()
        database = FusedDatabase(self._url)
        index = EmbeddedIndex(self._file if database.on_server else database)
        self._close = database.close
        self.rig = Rig(
            database,
            [self._source()],
            clock=self.clock,
            embedder=self.embedder,
            embed=self._embed,
            wrap_index=lambda index: cast("Index", Fused(index, self.fuse, "index")),
            index=index,
        )
        database.fuse = self.fuse
        self.slices_left = -1  # without end
        self.hints.clear()
        self.all_hinted = False

    def start(self) -> None:
        self.rig.recover()
        self.rig.scan()

    def _embed(self, passages: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        if self.slices_left == 0:
            raise Interrupted("stopping")
        self.slices_left -= 1
        digests = {sha256(passage.encode()).hexdigest(): passage for passage in passages}
        held = self.rig.index.vectors_by_digest(self.rig.edition.name, list(digests))
        self.embedded_again += [digests[digest] for digest in held]
        return FusedEmbedder(self.embedder, self.fuse)(passages, lane, tokens)

    def _source(self) -> FilesSource:
        return FilesSource(SOURCE, self.root, clock=SystemClock())

    def _documents(self) -> set[str]:
        return {uri_of(str(path.relative_to(self.root))) for path in self.root.rglob("*") if path.is_file()}

    def _look(self, hints: Sequence[tuple[str, bool]]) -> None:
        if hints:
            self.rig.look(
                *(place for place, is_subtree in hints if not is_subtree),
                subtrees=[place for place, is_subtree in hints if is_subtree],
            )

    def _write(self, path: str, text: str) -> None:
        if self._may_hold(path):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
            self._hint(path)

    def _hint(self, path: str, *, subtree: bool = False) -> None:
        self.hints.append((uri_of(path) + ("/" if subtree else ""), subtree))

    @property
    def has_files(self) -> bool:
        return any(path.is_file() for path in self.root.rglob("*"))

    def _pick(self, pick: int) -> str:
        """The path of a file that is there."""
        files = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
        return files[pick % len(files)]

    def _may_hold(self, path: str) -> bool:
        """Whether a file can be written there: no folder is in its place, and no file in its folders'."""
        target = self.root / path
        return not target.is_dir() and not any(
            parent.is_file() for parent in target.parents if parent != self.root
        )


_checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def _run(machine: type[RuleBasedStateMachine], *, examples: int, steps: int, derandomize: bool) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            deadline=None,
            suppress_health_check=_checks,
        ),
    )


def test_histories() -> None:
    _run(Histories, examples=15, steps=40, derandomize=True)


@pytest.mark.timeout(300)
def test_histories_beside_a_server(postgres: Postgres) -> None:
    class OnServer(Histories):
        def ledger_url(self) -> sa.URL:
            return postgres.fresh()

        def teardown(self) -> None:
            super().teardown()
            postgres.drop(self._url)

    _run(OnServer, examples=4, steps=25, derandomize=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_long_histories() -> None:
    _run(Histories, examples=400, steps=60, derandomize=False)
