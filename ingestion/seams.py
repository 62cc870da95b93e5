"""Where a block that is too long may be split: sentences, lines, phrases, words, characters.

Each step is tried on what the one before left too long. Code and tables are split at blank lines and lines
before anything else, so that their lines stay whole while a line fits at all.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from ingestion.records import Block, BlockKind

VAST_CHARS = 256 * 1024
"""From here on a block is split at fewer places: five million words of one letter would be as many pieces of
some hundred bytes each."""

_WORDS = re.compile(r"\s++")
_BETWEEN_WORDS = re.compile(r"\s++(?=\S)")
# Possessive, and entered once for each stretch: a million dots must not be scanned a million times.
_SENTENCES = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_`]*+\s++|[。！？]++[”’」』）]*+\s*+")
_LINES_OF_PROSE = re.compile(r"(?>\r\n?|\n)\s*+")
_PHRASES = re.compile(r"[,;:]\s++|[，；：、]\s*+")
_PARTS = re.compile(r"(?>\r\n?|\n)(?:[^\S\r\n]*+(?>\r\n?|\n))++")  # between blank lines
_LINES = re.compile(r"\r\n?|\n")
_BY_LINES = frozenset((BlockKind.CODE, BlockKind.TABLE))

_FAR_CHARS = 32  # from the seam before: where seams are dense, such a one is always chosen
_TOLD_BY_CHARS = 16  # before a seam: by these its content chooses it
_APART = 3  # seams that content chooses lie further from one another than so many seams

Cuts = Callable[[str, int, int, int], list[int]]
"""Where ``text[start:end]`` is cut, in order, for pieces with room for so many tokens."""


@dataclass(frozen=True, slots=True)
class Step:
    """``strength`` is that of the boundaries it makes: the smaller, the sooner they are cut."""

    strength: int
    cuts: Cuts


def steps_of(block: Block) -> Sequence[Step]:
    """The last of them may be repeated until everything fits."""
    by_lines = block.kind in _BY_LINES
    if block.end - block.start < VAST_CHARS:
        return _LINES_STEPS if by_lines else _PROSE_STEPS
    return _VAST_LINES_STEPS if by_lines else _VAST_PROSE_STEPS


def keeps_indent(block: Block) -> bool:
    """Whether the blank beginning of a piece is part of it."""
    return block.kind in _BY_LINES


def _at(seam: re.Pattern[str], text: str, start: int, end: int, _room: int) -> list[int]:
    return [found.end() for found in seam.finditer(text, start, end)]


def _behind_groups(text: str, start: int, end: int, room: int) -> list[int]:
    """Behind those words that content chooses, so that an edit moves no other; every eighth on average."""
    ends = _at(_BETWEEN_WORDS, text, start, end, room)
    return [cut for before, cut in pairwise([start, *ends]) if _is_chosen(text[before:cut].strip())]


def _where_content_chooses(seam: re.Pattern[str], text: str, start: int, end: int, _room: int) -> list[int]:
    """At seams with room before them, and of the others at some eleventh. None in exact repetitions."""
    cuts: list[int] = []
    before, since = start, _APART
    for found in seam.finditer(text, start, end):
        at = found.end()
        chosen = _is_chosen(text[max(start, at - _TOLD_BY_CHARS) : at])
        if at - before >= _FAR_CHARS or (chosen and since >= _APART):
            cuts.append(at)
        before, since = at, 0 if chosen else since + 1
    return cuts


def _now_and_then(seam: re.Pattern[str], text: str, start: int, end: int, room: int) -> list[int]:
    """At seams that are far enough from one another for a piece of some use."""
    return list(_spaced(seam, text, start, end, max(1, room // 2)))


def _spaced(seam: re.Pattern[str], text: str, start: int, end: int, chars: int) -> Iterator[int]:
    last, before = start, start
    for found in seam.finditer(text, start, end):
        if found.end() - last > chars and before > last:
            yield before
            last = before
        before = found.end()
    if before > last and end - last > chars:
        yield before


def _by_width(_text: str, start: int, end: int, room: int) -> list[int]:
    half = (end - start + 1) // 2
    width = max(1, min(room // 2, half))
    return list(range(start + width, end, width))


def _is_chosen(word: str) -> bool:
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % 8 == 0


def _steps(*cuts: Cuts) -> tuple[Step, ...]:
    return tuple(Step(strength, one) for strength, one in enumerate((*cuts, _by_width), 1))


def _vast_steps(*seams: re.Pattern[str]) -> tuple[Step, ...]:
    both = (_where_content_chooses, _now_and_then)
    steps = [Step(n, partial(choose, seam)) for n, seam in enumerate(seams, 1) for choose in both]
    return (*steps, Step(len(seams) + 1, _by_width))


_PROSE_STEPS = _steps(
    partial(_at, _SENTENCES),
    partial(_at, _LINES_OF_PROSE),
    partial(_at, _PHRASES),
    _behind_groups,
    partial(_at, _WORDS),
)
_LINES_STEPS = _steps(partial(_at, _PARTS), partial(_at, _LINES), _behind_groups, partial(_at, _WORDS))
_VAST_PROSE_STEPS = _vast_steps(_SENTENCES, _LINES_OF_PROSE, _PHRASES, _WORDS)
_VAST_LINES_STEPS = _vast_steps(_PARTS, _LINES, _WORDS)
