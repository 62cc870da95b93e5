"""The Weaviate index against a real server: what others do to it, and what it survives."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import (
    EditionMissing,
    IndexRefused,
    IndexRejected,
    IndexUnavailable,
    Misconfigured,
    WrongEdition,
)
from ingestion.ledger.ledger import Ledger
from ingestion.parsing.outline import MAX_TITLE
from ingestion.sources.memory import MemorySource
from ops.settings import load
from ops.stores import make_index
from retrieval.index import weaviate_messages, weaviate_write
from retrieval.index.port import Index, IndexedChunk, IndexQuery
from retrieval.index.weaviate import WeaviateIndex
from retrieval.index.weaviate_collections import collection_schema
from retrieval.index.weaviate_held import Held
from retrieval.index.weaviate_search import COMPARED
from retrieval.index.weaviate_wire import Doubtful, Wire
from tests.rig import Rig, fresh_database
from tests.servers.process import NotInstalled, free_port, missing
from tests.servers.weaviate import Weaviate, admin, collections, serving

DIMENSIONS = 8
EDITION = "e-1"


def ids(number: int) -> list[str]:
    return [str(uuid.UUID(int=place + 1)) for place in range(number)]


def chunk(chunk_id: str, text: str = "the quokka sleeps") -> IndexedChunk:
    vector = np.random.default_rng(uuid.UUID(chunk_id).int).normal(size=DIMENSIONS).astype(np.float32)
    return IndexedChunk(chunk_id, "notes", f"digest of {chunk_id}", "", text, vector / np.linalg.norm(vector))


def made(server: Weaviate, prefix: str, *, key: str | None = None, timeout_s: float = 10.0) -> WeaviateIndex:
    return WeaviateIndex(
        server.url,
        grpc_port=server.grpc_port,
        api_key=key or server.api_key,
        prefix=prefix,
        timeout_s=timeout_s,
    )


@pytest.fixture
def index(weaviate: Weaviate, weaviate_prefix: str) -> Iterator[WeaviateIndex]:
    one = made(weaviate, weaviate_prefix)
    one.create(EDITION, DIMENSIONS)
    yield one
    one.close()


class TestSharing:
    def test_two_prefixes_are_apart(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        (one,) = ids(1)
        other = made(weaviate, f"{weaviate_prefix}B")
        other.create(EDITION, DIMENSIONS)
        try:
            index.upsert(EDITION, [chunk(one)])
            assert (index.count(EDITION), other.count(EDITION)) == (1, 0)
            other.delete(EDITION, [one])
            other.drop(EDITION)
            assert index.present(EDITION, [one]) == {one}
        finally:
            other.drop(EDITION)
            other.close()

    def test_what_one_process_writes_another_finds(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        (one,) = ids(1)
        other = made(weaviate, weaviate_prefix)
        index.upsert(EDITION, [chunk(one)])
        assert [hit.chunk_id for hit in other.search(EDITION, IndexQuery("quokka", None, 5))] == [one]
        other.close()

    def test_neither_edit_nor_search_waits_while_another_thread_stems(self, index: WeaviateIndex) -> None:
        (one,) = ids(1)
        begun, done = threading.Event(), threading.Event()

        def endless() -> Iterator[tuple[int, str, str]]:
            begun.set()
            done.wait(60)
            yield 1, "", "searching"

        with ThreadPoolExecutor(2) as pool:
            stemming = pool.submit(index._words().counts, endless(), ["search"])
            try:
                assert begun.wait(30)
                pool.submit(index.upsert, EDITION, [chunk(one)]).result(40)
                found = pool.submit(index.search, EDITION, IndexQuery("quokka", None, 5)).result(40)
            finally:
                done.set()
        assert [hit.chunk_id for hit in found] == [one]
        assert stemming.result() == {"search": {1: 1.0}}

    def test_a_forked_process_opens_its_own(self, index: WeaviateIndex) -> None:
        (one,) = ids(1)
        index.upsert(EDITION, [chunk(one)])
        opened = index._wire._now()
        index._wire._opened = type(opened)(os.getpid() + 1, opened.rest, opened.channel, opened.stub)
        assert index.count(EDITION) == 1
        assert index._wire._now().channel is not opened.channel
        opened.rest.close()
        opened.channel.close()

    def test_a_closed_one_opens_again(self, index: WeaviateIndex) -> None:
        index.close()
        index.close()
        assert index.count(EDITION) == 0


class TestLedgers:
    """Two ledgers on one prefix: an audit of either would delete what the other knows."""

    @pytest.fixture
    def open_for(self, weaviate: Weaviate, weaviate_prefix: str) -> Iterator[Callable[[], Index]]:
        """An index as the settings of one more ledger make it."""
        assert weaviate.api_key is not None
        settings = load(
            environ={
                "HEADWATER_INDEX__KIND": "weaviate",
                "HEADWATER_INDEX__URL": weaviate.url,
                "HEADWATER_INDEX__GRPC_PORT": str(weaviate.grpc_port),
                "HEADWATER_INDEX__API_KEY": weaviate.api_key,
                "HEADWATER_INDEX__PREFIX": weaviate_prefix,
            }
        )
        with contextlib.ExitStack() as undo:

            def open_for() -> Index:
                database = Database.in_memory()
                undo.callback(database.close)
                Ledger(database, SystemClock())
                index = make_index(settings, database)
                undo.callback(index.close)
                return index

            yield open_for

    def test_a_collection_of_another_ledger_is_neither_used_nor_dropped(
        self, open_for: Callable[[], Index], weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        (one,) = ids(1)
        production, staging = open_for(), open_for()
        production.create(EDITION, DIMENSIONS)
        production.create(EDITION, DIMENSIONS)
        production.upsert(EDITION, [chunk(one)])
        with pytest.raises(Misconfigured, match="belongs to another ledger") as caught:
            staging.create(EDITION, DIMENSIONS)
        assert "index.prefix" in caught.value.hint
        staging.drop(EDITION)
        assert production.present(EDITION, [one]) == {one}
        production.drop(EDITION)
        assert collections(weaviate, weaviate_prefix) == []
        staging.create(EDITION, DIMENSIONS)

    def test_one_made_before_it_was_written_down_is_taken_over_once(
        self, index: WeaviateIndex, open_for: Callable[[], Index]
    ) -> None:
        (one,) = ids(1)
        index.upsert(EDITION, [chunk(one)])
        own, other = open_for(), open_for()
        own.create(EDITION, DIMENSIONS)
        own.create(EDITION, DIMENSIONS)
        assert own.present(EDITION, [one]) == {one}
        assert np.array_equal(own.vectors(EDITION, [one])[one], chunk(one).vector)
        with pytest.raises(Misconfigured, match="belongs to another ledger"):
            other.create(EDITION, DIMENSIONS)

    def test_an_audit_deletes_nothing_of_another_ledger(
        self, open_for: Callable[[], Index], tmp_path: Path
    ) -> None:
        """Which may have come to be there since the start."""
        (one,) = ids(1)
        rig = Rig(Database.file(tmp_path / "staging.sqlite"), [], index=open_for())
        rig.index.drop(rig.edition.name)
        production = open_for()
        production.create(rig.edition.name, rig.edition.dimensions)
        vector = np.eye(rig.edition.dimensions, dtype=np.float32)[0]
        production.upsert(rig.edition.name, [IndexedChunk(one, "notes", "d", "", "text", vector)])
        with pytest.raises(Misconfigured, match="belongs to another ledger"):
            rig.audit()
        assert production.count(rig.edition.name) == 1
        rig.ledger.database.close()


class TestShape:
    def test_another_length_is_another_edition(self, index: WeaviateIndex) -> None:
        with pytest.raises(WrongEdition, match="length 8, not 9"):
            index.create(EDITION, DIMENSIONS + 1)

    @pytest.mark.parametrize(
        ("part", "value", "named"),
        [
            ("invertedIndexConfig", {"bm25": {"k1": 0.5, "b": 0.5}}, "invertedIndexConfig.bm25.k1"),
            ("vectorIndexConfig", {"distance": "cosine"}, "vectorIndexConfig.distance"),
            ("vectorIndexConfig", {"distance": "dot"}, "vectorIndexConfig.rq"),
            ("properties", [{"name": "words", "dataType": ["text"]}], "properties of.words.tokenization"),
            ("description", "mine", "description"),
        ],
    )
    def test_a_collection_of_another_shape_is_refused(
        self, weaviate: Weaviate, weaviate_prefix: str, part: str, value: object, named: str
    ) -> None:
        name = f"{weaviate_prefix}_e_m1"
        schema = collection_schema(name, EDITION, DIMENSIONS) | {part: value}
        with admin(weaviate) as client:
            client.post("/schema", json=schema).raise_for_status()
        index = made(weaviate, weaviate_prefix)
        with contextlib.closing(index), pytest.raises(Misconfigured) as caught:
            index.create(EDITION, DIMENSIONS)
        assert named in str(caught.value)
        assert name in str(caught.value)
        assert "index.prefix" in caught.value.hint

    def test_editions_have_legal_names_of_their_own(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        for edition in ("e_1", "e--1", "e-_1", "e_-1", "1e"):
            index.create(edition, DIMENSIONS)
        assert len(collections(weaviate, weaviate_prefix)) == 6

    @pytest.mark.parametrize("prefix", ["", "lower", "Two_Parts", "Ü", "A B", "X" * 64])
    def test_a_prefix_that_cannot_be_one_is_refused(self, prefix: str) -> None:
        with pytest.raises(Misconfigured, match=r"index\.prefix"):
            WeaviateIndex("http://localhost:8080", prefix=prefix)


class TestRefusals:
    def test_a_wrong_key_names_the_setting_and_not_the_key(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        wrong = made(weaviate, weaviate_prefix, key="not-the-key-of-this-server")
        with pytest.raises(Misconfigured, match=r"index\.api_key") as caught:
            wrong.create(EDITION, DIMENSIONS)
        assert "not-the-key" not in str(caught.value)
        for call in (wrong.check, lambda: wrong.search(EDITION, IndexQuery("quokka", None, 5))):
            with pytest.raises(IndexUnavailable, match=r"index\.api_key"):
                call()
        assert "not-the-key" not in repr(vars(wrong)["_wire"])
        wrong.close()

    def test_no_server_is_no_index(self) -> None:
        index = WeaviateIndex(f"http://127.0.0.1:{free_port()}", grpc_port=free_port(), timeout_s=3)
        for call in (
            lambda: index.create(EDITION, DIMENSIONS),
            lambda: index.search(EDITION, IndexQuery("quokka", None, 5)),
            index.check,
        ):
            with pytest.raises(IndexUnavailable, match=r"index\.url"):
                call()
        index.close()

    @pytest.mark.parametrize("url", ["localhost:8080", "http://", "ftp://x", "http://me:secret@host:8080"])
    def test_an_address_that_cannot_be_one_is_refused(self, url: str) -> None:
        with pytest.raises(Misconfigured, match=r"index\.url") as caught:
            WeaviateIndex(url)
        assert "secret" not in str(caught.value)

    def test_ids_are_uuids(self, index: WeaviateIndex) -> None:
        good = chunk(ids(1)[0])
        bad = IndexedChunk("a", "notes", "d", "", "private words", good.vector)
        with pytest.raises(IndexRejected) as caught:
            index.upsert(EDITION, [good, bad])
        assert caught.value.chunk_ids == ("a",)
        assert "private" not in str(caught.value)
        assert index.count(EDITION) == 0

    def test_more_hits_than_the_server_gives_are_refused(self, index: WeaviateIndex) -> None:
        with pytest.raises(IndexRejected, match="10000"):
            index.search(EDITION, IndexQuery("quokka", None, 10_001))

    def test_read_only_is_unavailable_and_says_so(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        """As Weaviate itself makes it when the disk fills."""
        (one,) = ids(1)
        path = f"/schema/{weaviate_prefix}_e_m1/shards"
        with admin(weaviate) as client:
            (shard,) = client.get(path).raise_for_status().json()
            client.put(f"{path}/{shard['name']}", json={"status": "READONLY"}).raise_for_status()
            with pytest.raises(IndexUnavailable, match="read-only"):
                index.upsert(EDITION, [chunk(one)])
            client.put(f"{path}/{shard['name']}", json={"status": "READY"}).raise_for_status()
        index.upsert(EDITION, [chunk(one)])
        assert index.present(EDITION, [one]) == {one}

    def test_a_collection_deleted_by_others_is_not_an_empty_one(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        """Nor does a write make it again: the server would, with a shape of its own."""
        (one,) = ids(1)
        index.upsert(EDITION, [chunk(one)])
        with admin(weaviate) as client:
            client.delete(f"/schema/{weaviate_prefix}_e_m1").raise_for_status()
        for call in (
            lambda: index.search(EDITION, IndexQuery("quokka", None, 5)),
            lambda: index.search(EDITION, IndexQuery("", chunk(one).vector, 5)),
            lambda: index.upsert(EDITION, [chunk(one)]),
            lambda: index.present(EDITION, [one]),
            lambda: index.texts(EDITION, [one]),
            lambda: index.vectors_by_digest(EDITION, ["d"]),
            lambda: index.count(EDITION),
            lambda: list(index.ids(EDITION)),
            lambda: index.check(EDITION),
        ):
            with pytest.raises(EditionMissing, match="holds no collection"):
                call()
        index.check()  # the server itself answers
        index.delete(EDITION, [one])
        assert collections(weaviate, weaviate_prefix) == []
        index.create(EDITION, DIMENSIONS)
        assert index.count(EDITION) == 0

    def test_a_retired_edition_dropped_by_another_process_is_no_fault_and_no_proof(
        self, index: WeaviateIndex, weaviate: Weaviate, weaviate_prefix: str
    ) -> None:
        index.create("other", DIMENSIONS)
        with admin(weaviate) as client:
            client.delete(f"/schema/{weaviate_prefix}_e_m1").raise_for_status()
        index.check("other")
        with pytest.raises(EditionMissing):
            index.check(EDITION)


class TestVectors:
    def test_a_text_of_many_chunks_does_not_crowd_out_the_others(self, index: WeaviateIndex) -> None:
        many = ids(700)
        common = [
            IndexedChunk(one, "notes", "common", "", "the same", chunk(one).vector) for one in many[:-3]
        ]
        index.upsert(EDITION, [*common, *map(chunk, many[-3:])])
        digests = ["common", *(f"digest of {one}" for one in many[-3:]), "unknown"]
        lent = index.vectors_by_digest(EDITION, digests, without=many[:20])
        assert lent.keys() == set(digests[:-1])
        np.testing.assert_array_equal(lent[digests[1]], chunk(many[-3]).vector)


class TestSearches:
    def test_what_the_words_find_is_compared_without_another_question(
        self, index: WeaviateIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By vectors that come with it; where that would be too many, Weaviate is asked and says the same."""
        names = ids(300)
        index.upsert(
            EDITION,
            [
                chunk(one, "the quokka sleeps" if place % 3 else "a wombat digs")
                for place, one in enumerate(names)
            ],
        )
        asked: list[str] = []
        ask = Held.ask

        def counted(held: Held, method: str, request: object) -> object:
            asked.append(method)
            return ask(held, method, request)

        monkeypatch.setattr(Held, "ask", counted)
        vector = chunk(names[7]).vector
        few = index.search(EDITION, IndexQuery("wombat", vector, COMPARED))
        assert len(asked) == 1  # for the nearest; the words were begun beside it
        many = index.search(EDITION, IndexQuery("wombat", vector, COMPARED + 1))
        assert len(asked) == 3
        wombats = [{hit.chunk_id: hit.vector_score for hit in hits if hit.text_score} for hits in (few, many)]
        assert len(wombats[0]) == 100 and None not in wombats[0].values()
        assert wombats[0] == pytest.approx(wombats[1], abs=2e-6)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weaviate]:
    """A server that takes small messages only, as one behind a proxy may."""
    try:
        with serving(tmp_path_factory.mktemp("narrow"), GRPC_MAX_MESSAGE_SIZE="200000") as server:
            yield server
    except NotInstalled as fault:
        missing(fault)


