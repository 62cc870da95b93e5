"""Puts the text of a document together from its parts: headings, paragraphs, rows, and where they stand.

For formats that have no text of their own to point into. Control characters and halves of surrogate
pairs never get through.
"""

from __future__ import annotations

import re

from ingestion.parsing.outline import Outline
from ingestion.records import Block, BlockKind, Mark, Parsed

_UNWANTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_ROW_TO_ROW = "\n"
_BLOCK_TO_BLOCK = "\n\n"
MANY_ROWS = 100_000
"""In a document; further rows are no blocks of their own, which would take more than their text does."""
_TOGETHER = 10  # of those have one place


def clean(text: str) -> str:
    """Without what no text should hold; line breaks are line feeds."""
    return _UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def flowed(text: str) -> str:
    """On one line, with single spaces."""
    return " ".join(clean(text).split())


class Assembly:
    """A document in the making. ``within`` is what places are counted in: a sheet, an attachment."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._marks: list[Mark] = []
        self._mark: tuple[str, str, int] | None = None
        self._rows = 0

    @property
    def length(self) -> int:
        """Characters so far."""
        return self._length

    def at(self, unit: str, number: int, within: str = "") -> None:
        """What is added next stands there."""
        self._mark = (within, unit, number)

    def heading(self, level: int, title: str) -> None:
        title = flowed(title)
        if title:
            self.outline.enter(level, title)
            self.add(BlockKind.HEADING, title)

    def paragraph(self, text: str) -> None:
        self.add(BlockKind.PARAGRAPH, text)

    def row(self, cells: str) -> None:
        self._rows += 1
        if self._rows > MANY_ROWS and self._blocks[-1].kind is BlockKind.TABLE and cells.strip():
            if self._mark is not None and self._mark[2] % _TOGETHER:
                self._mark = None
            self.more(cells, _ROW_TO_ROW)
        else:
            self.add(BlockKind.TABLE, cells)

    def add(self, kind: BlockKind, text: str) -> None:
        """A block of its own; nothing where the text is blank."""
        text = clean(text)
        text = text.strip("\n").rstrip() if kind is BlockKind.CODE else text.strip()
        if not text.strip():
            return
        if self._blocks:
            both_rows = kind is BlockKind.TABLE is self._blocks[-1].kind
            self._append(_ROW_TO_ROW if both_rows else _BLOCK_TO_BLOCK)
        self._set_mark()
        start = self._length
        self._append(text)
        self._blocks.append(Block(kind, start, self._length, self.outline.path))

    def more(self, text: str, joint: str = " ") -> None:
        """Goes on with the last block, which stands somewhere else from here."""
        last = self._blocks[-1]
        self._append(joint)
        self._set_mark()
        self._append(clean(text).strip())
        self._blocks[-1] = Block(last.kind, last.start, self._length, last.heading_path)

    def include(self, parsed: Parsed, within: str = "") -> None:
        """Another document's blocks, under the headings open here; its places get ``within`` first."""
        if not parsed.blocks:
            return
        if self._blocks:
            self._append(_BLOCK_TO_BLOCK)
        start, above = self._length, self.outline.path
        self._append(parsed.text)
        self._blocks += [
            Block(one.kind, start + one.start, start + one.end, (*above, *one.heading_path))
            for one in parsed.blocks
        ]
        for mark in parsed.marks:
            inside = ", ".join(filter(None, (within, mark.within)))
            self._marks.append(Mark(start + mark.start, inside, mark.unit, mark.number))

    def parsed(self) -> Parsed:
        return Parsed("".join(self._parts), self._blocks, marks=self._marks)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _set_mark(self) -> None:
        if self._mark is None:
            return
        mark = Mark(self._length, *self._mark)
        last = self._marks[-1] if self._marks else None
        if last is None or (last.within, last.unit, last.number) != self._mark:
            self._marks.append(mark)
