"""Blocks to units: whole where they fit, else pieces at sentences, lines, phrases, words, characters.

A unit is never cut further by the rule in ``ingestion.cutting``. Code and tables are split at blank
lines and lines before anything else, so that their lines stay whole while a line fits at all.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingestion.records import Block, BlockKind

MAX_CHARS_PER_TOKEN = 16
"""A word of any length may be one unknown token to a model; its length must count nevertheless."""

BETWEEN_BLOCKS = 0
BEHIND_HEADING = 9  # weaker than any other boundary

_WORDS = re.compile(r"\s++")
_WORD_GROUPS = re.compile(r"\s++(?=\S)")  # only those words' ends that _ends_a_group chooses
# Possessive, and entered once for each stretch: a million dots must not be scanned a million times.
_PROSE_SEAMS = (
    re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_`]*+\s++|[。！？]++[”’」』）]*+\s*+"),  # sentences
    re.compile(r"(?>\r\n?|\n)\s*+"),  # lines
    re.compile(r"[,;:]\s++|[，；：、]\s*+"),  # phrases
    _WORD_GROUPS,
    _WORDS,
)
_LINE_SEAMS = (
    re.compile(r"(?>\r\n?|\n)(?:[^\S\r\n]*+(?>\r\n?|\n))++"),  # stretches between blank lines
    re.compile(r"\r\n?|\n"),  # lines
    _WORD_GROUPS,
    _WORDS,
)
_BY_LINES = frozenset((BlockKind.CODE, BlockKind.TABLE))

CountContent = Callable[[Sequence[str]], list[int]]
"""Tokens of each text, special tokens left out."""


@dataclass(slots=True)
class Unit:
    """``strength`` is that of the boundary before it (smaller is cut sooner); ``weight`` is at least the
    tokens it adds to a chunk."""

    start: int
    end: int
    strength: int
    weight: int


@dataclass(slots=True)
class _Piece:
    """A stretch that may yet be split, at the seams of level ``depth`` of its kind."""

    kind: BlockKind
    start: int
    end: int
    strength: int
    room: int
    depth: int = 0


def split_into_units(
    text: str, sections: Sequence[tuple[Sequence[Block], int]], count_content: CountContent
) -> list[list[Unit]]:
    """The units of each section (blocks and the tokens a chunk of theirs has room for), in order.

    Everything that is as yet too long is counted together: one call, and one more for each depth of
    splitting that any block needs.
    """
    blocks = [block for section, _ in sections for block in section]
    weights = _weights(text, [(block.start, block.end) for block in blocks], count_content)
    units: list[Unit] = []
    pieces: list[_Piece] = []
    position = 0
    for section, room in sections:
        own = weights[position : position + len(section)]
        position += len(section)
        for piece, weight in zip(_block_pieces(section, own, room), own, strict=True):
            _settle(text, piece, weight, units, pieces)
    while pieces:
        pending, pieces = pieces, []
        spans = [(piece.start, piece.end) for piece in pending]
        for piece, weight in zip(pending, _weights(text, spans, count_content), strict=True):
            _settle(text, piece, weight, units, pieces)
    return _by_section(units, sections)


def _weights(text: str, spans: Sequence[tuple[int, int]], count_content: CountContent) -> list[int]:
    counts = count_content([text[start:end] for start, end in spans])
    return [
        max(1, tokens, _least_tokens(end - start)) for tokens, (start, end) in zip(counts, spans, strict=True)
    ]


def _least_tokens(chars: int) -> int:
    return -(-chars // MAX_CHARS_PER_TOKEN)


def _block_pieces(blocks: Sequence[Block], weights: Sequence[int], room: int) -> list[_Piece]:
    """The blocks as pieces. What follows a heading must fit beside it, so that no heading is left alone,
    unless headings take more than half of the room."""
    pieces: list[_Piece] = []
    headings = 0
    for block, weight in zip(blocks, weights, strict=True):
        strength = BEHIND_HEADING if headings else BETWEEN_BLOCKS
        left = room - headings if headings <= room // 2 else room
        pieces.append(_Piece(block.kind, block.start, block.end, strength, left))
        headings = headings + weight if block.kind is BlockKind.HEADING else 0
    return pieces


def _settle(text: str, piece: _Piece, weight: int, units: list[Unit], pieces: list[_Piece]) -> None:
    """Make a unit of a piece that fits or cannot be split, and smaller pieces of any other."""
    if weight <= piece.room or piece.end - piece.start == 1:
        units.append(Unit(piece.start, piece.end, piece.strength, weight))
    else:
        pieces.extend(_split(text, piece))


def _split(text: str, piece: _Piece) -> list[_Piece]:
    """Pieces at the next kind of seam; the first keeps the strength of the boundary before it."""
    seams = _LINE_SEAMS if piece.kind in _BY_LINES else _PROSE_SEAMS
    if piece.depth < len(seams):
        cuts = _seam_ends(text, piece, seams[piece.depth])
    else:
        half = (piece.end - piece.start + 1) // 2
        width = max(1, min(piece.room // 2, half))
        cuts = list(range(piece.start + width, piece.end, width))
    pieces: list[_Piece] = []
    for start, end in zip([piece.start, *cuts], [*cuts, piece.end], strict=True):
        span = _without_blank_ends(text, start, end, keep_indent=piece.kind in _BY_LINES)
        if span is not None:
            strength = BETWEEN_BLOCKS + 1 + piece.depth if pieces else piece.strength
            depth = min(piece.depth + 1, len(seams))
            pieces.append(_Piece(piece.kind, *span, strength, piece.room, depth))
    return pieces


def _seam_ends(text: str, piece: _Piece, seam: re.Pattern[str]) -> list[int]:
    ends = [found.end() for found in seam.finditer(text, piece.start, piece.end)]
    if seam is not _WORD_GROUPS:
        return ends
    return [end for start, end in pairwise([piece.start, *ends]) if _ends_a_group(text[start:end].strip())]


def _ends_a_group(word: str) -> bool:
    """Content decides, so that an edit moves no other group; every eighth word on average."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % 8 == 0


def _without_blank_ends(text: str, start: int, end: int, *, keep_indent: bool) -> tuple[int, int] | None:
    stretch = text[start:end]
    end = start + len(stretch.rstrip())
    if end == start:
        return None
    return (start if keep_indent else start + len(stretch) - len(stretch.lstrip())), end


def _by_section(units: list[Unit], sections: Sequence[tuple[Sequence[Block], int]]) -> list[list[Unit]]:
    units.sort(key=lambda unit: unit.start)
    parted: list[list[Unit]] = []
    position = 0
    for blocks, _ in sections:
        end = blocks[-1].end
        first = position
        while position < len(units) and units[position].start < end:
            position += 1
        parted.append(units[first:position])
        _weigh_gaps(parted[-1])
    return parted


def _weigh_gaps(units: list[Unit]) -> None:
    """Blank stretches between units become part of a chunk's text, and so count as length."""
    for unit, following in pairwise(units):
        unit.weight = max(unit.weight, _least_tokens(following.start - unit.start))
