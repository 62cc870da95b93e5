"""Source code and other line-based text: top-level runs of whole lines.

Knows no language: a line at the left margin after a blank line begins a new run, unless it only closes
what came before. Definitions thus stay together with their bodies in nearly every language.
"""

from __future__ import annotations

import re

from ingestion.parsing.outline import block_within
from ingestion.records import Block, BlockKind, Parsed

_BLANK_LINES = re.compile(r"(?:[^\S\r\n]*+(?>\r\n?|\n))*+")
# Entered only behind a character that is no space, so that each blank stretch is scanned once.
_RUN_END = re.compile(r"(?<=\S)[^\S\r\n]*+(?>\r\n?|\n)(?:[^\S\r\n]*+(?>\r\n?|\n))++(?=[^\s\])}])")


def parse_code(text: str) -> Parsed:
    """Runs of whole lines; indentation is kept."""
    first = _BLANK_LINES.match(text)
    starts = [first.end() if first else 0]
    starts.extend(gap.end() for gap in _RUN_END.finditer(text))
    ends = [*starts[1:], len(text)]
    blocks: list[Block] = []
    for start, end in zip(starts, ends, strict=True):
        block = block_within(text, BlockKind.CODE, start, end, ())
        if block is not None:
            blocks.append(block)
    return Parsed(text, blocks)
