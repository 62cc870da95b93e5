"""Blocks to units: whole where they fit, else pieces at the seams of ``ingestion.seams``.

A unit is never cut further by the rule in ``ingestion.cutting``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingestion.records import Block, BlockKind
from ingestion.seams import Step, keeps_indent, steps_of

MAX_CHARS_PER_TOKEN = 16
"""A word of any length may be one unknown token to a model; its length must count nevertheless."""

BETWEEN_BLOCKS = 0
BEHIND_HEADING = 9  # weaker than any other boundary

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
    """A stretch that may yet be split, by the first of the steps."""

    start: int
    end: int
    strength: int
    room: int
    steps: Sequence[Step]
    keeps_indent: bool


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
        steps, indent = steps_of(block), keeps_indent(block)
        pieces.append(_Piece(block.start, block.end, strength, left, steps, indent))
        headings = headings + weight if block.kind is BlockKind.HEADING else 0
    return pieces


def _settle(text: str, piece: _Piece, weight: int, units: list[Unit], pieces: list[_Piece]) -> None:
    """Make a unit of a piece that fits or cannot be split, and smaller pieces of any other."""
    if weight <= piece.room or piece.end - piece.start == 1:
        units.append(Unit(piece.start, piece.end, piece.strength, weight))
    else:
        pieces.extend(_split(text, piece))


def _split(text: str, piece: _Piece) -> Iterator[_Piece]:
    """Pieces at the seams of its next step; the first keeps the strength of the boundary before it."""
    step, rest = piece.steps[0], piece.steps[1:] or piece.steps
    cuts = step.cuts(text, piece.start, piece.end, piece.room)
    strength = piece.strength
    for start, end in pairwise([piece.start, *cuts, piece.end]):
        span = _without_blank_ends(text, start, end, keep_indent=piece.keeps_indent)
        if span is not None:
            yield _Piece(*span, strength, piece.room, rest, piece.keeps_indent)
            strength = BETWEEN_BLOCKS + step.strength


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
