"""From a question to the words looked up for it: few enough, and rare enough, to be found quickly.

The full-text index reads every chunk that holds any of the words, so a question costs what its words
are frequent. Rare words find the candidates, within a budget of chunks read; the common ones are then
counted in the few candidates only. Leaving them out altogether made hybrid search worse than vectors
alone on Cranfield (tests/bench/cranfield.py).
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# Stemming found more than plain words on Cranfield (tests/bench/cranfield.py).
TOKENIZER = "porter unicode61 remove_diacritics 2"

HEADING_WEIGHT = 2.0  # of a word in the heading against one in the text, by Cranfield

MAX_TERMS = 64
MAX_STEM = 200  # characters of a stem; what is longer is no word that anyone asks for
MAX_WORDS_READ = 512  # of a question; what follows is not looked at
MAX_CHARACTERS = 20_000
MATCH_BUDGET = 4_000  # chunks read for the words of one question, about 0.8 µs each
ONE_WORD_BUDGET = 12_000  # the same for its rarest word

BM25_K1, BM25_B = 1.2, 0.75  # FTS5's own, which cannot be changed
_WEIGHTED = " || ' ' || ".join(["term"] * round(HEADING_WEIGHT))
LEAST_IDF = 1e-6  # FTS5's idf of a word that most chunks hold


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A word as the question has it, and the stem under which the index knows it.

    The index stems whatever it is asked, and a stem is not always its own stem: ask with the word,
    count with the stem.
    """

    word: str
    stem: str


