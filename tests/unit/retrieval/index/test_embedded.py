"""What the embedded index keeps beyond the contract: between processes, through crashes, as it grows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ingestion.database import Database
from ingestion.errors import DataCorrupt, IndexUnavailable, Misconfigured
from retrieval.index import embedded_search, embedded_write, words
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.embedded_schema import State, Tables, read_state
from retrieval.index.port import IndexedChunk, IndexQuery

DIMENSIONS = 32
EDITION = "e1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "headwater.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = Database.file(path)
    yield made
    made.close()


@pytest.fixture
def index(database: Database) -> Iterator[EmbeddedIndex]:
    made = EmbeddedIndex(database)
    made.create(EDITION, DIMENSIONS)
    yield made
    made.close()


@pytest.fixture
def other(path: Path, index: EmbeddedIndex) -> Iterator[EmbeddedIndex]:
    """As another process has it: its own connections and its own codes in memory."""
    database = Database.file(path)
    made = EmbeddedIndex(database)
    yield made
    made.close()
    database.close()


def make_chunks(size: int, *, first: int = 0, common: float = 0.0) -> list[IndexedChunk]:
    """Chunks whose vectors share a part of the size ``common``; each has a word of its own."""
    vectors = np.random.default_rng(first).standard_normal((size, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    vectors[:, 0] += common
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        IndexedChunk(f"c{place:06}", f"s{place % 3}", f"d{place}", "", f"own{place} third{place % 3}", vector)
        for place, vector in enumerate(vectors.astype(np.float32), start=first)
    ]


def load(index: EmbeddedIndex, chunks: list[IndexedChunk], slice_size: int = 64) -> None:
    for start in range(0, len(chunks), slice_size):
        index.upsert(EDITION, chunks[start : start + slice_size])


def found(index: EmbeddedIndex, vector: NDArray[np.float32], limit: int = 10) -> list[str]:
    return [hit.chunk_id for hit in index.search(EDITION, IndexQuery("", vector, limit))]


def exact(chunks: list[IndexedChunk], vector: NDArray[np.float32], limit: int = 10) -> list[str]:
    ranked = sorted((-round(float(np.sum(chunk.vector * vector)), 6), chunk.chunk_id) for chunk in chunks)
    return [chunk_id for _, chunk_id in ranked[:limit]]


def recall(index: EmbeddedIndex, chunks: list[IndexedChunk], queries: int = 40) -> float:
    vectors = [chunk.vector for chunk in chunks[:: len(chunks) // queries]]
    shared = [len(set(found(index, vector)) & set(exact(chunks, vector))) for vector in vectors]
    return sum(shared) / (10 * len(vectors))


def state_of(database: Database) -> State:
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        state = read_state(driver, EDITION)
    assert state is not None
    return state


def assert_consistent(database: Database) -> State:
    """Every table of the edition holds the same rows, and SQLite finds no fault."""
    state = state_of(database)
    tables = Tables(state.id)
    with database.write() as connection:
        run = connection.exec_driver_sql
        assert run("PRAGMA integrity_check").scalar() == "ok"
        run(f"INSERT INTO {tables.words}({tables.words}) VALUES ('integrity-check')")
        rows = {row for (row,) in run(f"SELECT row FROM {tables.chunks}")}
        assert {row for (row,) in run(f"SELECT row FROM {tables.ids}")} == rows
        assert {row for (row,) in run(f"SELECT rowid FROM {tables.words}")} == rows
        coded = run(f"SELECT row FROM {tables.codes} WHERE epoch = ?", (state.epoch,))
        assert {row for (row,) in coded} == rows
    assert state.held == len(rows)
    assert max(rows, default=0) <= state.last_row
    return state


class TestGrowing:
    def test_recentring_goes_on_beside_the_writes(self, index: EmbeddedIndex, database: Database) -> None:
        """Old codes answer until the new ones are complete; then the old ones go."""
        chunks = make_chunks(2_000, common=3.0)
        epochs, building = set(), False
        for start in range(0, len(chunks), 50):
            slice_ = chunks[start : start + 50]
            index.upsert(EDITION, slice_)
            state = state_of(database)
            epochs.add(state.epoch)
            building |= bool(state.building)
            assert found(index, slice_[-1].vector, 1) == [slice_[-1].chunk_id]
            assert found(index, chunks[0].vector, 1) == [chunks[0].chunk_id]
        assert epochs == {0, 1}
        assert building
        assert recall(index, chunks) >= 0.99
        state = assert_consistent(database)
        with database.read() as connection:
            codes = Tables(state.id).codes
            left = connection.exec_driver_sql(f"SELECT count(*) FROM {codes} WHERE epoch = 0").scalar()
        assert left == 0

    def test_deletions_while_recentring(self, index: EmbeddedIndex, database: Database) -> None:
        chunks = make_chunks(1_300, common=3.0)
        load(index, chunks[:1_050], 50)
        assert state_of(database).building
        index.delete(EDITION, [chunk.chunk_id for chunk in chunks[:100]])
        load(index, chunks[1_050:], 10)
        assert state_of(database).epoch == 1
        assert_consistent(database)
        assert set(found(index, chunks[0].vector, 2_000)) == {chunk.chunk_id for chunk in chunks[100:]}

    def test_the_log_of_deletions_is_bounded(
        self, index: EmbeddedIndex, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded_write, "GONE_KEPT", 20)
        chunks = make_chunks(100)
        load(index, chunks)
        index.delete(EDITION, [chunk.chunk_id for chunk in chunks[:90]])
        with database.read() as connection:
            gone = Tables(state_of(database).id).gone
            kept = connection.exec_driver_sql(f"SELECT count(*) FROM {gone}").scalar()
        assert kept == 20

    def test_many_edits_leave_nothing_behind(self, index: EmbeddedIndex, database: Database) -> None:
        load(index, make_chunks(200))
        for turn in range(20):
            chunks = make_chunks(200, first=1_000 * turn)
            load(index, chunks)
            index.delete(EDITION, [chunk.chunk_id for chunk in chunks])
        state = assert_consistent(database)
        assert state.held == 0
        assert found(index, make_chunks(1)[0].vector) == []


class TestSharing:
    """Two indexes on one file, as two processes have them."""

    def test_each_sees_what_the_other_wrote(self, index: EmbeddedIndex, other: EmbeddedIndex) -> None:
        chunks = make_chunks(200)
        load(index, chunks)
        assert found(other, chunks[5].vector, 1) == [chunks[5].chunk_id]
        other.delete(EDITION, [chunks[5].chunk_id])
        assert chunks[5].chunk_id not in found(index, chunks[5].vector, 200)
        index.upsert(EDITION, [chunks[5]])
        assert found(other, chunks[5].vector, 1) == [chunks[5].chunk_id]

    def test_through_recentring(self, index: EmbeddedIndex, other: EmbeddedIndex) -> None:
        chunks = make_chunks(1_400, common=3.0)
        for start in range(0, len(chunks), 50):
            index.upsert(EDITION, chunks[start : start + 50])
            assert found(other, chunks[start].vector, 1) == [chunks[start].chunk_id]
        assert recall(other, chunks) >= 0.99

    def test_after_more_deletions_than_are_logged(
        self, index: EmbeddedIndex, other: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded_write, "GONE_KEPT", 10)
        chunks = make_chunks(200)
        load(index, chunks)
        assert len(found(other, chunks[0].vector, 500)) == 200
        index.delete(EDITION, [chunk.chunk_id for chunk in chunks[:150]])
        assert set(found(other, chunks[0].vector, 500)) == {chunk.chunk_id for chunk in chunks[150:]}

    def test_an_edition_dropped_and_made_again(self, index: EmbeddedIndex, other: EmbeddedIndex) -> None:
        chunks = make_chunks(50)
        load(index, chunks)
        assert len(found(other, chunks[0].vector, 100)) == 50
        index.drop(EDITION)
        with pytest.raises(IndexUnavailable):
            found(other, chunks[0].vector)
        index.create(EDITION, DIMENSIONS)
        load(index, chunks[:3])
        assert len(found(other, chunks[0].vector, 100)) == 3

    def test_a_process_that_opens_it_later_finds_everything(
        self, index: EmbeddedIndex, other: EmbeddedIndex
    ) -> None:
        chunks = make_chunks(9_000)
        load(index, chunks, 500)
        index.delete(EDITION, [chunk.chunk_id for chunk in chunks[::2]])
        assert set(found(other, chunks[1].vector, 9_000)) == {chunk.chunk_id for chunk in chunks[1::2]}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_embedded import EDITION, DIMENSIONS, make_chunks
from ingestion.database import Database
from retrieval.index.embedded import EmbeddedIndex

index = EmbeddedIndex(Database.file(Path(sys.argv[2])))
index.create(EDITION, DIMENSIONS)
for turn in range(int(sys.argv[3])):
    chunks = make_chunks(50, first=50 * turn)
    index.upsert(EDITION, chunks)
    index.delete(EDITION, [chunk.chunk_id for chunk in chunks[:5]])
    print(turn, flush=True)
"""


