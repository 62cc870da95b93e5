"""Blocks without a seam for megabytes: as edit-local as others, and at a cost that their size bounds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from ingestion.chunking import chunk
from ingestion.records import Block, BlockKind, Chunk, Parsed
from ingestion.seams import VAST_CHARS

MAX_TOKENS = 128
LETTERS = "ACGT"


def one_block(text: str, kind: BlockKind = BlockKind.PARAGRAPH) -> Parsed:
    return Parsed(text, [Block(kind, 0, len(text))])


class Counted:
    """Counts words, and how many texts it was asked for at once."""

    most = 0

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.most = max(self.most, len(texts))
        return [len(text.split()) + 2 for text in texts]


def cut(text: str, kind: BlockKind = BlockKind.PARAGRAPH) -> list[Chunk]:
    return chunk(one_block(text, kind), max_tokens=MAX_TOKENS, count_tokens=Counted())


def prose(rng: random.Random) -> list[str]:
    return [f"w{rng.randrange(2000)}" for _ in range(VAST_CHARS // 4)]


def letters(rng: random.Random) -> list[str]:
    return rng.choices(LETTERS, k=VAST_CHARS)


@pytest.mark.parametrize("between", [" ", "\n", ". ", ", "], ids=["words", "lines", "sentences", "phrases"])
@pytest.mark.parametrize("kind", [BlockKind.PARAGRAPH, BlockKind.CODE])
def test_one_letter_a_million_times_is_no_million_pieces(between: str, kind: BlockKind) -> None:
    text = between.join("a" * VAST_CHARS)
    count = Counted()
    made = chunk(one_block(text, kind), max_tokens=MAX_TOKENS, count_tokens=count)
    assert count.most < len(text) / 16
    assert all(one.tokens <= MAX_TOKENS for one in made)
    assert sum(one.text.count("a") for one in made) == VAST_CHARS
    assert len(made) < 2.5 * VAST_CHARS / MAX_TOKENS


@pytest.mark.parametrize("words", [prose, letters])
@pytest.mark.parametrize("between", [" ", "\n"], ids=["in one line", "a word a line"])
def test_an_edit_changes_what_is_near_it(words: Callable[[random.Random], list[str]], between: str) -> None:
    rng = random.Random(5)
    before = words(rng)
    old = Counter(one.digest for one in cut(between.join(before)))
    for at in (0, len(before) // 2, len(before) - 1):
        after = [*before[:at], "edited", *before[at:]]
        new = Counter(one.digest for one in cut(between.join(after)))
        assert (new - old).total() <= 10


def test_lines_of_code_stay_whole_while_one_fits() -> None:
    rng = random.Random(3)
    lines = [f"x{number} = {rng.randrange(1000)}" for number in range(VAST_CHARS // 8)]
    text = "\n".join(lines)
    assert len(text) > VAST_CHARS
    told = [line for one in cut(text, BlockKind.CODE) for line in one.text.splitlines()]
    assert told == lines