class QueryReader:
    """Splits questions exactly as the index splits text, by asking the same tokenizer.

    Nobody waits for anybody: a question must not stand behind the chunks of a whole slice. There are as many
    scratch tables as were ever used at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def terms(self, text: str) -> list[QueryTerm]:
        """The distinct terms of a question, the first MAX_WORDS_READ of them, in its order."""
        with self._scratch() as scratch:
            scratch.execute("INSERT INTO plain(rowid, t) VALUES (1, ?)", (text[:MAX_CHARACTERS],))
            found = scratch.execute("SELECT term FROM plain_words ORDER BY offset").fetchall()
            words = list(dict.fromkeys(word for (word,) in found))[:MAX_WORDS_READ]
            scratch.executemany("INSERT INTO stemmed(rowid, text) VALUES (?, ?)", enumerate(words))
            stems = scratch.execute("SELECT doc, term FROM stems ORDER BY doc DESC").fetchall()
            by_stem = {stem: words[place] for place, stem in stems}
            return [QueryTerm(word, stem) for stem, word in reversed(by_stem.items())]

    def counts(
        self, chunks: Iterable[tuple[int, str, str]], stems: Iterable[str]
    ) -> dict[str, dict[int, float]]:
        """How often each stem occurs in each of (row, heading, text), by stem and row.

        An occurrence in the heading counts HEADING_WEIGHT.
        """
        with self._scratch() as scratch:
            scratch.executemany("INSERT INTO stemmed(rowid, heading, text) VALUES (?, ?, ?)", chunks)
            return {stem: _count(scratch, stem) for stem in stems}

    def stems(self, chunks: Iterable[tuple[str, str]]) -> list[str]:
        """The stems of each (heading, text), each as often as it occurs, with spaces between, in no order.

        A stem of the heading is there HEADING_WEIGHT times: for an index that has no weights.
        """
        rows = [(row, heading, text) for row, (heading, text) in enumerate(chunks)]
        with self._scratch() as scratch:
            scratch.executemany("INSERT INTO stemmed(rowid, heading, text) VALUES (?, ?, ?)", rows)
            found = scratch.execute(
                f"SELECT doc, group_concat(iif(col = 'heading', {_WEIGHTED}, term), ' ') FROM"
                f" (SELECT doc, col, substr(term, 1, {MAX_STEM}) AS term FROM stems) GROUP BY doc"
            )
            by_row = dict(found.fetchall())
        return [by_row.get(row, "") for row, _, _ in rows]

    def question(self, text: str) -> str:
        """The distinct stems of a question, as ``stems`` gives those of chunks."""
        return " ".join(term.stem[:MAX_STEM] for term in self.terms(text))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for scratch in idle:
            scratch.close()

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[sqlite3.Connection]:
        """Empty tables that nobody else has, and empty again afterwards."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        scratch = idle or _new_scratch()
        scratch.execute("BEGIN")
        try:
            yield scratch
        finally:
            scratch.execute("ROLLBACK")
            self._give_back(scratch)

    def _give_back(self, scratch: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(scratch)
                return
        scratch.close()


def _new_scratch() -> sqlite3.Connection:
    scratch = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    scratch.executescript(
        f"""
        CREATE VIRTUAL TABLE plain USING fts5(t, content='', tokenize='unicode61 remove_diacritics 2');
        CREATE VIRTUAL TABLE plain_words USING fts5vocab(plain, instance);
        CREATE VIRTUAL TABLE stemmed USING fts5(heading, text, content='', tokenize='{TOKENIZER}');
        CREATE VIRTUAL TABLE stems USING fts5vocab(stemmed, instance);
        """
    )
    return scratch


def _count(scratch: sqlite3.Connection, stem: str) -> dict[int, float]:
    found = scratch.execute(
        f"SELECT doc, sum(iif(col = 'heading', {HEADING_WEIGHT}, 1.0)) FROM stems"
        " WHERE term = ? GROUP BY doc",
        (stem,),
    )
    return dict(found.fetchall())


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BM25 needs of the collection: ``held`` chunks of ``average_length`` terms.

    ``frequencies``: how many chunks hold each stem.
    """

    held: int
    average_length: float
    frequencies: Mapping[str, int]

    def idf(self, stem: str) -> float:
        count = self.frequencies[stem]
        return max(LEAST_IDF, math.log((self.held - count + 0.5) / (count + 0.5)))


def bm25(
    statistics: Statistics, counts: Mapping[str, Mapping[int, float]], lengths: Mapping[int, int]
) -> dict[int, float]:
    """BM25 by row, as FTS5 computes it (its manual, "The bm25() function"); higher is better.

    ``counts``: occurrences by stem and row; ``lengths``: terms by row. Rows without any are left out.
    """
    scores: dict[int, float] = {}
    for stem, by_row in counts.items():
        idf = statistics.idf(stem)
        for row, count in by_row.items():
            relative = 1 - BM25_B + BM25_B * lengths[row] / statistics.average_length
            part = idf * count * (BM25_K1 + 1) / (count + BM25_K1 * relative)
            scores[row] = scores.get(row, 0.0) + part
    return scores


def choose_words(
    counted: Iterable[tuple[QueryTerm, int]], held: int, *, must_find: bool
) -> tuple[list[QueryTerm], list[QueryTerm]]:
    """Of (term, number of the ``held`` chunks that have it): which to look up, and which only to count
    in the candidates; rarest first.

    Looked up are as many as MATCH_BUDGET allows, and the rarest up to ONE_WORD_BUDGET, or in any case if
    nothing else finds anything (``must_find``). Words of more than half of the chunks say nothing to BM25:
    they are left out altogether unless the question has no others.
    """
    ranked = sorted(((term, count) for term, count in counted if count), key=_rarity)[:MAX_TERMS]
    telling = [(term, count) for term, count in ranked if 2 * count <= held] or ranked
    looked_up: list[QueryTerm] = []
    spent = 0
    for term, count in telling:
        spent += count
        if spent > MATCH_BUDGET and (looked_up or (count > ONE_WORD_BUDGET and not must_find)):
            break
        looked_up.append(term)
    return looked_up, [term for term, _ in telling[len(looked_up) :]]


def _rarity(counted: tuple[QueryTerm, int]) -> tuple[int, str]:
    term, count = counted
    return count, term.stem


def match_any(terms: Sequence[QueryTerm]) -> str:
    """An FTS5 expression for chunks holding any of the terms; the quotes make each a plain string."""
    return " OR ".join('"' + term.word.replace('"', '""') + '"' for term in terms)