def start_writer(path: Path, turns: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, here, str(path), str(turns)], stdout=subprocess.PIPE, text=True
    )


def held_after(turns: int) -> list[str]:
    return [f"c{place:06}" for place in range(50 * turns) if place % 50 >= 5]


class TestProcesses:
    def test_a_search_sees_what_another_process_has_acknowledged(
        self, index: EmbeddedIndex, path: Path
    ) -> None:
        vector = make_chunks(1)[0].vector
        with start_writer(path, 30) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                names = set(found(index, vector, 5_000))
                expected = held_after(int(line) + 1)
                assert names.issuperset(expected)
                assert not names & {f"c{50 * int(line) + place:06}" for place in range(5)}
        assert writer.returncode == 0
        assert sorted(found(index, vector, 5_000)) == held_after(30)

    @pytest.mark.parametrize("turn", [0, 3, 24])
    def test_a_killed_writer_leaves_whole_writes(self, path: Path, turn: int) -> None:
        """At turn 24 it is in the middle of recentring."""
        with start_writer(path, 10_000) as writer:
            assert writer.stdout is not None
            acknowledged = next(int(line) for line in writer.stdout if int(line) >= turn)
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in writer.stdout)])
        database = Database.file(path)
        index = EmbeddedIndex(database)
        held = sorted(name for name, _ in index.ids(EDITION))
        whole = held_after(acknowledged + 1)
        begun = [f"c{50 * (acknowledged + 1) + place:06}" for place in range(50)]
        assert held in (whole, whole + begun, whole + begun[5:])
        assert_consistent(database)
        chunks = make_chunks(50)
        assert found(index, chunks[7].vector, 1) == [chunks[7].chunk_id]
        load(index, make_chunks(1_500, first=10**6 - 2_000))
        assert state_of(database).epoch >= 1
        assert_consistent(database)
        index.close()
        database.close()


