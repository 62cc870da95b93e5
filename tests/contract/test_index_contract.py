"""What every index keeps, whatever holds the chunks. Another adapter is one more line in ADAPTERS."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingestion.buckets import Tally, bucket_of, differing, tallied
from ingestion.database import Database
from ingestion.errors import EditionMissing, IndexRejected, WrongEdition
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import Index, IndexedChunk, IndexHit, IndexQuery
from retrieval.index.weaviate import WeaviateIndex

DIMENSIONS = 16
EDITION = "e1"


def _weaviate(request: pytest.FixtureRequest) -> Index:
    server, prefix = request.getfixturevalue("weaviate"), request.getfixturevalue("weaviate_prefix")
    return WeaviateIndex(server.url, grpc_port=server.grpc_port, api_key=server.api_key, prefix=prefix)


def _file(request: pytest.FixtureRequest) -> Database:
    folder: Path = request.getfixturevalue("tmp_path")
    return Database.file(folder / "headwater.db")


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Index]] = {
    "memory": lambda request: MemoryIndex(),
    "embedded": lambda request: EmbeddedIndex(_file(request)),
    "embedded-in-memory": lambda request: EmbeddedIndex(Database.in_memory()),
    "weaviate": _weaviate,
}


class Named:
    """An index whose chunks have names: the ledger's ids are UUIDs, which read badly in a test.

    A name is the first bytes of its id, so both sort alike.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    def create(self, edition: str, dimensions: int) -> None:
        self._index.create(edition, dimensions)

    def drop(self, edition: str) -> None:
        self._index.drop(edition)

    def upsert(self, edition: str, chunks: Sequence[IndexedChunk]) -> None:
        try:
            self._index.upsert(edition, [replace(one, chunk_id=_id(one.chunk_id)) for one in chunks])
        except IndexRejected as refusal:
            refusal.chunk_ids = tuple(map(_name, refusal.chunk_ids))
            raise

    def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
        self._index.delete(edition, list(map(_id, chunk_ids)))

    def present(self, edition: str, chunk_ids: Sequence[str]) -> set[str]:
        return set(map(_name, self._index.present(edition, list(map(_id, chunk_ids)))))

    def texts(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        found = self._index.texts(edition, list(map(_id, chunk_ids)))
        return {_name(one): text for one, text in found.items()}

    def vectors_by_digest(
        self, edition: str, digests: Sequence[str], *, without: Sequence[str] = ()
    ) -> Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return self._index.vectors_by_digest(edition, digests, without=list(map(_id, without)))

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        return [replace(hit, chunk_id=_name(hit.chunk_id)) for hit in self._index.search(edition, query)]

    def ids(self, edition: str) -> Iterator[tuple[str, str]]:
        return ((_name(one), digest) for one, digest in self._index.ids(edition))

    def buckets(self, edition: str) -> Mapping[int, Tally]:
        """Of the names; the index has counted its own ids right."""
        counted = self._index.buckets(edition)
        assert counted == tallied(self._index.ids(edition))
        return tallied(self.ids(edition))

    def vectors(
        self, edition: str, chunk_ids: Sequence[str]
    ) -> Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        found = self._index.vectors(edition, list(map(_id, chunk_ids)))
        return {_name(one): vector for one, vector in found.items()}

    def count(self, edition: str) -> int:
        return self._index.count(edition)

    def check(self, edition: str | None = None) -> None:
        self._index.check(edition)

    def close(self) -> None:
        self._index.close()


def _id(name: str) -> str:
    return str(uuid.UUID(bytes=name.encode().ljust(16, b"\0")))


def _name(chunk_id: str) -> str:
    return uuid.UUID(chunk_id).bytes.rstrip(b"\0").decode()


@pytest.fixture(params=sorted(ADAPTERS))
def index(request: pytest.FixtureRequest) -> Iterator[Index]:
    made = Named(ADAPTERS[request.param](request))
    made.create(EDITION, DIMENSIONS)
    yield made
    made.drop(EDITION)
    made.close()


def direction(*weights: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A vector of length one with these first components."""
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[: len(weights)] = weights
    return vector / np.linalg.norm(vector)


def chunk(
    chunk_id: str,
    text: str = "some text",
    *,
    at: tuple[float, ...] = (1.0,),
    source: str = "notes",
    digest: str | None = None,
    heading: str = "",
) -> IndexedChunk:
    return IndexedChunk(chunk_id, source, digest or f"digest of {chunk_id}", heading, text, direction(*at))


def spread(place: int) -> tuple[float, ...]:
    """For thousands of chunks: a graph of neighbours takes long over thousands that lie in one place."""
    return (1.0, place / 1_000, place % 7)


def found(index: Index, query: IndexQuery, edition: str = EDITION) -> list[str]:
    return [hit.chunk_id for hit in index.search(edition, query)]


def by_vector(*at: float, limit: int = 10, sources: tuple[str, ...] | None = None) -> IndexQuery:
    return IndexQuery("", direction(*at), limit, sources)


def by_words(text: str, limit: int = 10, sources: tuple[str, ...] | None = None) -> IndexQuery:
    return IndexQuery(text, None, limit, sources)


class TestEditions:
    def test_making_one_again_changes_nothing(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a")])
        index.create(EDITION, DIMENSIONS)
        assert index.count(EDITION) == 1

    def test_other_dimensions_are_refused(self, index: Index) -> None:
        with pytest.raises(WrongEdition):
            index.create(EDITION, DIMENSIONS + 1)

    def test_editions_are_apart(self, index: Index) -> None:
        index.create("e2", 4)
        index.upsert("e2", [IndexedChunk("a", "notes", "d", "", "other", np.full(4, 0.5, np.float32))])
        assert index.count(EDITION) == 0
        assert found(index, IndexQuery("other", None, 5), "e2") == ["a"]
        index.drop("e2")

    def test_dropping_is_idempotent_and_complete(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a")])
        index.drop(EDITION)
        index.drop(EDITION)
        index.drop("never made")
        index.create(EDITION, DIMENSIONS)
        assert index.count(EDITION) == 0
        assert found(index, by_vector(1)) == []
        assert list(index.ids(EDITION)) == []

    def test_an_edition_made_again_may_have_other_dimensions(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a")])
        assert found(index, by_vector(1)) == ["a"]
        index.drop(EDITION)
        index.create(EDITION, 4)
        index.upsert(EDITION, [IndexedChunk("b", "notes", "d", "", "t", np.full(4, 0.5, np.float32))])
        assert found(index, IndexQuery("", np.full(4, 0.5, np.float32), 5)) == ["b"]

    def test_an_unknown_edition_is_no_empty_one(self, index: Index) -> None:
        """A search that finds nothing would hide that the index is gone."""
        for call in (
            lambda: index.search("unknown", by_vector(1)),
            lambda: index.upsert("unknown", [chunk("a")]),
            lambda: index.count("unknown"),
            lambda: list(index.ids("unknown")),
            lambda: index.check("unknown"),
        ):
            with pytest.raises(EditionMissing):
                call()
        index.delete("unknown", ["a"])
        index.check()
        index.check(EDITION)


class TestHolding:
    def test_what_was_upserted_is_held(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", "alpha"), chunk("b", "beta")])
        assert index.present(EDITION, ["a", "b", "c"]) == {"a", "b"}
        assert index.texts(EDITION, ["b", "c"]) == {"b": "beta"}
        assert sorted(index.ids(EDITION)) == [("a", "digest of a"), ("b", "digest of b")]
        assert index.count(EDITION) == 2

    def test_nothing_is_nothing(self, index: Index) -> None:
        index.upsert(EDITION, [])
        index.delete(EDITION, [])
        assert index.present(EDITION, []) == set()
        assert index.texts(EDITION, []) == {}
        assert index.vectors_by_digest(EDITION, []) == {}

    def test_upserting_twice_holds_once(self, index: Index) -> None:
        for _ in range(2):
            index.upsert(EDITION, [chunk("a", "alpha")])
        assert index.count(EDITION) == 1
        assert found(index, by_words("alpha")) == ["a"]
        assert found(index, by_vector(1)) == ["a"]

    def test_an_id_upserted_again_is_replaced(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", "alpha", at=(1,), source="old", digest="d1")])
        assert found(index, by_vector(1)) == ["a"]
        index.upsert(EDITION, [chunk("a", "beta", at=(0, 1), source="new", digest="d2")])
        assert list(index.ids(EDITION)) == [("a", "d2")]
        assert index.texts(EDITION, ["a"]) == {"a": "beta"}
        assert found(index, by_words("alpha")) == []
        assert found(index, by_words("beta", sources=("new",))) == ["a"]
        assert found(index, by_vector(0, 1, sources=("old",))) == []
        (hit,) = index.search(EDITION, by_vector(0, 1))
        assert hit.score == pytest.approx(1.0, abs=1e-5)

    def test_an_id_twice_in_one_call_is_held_once(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", "first"), chunk("a", "second")])
        assert index.count(EDITION) == 1
        assert index.texts(EDITION, ["a"]) == {"a": "second"}

    def test_deleting_is_idempotent(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a"), chunk("b")])
        assert len(found(index, by_vector(1))) == 2
        for _ in range(2):
            index.delete(EDITION, ["a", "unknown", "a"])
        assert index.present(EDITION, ["a", "b"]) == {"b"}
        assert found(index, by_vector(1)) == ["b"]
        assert found(index, by_words("text")) == ["b"]
        assert index.count(EDITION) == 1

    def test_thousands_of_ids_in_one_call(self, index: Index) -> None:
        names = [f"c{place:05}" for place in range(6_000)]
        for start in range(0, len(names), 500):
            some = enumerate(names[start : start + 500], start)
            index.upsert(EDITION, [chunk(name, digest=name, at=spread(place)) for place, name in some])
        assert index.present(EDITION, names) == set(names)
        assert len(index.texts(EDITION, names)) == len(names)
        assert len(index.vectors_by_digest(EDITION, names, without=names[:10])) == len(names) - 10
        assert sorted(name for name, _ in index.ids(EDITION)) == names
        assert len(found(index, by_vector(1, limit=3_000))) == 3_000
        index.delete(EDITION, names[1:])
        assert found(index, by_vector(1)) == names[:1]

    def test_listing_while_it_changes_shows_what_stays_exactly_once(self, index: Index) -> None:
        stay = [f"b{place:05}" for place in range(6_000)]
        for start in range(0, len(stay), 1_000):
            some = enumerate(stay[start : start + 1_000], start)
            index.upsert(EDITION, [chunk(name, at=spread(place)) for place, name in some])
        listed = index.ids(EDITION)
        seen = [next(listed)[0]]
        index.upsert(EDITION, [chunk("a"), chunk("z")])
        index.delete(EDITION, ["z"])
        seen += [name for name, _ in listed]
        assert sorted(name for name in seen if name.startswith("b")) == stay


class TestBuckets:
    """What an audit compares."""

    def test_they_count_what_is_held(self, index: Index) -> None:
        index.upsert(EDITION, [chunk(f"c{place}") for place in range(50)])
        index.delete(EDITION, ["c7", "c8"])
        held = [(f"c{place}", f"digest of c{place}") for place in range(50) if place not in (7, 8)]
        assert index.buckets(EDITION) == tallied(reversed(held))
        assert sum(tally.count for tally in index.buckets(EDITION).values()) == 48

    def test_another_digest_under_the_same_id_shows(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", digest="d1"), chunk("b")])
        before = index.buckets(EDITION)
        index.upsert(EDITION, [chunk("a", digest="d2")])
        assert differing(before, index.buckets(EDITION)) == {bucket_of("a")}

    def test_an_empty_edition_has_none_and_an_unknown_one_is_no_empty_one(self, index: Index) -> None:
        assert index.buckets(EDITION) == {}
        with pytest.raises(EditionMissing):
            index.buckets("unknown")


class TestVectors:
    def test_each_id_has_its_own_vector_even_where_digests_are_the_same(self, index: Index) -> None:
        given = [chunk(name, at=(place + 1, 1), digest="same") for place, name in enumerate("abc")]
        index.upsert(EDITION, [*given, chunk("d", at=(0, 0, 1))])
        vectors = index.vectors(EDITION, ["a", "c", "d", "unknown"])
        assert sorted(vectors) == ["a", "c", "d"]
        for name, expected in [("a", given[0]), ("c", given[2]), ("d", chunk("d", at=(0, 0, 1)))]:
            assert vectors[name].dtype == np.float32
            np.testing.assert_allclose(vectors[name], expected.vector, atol=1e-6)


class TestVectorsByDigest:
    def test_a_vector_comes_back_as_it_was_given(self, index: Index) -> None:
        given = chunk("a", at=(1, 2, 3), digest="d")
        index.upsert(EDITION, [given, chunk("b", at=(1, 2, 3), digest="d")])
        vectors = index.vectors_by_digest(EDITION, ["d", "unknown"])
        assert vectors.keys() == {"d"}
        assert vectors["d"].dtype == np.float32
        np.testing.assert_array_equal(vectors["d"], given.vector)

    def test_marked_chunks_lend_no_vector(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", digest="d"), chunk("b", at=(0, 1), digest="d")])
        vectors = index.vectors_by_digest(EDITION, ["d"], without=["a"])
        np.testing.assert_array_equal(vectors["d"], direction(0, 1))
        assert index.vectors_by_digest(EDITION, ["d"], without=["a", "b"]) == {}

    def test_a_deleted_chunk_lends_none(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", digest="d")])
        index.delete(EDITION, ["a"])
        assert index.vectors_by_digest(EDITION, ["d"]) == {}


class TestSearching:
    def test_the_nearest_vector_comes_first(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("far", at=(0, 1)), chunk("near", at=(1, 0.1)), chunk("mid", at=(1, 1))])
        hits = index.search(EDITION, by_vector(1))
        assert [hit.chunk_id for hit in hits] == ["near", "mid", "far"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(hit.vector_score is not None and hit.text_score is None for hit in hits)

    def test_words_find_text_and_heading(self, index: Index) -> None:
        index.upsert(
            EDITION,
            [
                chunk("text", "the quokka sleeps"),
                chunk("heading", "something else", heading="Quokka"),
                chunk("neither", "nothing of the kind"),
            ],
        )
        hits = index.search(EDITION, by_words("quokka"))
        assert {hit.chunk_id for hit in hits} == {"text", "heading"}
        assert all(hit.vector_score is None and hit.text_score is not None for hit in hits)

    def test_both_parts_count(self, index: Index) -> None:
        filler = [chunk(f"f{place}", f"filler number {place}", at=(-1, place)) for place in range(20)]
        index.upsert(
            EDITION,
            [
                *filler,
                chunk("both", "the quokka sleeps", at=(1, 0.2)),
                chunk("words", "the quokka sleeps", at=(-1, 0.1)),
                chunk("vector", "an animal rests", at=(1, 0.2)),
            ],
        )
        hits = index.search(EDITION, IndexQuery("quokka", direction(1), 3))
        assert hits[0].chunk_id == "both"
        assert {hit.chunk_id for hit in hits} == {"both", "words", "vector"}

    def test_every_chunk_is_a_candidate(self, index: Index) -> None:
        """Fewer hits than asked for mean that there are no more."""
        index.upsert(EDITION, [chunk(f"c{place:04}", at=(1, place)) for place in range(700)])
        query = IndexQuery("absent words", direction(0, 0, 1), 650)
        assert len(set(found(index, query))) == 650
        assert len(found(index, IndexQuery("text", direction(1), 1_000))) == 700

    @pytest.mark.parametrize("limit", [0, -1])
    def test_no_hits_asked_for(self, index: Index, limit: int) -> None:
        index.upsert(EDITION, [chunk("a")])
        assert found(index, by_vector(1, limit=limit)) == []

    def test_an_empty_edition_has_nothing(self, index: Index) -> None:
        assert found(index, IndexQuery("words", direction(1), 10)) == []

    def test_ties_are_in_a_fixed_order(self, index: Index) -> None:
        names = [f"c{place:02}" for place in range(30)]
        index.upsert(EDITION, [chunk(name) for name in reversed(names)])
        assert found(index, by_vector(1, limit=30)) == names
        assert found(index, IndexQuery("text", direction(1), 30)) == names

    def test_the_same_chunks_found_by_another_way_rank_the_same(self, index: Index) -> None:
        chunks = [
            chunk(f"c{place:02}", f"word{place} shared", at=(1, place % 7, place % 3)) for place in range(40)
        ]
        query = IndexQuery("word7 shared word9", direction(1, 3, 1), 40)
        index.upsert(EDITION, chunks)
        straight = found(index, query)
        index.delete(EDITION, [one.chunk_id for one in chunks[::2]])
        index.upsert(EDITION, [chunk("other", "shared word7")])
        for one in reversed(chunks):
            index.upsert(EDITION, [one])
        index.delete(EDITION, ["other"])
        assert found(index, query) == straight


class TestSources:
    @pytest.fixture(autouse=True)
    def _two_sources(self, index: Index) -> None:
        index.upsert(
            EDITION,
            [chunk(f"a{place}", "quokka", source="one", at=(1, place)) for place in range(5)]
            + [chunk(f"b{place}", "quokka", source="two", at=(0, 1, place)) for place in range(5)],
        )

    def test_only_the_named_are_searched(self, index: Index) -> None:
        for query in (
            by_vector(1, sources=("two",)),
            by_words("quokka", sources=("two",)),
            IndexQuery("quokka", direction(1), 10, ("two", "unknown")),
        ):
            assert sorted(found(index, query)) == ["b0", "b1", "b2", "b3", "b4"]

    def test_several_may_be_named(self, index: Index) -> None:
        assert len(found(index, by_vector(1, limit=20, sources=("one", "two")))) == 10

    @pytest.mark.parametrize("sources", [(), ("unknown",)])
    def test_naming_none_finds_nothing(self, index: Index, sources: tuple[str, ...]) -> None:
        assert found(index, IndexQuery("quokka", direction(1), 10, sources)) == []


class TestQuestions:
    @pytest.mark.parametrize(
        "text",
        [
            "", "   ", "?!, ... --", '"', '"unbalanced', "quokka AND", "NEAR(quokka sleeps, 3)", "quokka*",
            "-quokka", "heading:quokka", "{text}:quokka", "^quokka", "quokka + sleeps", "(quokka", "NOT",
            "quokka OR NOT", "quokka' OR 1=1 --", "%_%", "\x00quokka", "quokka\x00sleeps", "😀", "ﬁ ß İ",
            "\ud7ff", "a" * 30_000, "\N{COMBINING ACUTE ACCENT}",
        ],
    )  # fmt: skip
    def test_any_text_may_be_asked(self, index: Index, text: str) -> None:
        index.upsert(EDITION, [chunk("a", "the quokka sleeps"), chunk("b", "nothing")])
        assert sorted(found(index, IndexQuery(text, direction(1), 5))) == ["a", "b"]
        assert set(found(index, IndexQuery(text, None, 5))) <= {"a", "b"}

    def test_syntax_is_text(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", "the quokka sleeps"), chunk("b", "near nothing")])
        assert found(index, by_words("NEAR(quokka)"))[:2] in (["a", "b"], ["b", "a"])
        assert found(index, by_words("-quokka")) == ["a"]

    def test_no_words_means_vectors_alone(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", at=(1,)), chunk("b", at=(0, 1))])
        (first, second) = index.search(EDITION, IndexQuery("?!", direction(0, 1), 5))
        assert (first.chunk_id, second.chunk_id) == ("b", "a")
        assert first.text_score is None

    def test_neither_words_nor_vector_finds_nothing(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a")])
        assert found(index, IndexQuery("", None, 5)) == []

    def test_ten_thousand_words(self, index: Index) -> None:
        index.upsert(EDITION, [chunk("a", "the quokka sleeps"), chunk("b", "nothing")])
        text = "quokka " + " ".join(f"word{place}" for place in range(10_000))
        assert found(index, IndexQuery(text, None, 5)) == ["a"]

    @pytest.mark.parametrize(
        "text", ["日本語のテキスト", "知识库", "데이터 베이스", "ฐานข้อมูล", "مرحبا بالعالم"]
    )
    def test_other_scripts(self, index: Index, text: str) -> None:
        index.upsert(EDITION, [chunk("a", text), chunk("b", "latin")])
        assert found(index, by_words(text)) == ["a"]
        assert index.texts(EDITION, ["a"]) == {"a": text}

    def test_text_of_any_kind_is_held(self, index: Index) -> None:
        for text in ("", "\x00 null", "line\nline", "x" * 200_000, "'; DROP TABLE chunks; --"):
            index.upsert(EDITION, [chunk("a", text)])
            assert index.texts(EDITION, ["a"]) == {"a": text}
        index.delete(EDITION, ["a"])
        assert found(index, by_vector(1)) == []


class TestRejection:
    @pytest.mark.parametrize(
        "vector",
        [
            np.ones(DIMENSIONS - 1, np.float32),
            np.ones((1, DIMENSIONS), np.float32),
            np.full(DIMENSIONS, np.nan, np.float32),
            np.full(DIMENSIONS, np.inf, np.float32),
        ],
        ids=["short", "matrix", "nan", "inf"],
    )
    def test_a_wrong_vector_is_refused_with_all_its_slice(
        self, index: Index, vector: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ) -> None:
        bad = IndexedChunk("bad", "notes", "d", "", "private words", vector)
        for slice_ in ([bad], [chunk("good"), bad, chunk("fine")], [bad, chunk("good"), chunk("fine")]):
            with pytest.raises(IndexRejected) as caught:
                index.upsert(EDITION, slice_)
            assert "bad" in caught.value.chunk_ids
            assert "private" not in str(caught.value)
            assert "1.0" not in str(caught.value)
            assert index.count(EDITION) == 0

    @pytest.mark.parametrize("fill", [np.nan, 1.0], ids=["nan", "short"])
    def test_a_wrong_question_is_refused(self, index: Index, fill: float) -> None:
        vector = np.full(DIMENSIONS if np.isnan(fill) else 3, fill, np.float32)
        with pytest.raises(IndexRejected):
            index.search(EDITION, IndexQuery("", vector, 5))


class TestConcurrency:
    def test_searches_go_on_while_a_writer_writes(self, index: Index) -> None:
        """What stays is always found, what was acknowledged is seen, and nothing fails."""
        stay = [chunk(f"stay{place:02}", "permanent", at=(1, 0.01 * place)) for place in range(20)]
        index.upsert(EDITION, stay)
        done = threading.Event()
        failures: list[BaseException] = []

        def write() -> None:
            for turn in range(60):
                name = f"passing{turn}"
                index.upsert(EDITION, [chunk(name, "passing", at=(0, 1))])
                if name not in found(index, by_vector(0, 1, limit=100)):
                    raise AssertionError(f"{name} was acknowledged and is not found")
                if turn % 3:
                    index.delete(EDITION, [name])
                    if name in found(index, by_words("passing", limit=100)):
                        raise AssertionError(f"{name} was deleted and is found")

        def search() -> None:
            for limit in itertools.cycle((20, 50)):
                names = found(index, IndexQuery("permanent", direction(1), limit))
                if not {one.chunk_id for one in stay} <= set(names) or len(set(names)) < len(names):
                    raise AssertionError(f"{len(names)} hits are not the 20 that stay, each once")
                if done.is_set():
                    return

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
                failures.append(error)

        searchers = [threading.Thread(target=guarded, args=(search,)) for _ in range(3)]
        for thread in searchers:
            thread.start()
        guarded(write)
        done.set()
        for thread in searchers:
            thread.join()
        assert not failures


def test_checking_and_closing_can_be_repeated(index: Index) -> None:
    index.check()
    index.check()
    index.close()
    index.close()
