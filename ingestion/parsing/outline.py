"""Where a block stands: the open headings above it, and the trimming every format shares.

Decides heading paths and the exact ends of blocks. Never looks at what a block means.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ingestion.records import Block, BlockKind, Parsed

NEWLINE = re.compile(r"\r\n?|\n")
DOCUMENT_TITLE = 0  # the level of a title that a document gives itself beside its headings
MAX_TITLE = 500
"""Characters of a heading that stand above what follows it, with each of its chunks. Its line is text, too,
and kept whole; a line without end, underlined by chance, would otherwise be held a hundred times."""


class Outline:
    """The headings open at one point of a document, outermost first."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self.path: tuple[str, ...] = ()

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """Open a heading, closing those of its level and below, and return its path.

        A heading that repeats the document's own title takes its place instead of standing under it. One that
        is longer than MAX_TITLE ends in an ellipsis.
        """
        title = _cut(title)
        while self._open and (self._open[-1][0] >= level or self._open[-1] == (DOCUMENT_TITLE, title)):
            self._open.pop()
        self._open.append((level, title))
        self.path = tuple(title for _, title in self._open)
        return self.path

    def leave(self, level: int) -> None:
        """Close the headings of this level and below: what follows stands under none of them."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self.path = tuple(title for _, title in self._open)


def titled(parsed: Parsed, title: str) -> Parsed:
    """The same under a title that its source gives it, above all headings of its own; a first heading that
    repeats it takes its place."""
    above = _cut(" ".join(title.split()))
    if not above:
        return parsed
    blocks = [
        block
        if block.heading_path[:1] == (above,)
        else replace(block, heading_path=(above, *block.heading_path))
        for block in parsed.blocks
    ]
    return replace(parsed, blocks=blocks)


def _cut(title: str) -> str:
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1].rstrip() + "…"


def line_starts(text: str) -> list[int]:
    r"""Offset of each line, and the length of the text as a last entry.

    Lines end at ``\n``, ``\r\n`` and a lone ``\r`` and nowhere else: form feeds and Unicode line
    separators stay inside a line, as the Markdown parser counts.
    """
    starts = [0]
    starts.extend(newline.end() for newline in NEWLINE.finditer(text))
    if starts[-1] != len(text):
        starts.append(len(text))
    return starts


def block_within(text: str, kind: BlockKind, start: int, end: int, path: tuple[str, ...]) -> Block | None:
    """The block of this stretch without blank ends, or None when nothing is left.

    Code keeps the indentation of its first line, because there it carries meaning.
    """
    stretch = text[start:end]
    end = start + len(stretch.rstrip())
    if end == start:
        return None
    indent = len(stretch) - len(stretch.lstrip())
    if kind is BlockKind.CODE:
        indent = 1 + max(stretch.rfind("\n", 0, indent), stretch.rfind("\r", 0, indent))
    return Block(kind, start + indent, end, path)