class TestWords:
    """Common words are counted in candidates only; that must not show in the scores."""

    @pytest.fixture(autouse=True)
    def _loaded(self, index: EmbeddedIndex) -> None:
        chunks = make_chunks(300)
        load(index, chunks)
        self.query = IndexQuery("own7 own8 third1 third2 unknown", chunks[7].vector, 50)

    def test_scores_are_those_of_the_full_text_index(
        self, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded_search, "COMPLETED", 300)
        complete = {hit.chunk_id: hit.text_score for hit in index.search(EDITION, self.query)}
        monkeypatch.setattr(words, "MATCH_BUDGET", 2)
        sparing = {hit.chunk_id: hit.text_score for hit in index.search(EDITION, self.query)}
        for chunk_id in complete.keys() & sparing.keys():
            if complete[chunk_id] is not None:
                assert sparing[chunk_id] == pytest.approx(complete[chunk_id], rel=1e-9)
        assert list(sparing)[:3] == list(complete)[:3]

    def test_a_common_word_alone_ranks_what_the_vector_finds(
        self, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(words, "MATCH_BUDGET", 2)
        monkeypatch.setattr(words, "ONE_WORD_BUDGET", 2)
        hits = index.search(EDITION, IndexQuery("third1", self.query.vector, 10))
        assert hits[0].text_score is not None
        assert len(hits) == 10

    def test_words_alone_find_all_there_is(
        self, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(words, "MATCH_BUDGET", 2)
        hits = index.search(EDITION, IndexQuery("own7 third1 third2", None, 300))
        assert len(hits) == 200
        assert hits[0].chunk_id == "c000007"

    def test_counts_follow_a_collection_that_grows(self, index: EmbeddedIndex) -> None:
        """A term that was common is remembered, but not for ever."""
        load(index, make_chunks(4_000, first=1_000), 500)
        assert len(index.search(EDITION, IndexQuery("third1", None, 5_000))) > 1_000
        load(index, make_chunks(4_000, first=9_000), 500)
        assert len(index.search(EDITION, IndexQuery("third1", None, 5_000))) > 2_500


class TestFaults:
    @pytest.mark.parametrize("name", ["", "E1", "e 1", "e;drop", "é", "x" * 64, "-x"])
    def test_names_that_are_no_slugs_are_refused(self, index: EmbeddedIndex, name: str) -> None:
        with pytest.raises(Misconfigured):
            index.create(name, DIMENSIONS)

    def test_a_full_disk_writes_nothing_and_serves_on(self, index: EmbeddedIndex, database: Database) -> None:
        chunks = make_chunks(2_000)
        load(index, chunks[:100])
        with database.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(IndexUnavailable, match="full") as caught:
            index.upsert(EDITION, chunks[100:])
        assert caught.value.hint
        assert index.count(EDITION) == 100
        assert found(index, chunks[7].vector, 1) == [chunks[7].chunk_id]
        with database.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        index.upsert(EDITION, chunks[100:])
        assert assert_consistent(database).held == 2_000

    def test_a_file_that_is_none_of_ours(self, path: Path) -> None:
        path.write_bytes(b"not a database " * 1_000)
        database = Database.file(path)
        with pytest.raises(DataCorrupt):
            EmbeddedIndex(database).check()
        database.close()

    def test_a_damaged_file_is_called_damaged(self, index: EmbeddedIndex, path: Path) -> None:
        load(index, make_chunks(500))
        index._database.close()
        content = bytearray(path.read_bytes())
        content[4096 * 3 :] = os.urandom(len(content) - 4096 * 3)
        path.write_bytes(content)
        with pytest.raises(DataCorrupt):
            found(index, make_chunks(1)[0].vector)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        database = Database.file(tmp_path / "nowhere" / "headwater.db")
        with pytest.raises(IndexUnavailable):
            EmbeddedIndex(database).check()
        database.close()
