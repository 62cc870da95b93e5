from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index import words
from retrieval.index.words import (
    HEADING_WEIGHT,
    MAX_TERMS,
    MAX_WORDS_READ,
    TOKENIZER,
    QueryReader,
    QueryTerm,
    Statistics,
    bm25,
    choose_words,
    match_any,
)


@pytest.fixture(scope="module")
def reader() -> Iterator[QueryReader]:
    made = QueryReader()
    yield made
    made.close()


def term(word: str) -> QueryTerm:
    return QueryTerm(word, word)


class TestReading:
    def test_words_and_stems(self, reader: QueryReader) -> None:
        assert reader.terms("Searching the DATABASES, naïvely") == [
            QueryTerm("searching", "search"),
            QueryTerm("the", "the"),
            QueryTerm("databases", "databas"),
            QueryTerm("naively", "naiv"),
        ]

    def test_a_stem_appears_once_under_its_first_word(self, reader: QueryReader) -> None:
        assert reader.terms("search searching searched search") == [QueryTerm("search", "search")]

    @pytest.mark.parametrize("text", ["", " \n\t", "?! -- *", '"""', "😀"])
    def test_no_words(self, reader: QueryReader, text: str) -> None:
        assert reader.terms(text) == []

    def test_reading_leaves_nothing_behind(self, reader: QueryReader) -> None:
        reader.terms("first")
        assert reader.terms("second") == [QueryTerm("second", "second")]

    def test_a_long_question_is_bounded(self, reader: QueryReader) -> None:
        assert len(reader.terms(" ".join(f"w{place}" for place in range(10_000)))) == MAX_WORDS_READ

    @settings(max_examples=200, deadline=None)
    @given(text=st.text(max_size=60), other=st.text(max_size=30))
    def test_a_text_is_found_by_its_own_words(self, text: str, other: str) -> None:
        """Whatever it holds: the index and the reader split alike, and no word is read as syntax."""
        reader = QueryReader()
        index = sqlite3.connect(":memory:")
        index.execute(f"CREATE VIRTUAL TABLE f USING fts5(t, tokenize='{TOKENIZER}')")
        index.execute("CREATE VIRTUAL TABLE v USING fts5vocab(f, row)")
        index.executemany("INSERT INTO f VALUES (?)", [(text,), (other,)])
        known = {stem for (stem,) in index.execute("SELECT term FROM v")}
        for found in reader.terms(text):
            assert found.stem in known
            rows = index.execute("SELECT rowid FROM f WHERE f MATCH ?", (match_any([found]),)).fetchall()
            assert (1,) in rows
        index.close()
        reader.close()

    def test_a_question_waits_for_no_chunks(self) -> None:
        reader = QueryReader()
        begun, asked = threading.Event(), threading.Event()

        def chunks() -> Iterator[tuple[int, str, str]]:
            yield 1, "", "searching"
            begun.set()
            asked.wait(30)
            yield 2, "", "searched"

        with ThreadPoolExecutor(2) as pool:
            counting = pool.submit(reader.counts, chunks(), ["search"])
            try:
                assert begun.wait(30)
                assert pool.submit(reader.question, "words").result(20) == "word"
            finally:
                asked.set()
            reader.close()  # while it is used
            assert counting.result(30) == {"search": {1: 1.0, 2: 1.0}}

    def test_occurrences_are_counted_by_stem(self, reader: QueryReader) -> None:
        chunks = [(3, "Searching", "search and searched"), (9, "", "nothing"), (12, "", "a search")]
        assert reader.counts(chunks, ["search", "absent"]) == {
            "search": {3: 2 + HEADING_WEIGHT, 12: 1.0},
            "absent": {},
        }


class TestChoosing:
    @pytest.fixture(autouse=True)
    def _budgets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(words, "MATCH_BUDGET", 100)
        monkeypatch.setattr(words, "ONE_WORD_BUDGET", 300)

    def choose(self, held: int, *, must_find: bool = False, **counts: int) -> tuple[str, str]:
        """Looked up and only counted, as words joined by spaces."""
        both = choose_words([(term(word), n) for word, n in counts.items()], held, must_find=must_find)
        looked_up, only_counted = (" ".join(found.word for found in part) for part in both)
        return looked_up, only_counted

    def test_rare_words_are_looked_up_and_common_ones_counted(self) -> None:
        assert self.choose(1_000, common=90, rare=3, middle=40) == ("rare middle", "common")

    def test_unknown_words_are_left_out(self) -> None:
        assert self.choose(1_000, known=3, unknown=0) == ("known", "")
        assert self.choose(1_000, unknown=0) == ("", "")

    def test_words_of_most_chunks_say_nothing(self) -> None:
        assert self.choose(100, most=51, half=50) == ("half", "")

    def test_unless_there_are_no_others(self) -> None:
        assert self.choose(100, most=51, all=100) == ("most", "all")

    def test_a_common_word_alone_is_looked_up_within_its_own_budget(self) -> None:
        assert self.choose(10_000, common=300) == ("common", "")
        assert self.choose(10_000, common=301) == ("", "common")

    def test_or_in_any_case_when_nothing_else_finds_anything(self) -> None:
        assert self.choose(10_000, common=4_000, must_find=True) == ("common", "")

    def test_the_number_of_words_is_bounded(self) -> None:
        looked_up, only_counted = choose_words(
            [(term(f"w{place}"), 1 + place) for place in range(500)], 10_000, must_find=False
        )
        assert len(looked_up) + len(only_counted) == MAX_TERMS

    def test_ties_do_not_depend_on_the_order_asked(self) -> None:
        assert self.choose(1_000, b=60, a=60) == self.choose(1_000, a=60, b=60) == ("a", "b")


def test_bm25_is_that_of_the_full_text_index(reader: QueryReader) -> None:
    chunks = [
        (1, "Search", "search engines search the web and find search results"),
        (2, "", "an engine of a car"),
        (3, "Car engines", "engines, engines, engines"),
        (4, "", "nothing to be found here"),
        (5, "", "nor here, in a longer text that goes on for a while without saying anything"),
    ]
    index = sqlite3.connect(":memory:")
    index.execute(f"CREATE VIRTUAL TABLE f USING fts5(heading, text, tokenize='{TOKENIZER}')")
    index.execute("CREATE VIRTUAL TABLE v USING fts5vocab(f, instance)")
    index.executemany("INSERT INTO f(rowid, heading, text) VALUES (?, ?, ?)", chunks)
    terms = reader.terms("search engines")
    query = f"SELECT rowid, -bm25(f, {HEADING_WEIGHT}, 1.0) FROM f WHERE f MATCH ?"
    theirs = dict(index.execute(query, (match_any(terms),)).fetchall())
    lengths = dict(index.execute("SELECT doc, count(*) FROM v GROUP BY doc").fetchall())
    statistics = Statistics(5, sum(lengths.values()) / 5, {"search": 1, "engin": 3})
    ours = bm25(statistics, reader.counts(chunks, ["search", "engin"]), lengths)
    assert ours == pytest.approx(theirs, rel=1e-9)
    index.close()