class TestCreating:
    def test_a_server_that_gives_few_results_is_refused(self, tmp_path: Path) -> None:
        try:
            with serving(tmp_path, QUERY_MAXIMUM_RESULTS="100") as stingy:
                index = made(stingy, "Few")
                with pytest.raises(Misconfigured, match="fewer than 10000 results") as caught:
                    index.create(EDITION, DIMENSIONS)
                index.close()
        except NotInstalled as fault:
            missing(fault)
        assert "QUERY_MAXIMUM_RESULTS" in str(caught.value.hint)

    def test_another_error_is_no_setting(self, index: WeaviateIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        """A search in a collection that another process is just making fails for a moment."""

        def fail(*_: object) -> object:
            raise Doubtful("UNKNOWN", "could not find index for class")

        with monkeypatch.context() as failing:
            failing.setattr(Wire, "ask", fail)
            failing.setattr("retrieval.index.weaviate.MADE_S", 0.2)
            with pytest.raises(IndexUnavailable, match="could not answer"):
                index.create(EDITION, DIMENSIONS)
        index.create(EDITION, DIMENSIONS)

    def test_many_may_do_it_at_once(self, weaviate: Weaviate, weaviate_prefix: str) -> None:
        with contextlib.ExitStack() as closing, ThreadPoolExecutor(6) as threads:
            many = [made(weaviate, weaviate_prefix) for _ in range(6)]
            for one in many:
                closing.callback(one.close)
            for turn in range(5):
                edition, together = f"e-{turn + 2}", threading.Barrier(len(many))

                def create(
                    one: WeaviateIndex, edition: str = edition, together: threading.Barrier = together
                ) -> None:
                    together.wait()
                    one.create(edition, DIMENSIONS)

                list(threads.map(create, many))
                assert [one.count(edition) for one in many] == [0] * len(many)


class TestMessageSizes:
    def test_only_the_chunk_that_is_too_large_is_refused(self, narrow: Weaviate) -> None:
        index = made(narrow, "Sizes")
        index.create(EDITION, DIMENSIONS)
        some = ids(6)
        large = chunk(some[3], "word " * 60_000)
        with pytest.raises(IndexRefused, match="GRPC_MAX_MESSAGE_SIZE") as caught:
            index.upsert(EDITION, [large if one == some[3] else chunk(one) for one in some])
        assert caught.value.chunk_ids == (some[3],)
        index.upsert(EDITION, [chunk(one, "words " * 12_000) for one in some])  # together too large
        assert index.present(EDITION, some) == set(some)
        index.close()

    def test_a_heading_without_end_holds_nobody_up(self, narrow: Weaviate, tmp_path: Path) -> None:
        """Its line is held once, in pieces, and not above each of its paragraphs."""
        source = MemorySource("notes", clock=SystemClock())
        rig = Rig(fresh_database(tmp_path), [source], index=made(narrow, "Headings"))
        paragraphs = "\n\n".join(f"Paragraph {place}: " + "so it goes " * 60 for place in range(20))
        source.put("endless.md", f"{'a line without end ' * 10_000}\n---\n\n{paragraphs}".encode())
        for place in range(5):
            source.put(f"{place}.md", b"# Short\n\nand well")
        rig.sync()
        assert set(rig.states().values()) == {"live"}
        assert all(len(row.heading_path[0]) <= MAX_TITLE for row in rig.ledger.views.export())
        rig.ledger.database.close()
        rig.index.close()


class TestOutages:
    """On a server of their own, which they stop."""

    @pytest.fixture
    def own(self, tmp_path: Path) -> Iterator[Weaviate]:
        try:
            with serving(tmp_path) as server:
                yield server
        except NotInstalled as fault:
            missing(fault)

    def test_killed_after_an_acknowledgement_and_started_again(self, own: Weaviate) -> None:
        """Everything acknowledged is there: found by word, by vector, by digest, to the bit; and what was
        acknowledged as deleted is not."""
        assert own.server is not None
        index = made(own, "Killed")
        index.create(EDITION, DIMENSIONS)
        everything = list(map(chunk, ids(1_000)))
        index.upsert(EDITION, everything[:900])
        index.delete(EDITION, [one.chunk_id for one in everything[:100]])
        for one in everything[900:]:
            index.upsert(EDITION, [one])
        own.server.kill()
        with pytest.raises(IndexUnavailable, match=r"index\.url"):
            index.check()
        own.server.start()

        held = everything[100:]
        index.check()
        assert index.count(EDITION) == 900
        assert {one for one, _ in index.ids(EDITION)} == {one.chunk_id for one in held}
        lent = index.vectors_by_digest(EDITION, [one.digest for one in held])
        assert all(np.array_equal(lent[one.digest], one.vector) for one in held)
        assert len(index.present(EDITION, [one.chunk_id for one in everything])) == 900
        for query in (IndexQuery("quokka", None, 1_000), IndexQuery("", held[0].vector, 1_000)):
            assert len(index.search(EDITION, query)) == 900
        index.upsert(EDITION, everything[:1])
        assert index.count(EDITION) == 901
        index.close()

    def test_a_vector_that_a_death_took_is_brought_back(
        self, own: Weaviate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed between a write and its seal, Weaviate comes back without the vectors, if not each time:
        then the chunks count as absent, and writing them again brings them. Fails when Weaviate no longer
        loses them: then the seal may go."""
        assert own.server is not None
        index = made(own, "Unsealed")
        index.create(EDITION, DIMENSIONS)
        everything = list(map(chunk, ids(20)))
        index.upsert(EDITION, everything)
        for turn in range(2, 8):
            everything = list(map(chunk, ids(20 * turn)))
            with monkeypatch.context() as patch:
                patch.setattr(weaviate_write, "_seal", lambda held: None)
                index.upsert(EDITION, everything[-20:])
            own.server.kill()
            own.server.start()
            names = [one.chunk_id for one in everything]
            assert index.count(EDITION) == 20 * turn
            present = index.present(EDITION, names)
            if present != set(names):
                break
        assert set(names[:20]) <= present < set(names)
        index.upsert(EDITION, everything[20:])
        assert index.present(EDITION, names) == set(names)
        assert {
            hit.chunk_id for hit in index.search(EDITION, IndexQuery("", everything[-10].vector, len(names)))
        } == set(names)
        index.close()

    def test_what_was_begun_before_it_was_started_again_is_asked_once_more(self, own: Weaviate) -> None:
        assert own.server is not None
        index = made(own, "Begun")
        index.create(EDITION, DIMENSIONS)
        (one,) = ids(1)
        index.upsert(EDITION, [chunk(one)])
        request = weaviate_messages.listing(f"Begun_{EDITION.replace('-', '_m')}", 10)
        own.server.pause()  # so that it answers nothing before its death
        begun = index._wire.begin("Search", request)
        own.server.kill()
        own.server.start()
        assert [result.metadata.id for result in begun().results] == [one]
        own.server.kill()
        with pytest.raises(IndexUnavailable):
            index._wire.begin("Search", request)()
        index.close()

    def test_one_that_is_stopped_is_given_up_in_time_and_used_again(self, own: Weaviate) -> None:
        assert own.server is not None
        index = made(own, "Paused", timeout_s=1.0)
        index.create(EDITION, DIMENSIONS)
        (one,) = ids(1)
        index.upsert(EDITION, [chunk(one)])
        own.server.pause()
        for call in (
            lambda: index.search(EDITION, IndexQuery("quokka", None, 5)),
            lambda: index.upsert(EDITION, [chunk(one)]),
            index.check,
        ):
            started = time.monotonic()
            with pytest.raises(IndexUnavailable, match="did not answer within"):
                call()
            assert time.monotonic() - started < 15
        own.server.resume()
        assert [hit.chunk_id for hit in index.search(EDITION, IndexQuery("quokka", None, 5))] == [one]
        index.close()
