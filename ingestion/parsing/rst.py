"""reStructuredText: its section structure, and blocks by blank lines.

An own recogniser instead of docutils: docutils gives no character offsets, takes fifty times as long, and
has directives that read files. Here a directive is text like any other and never does anything.
Titles are recognised as the reference says: a line of text with an underline
(and perhaps an overline) of one repeated punctuation character at least as long as the title; the
styles get their levels in the order in which they appear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingestion.parsing.outline import Outline, block_within, line_starts
from ingestion.records import Block, BlockKind, Parsed

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+\s*\Z")
_BULLET = re.compile(r"(?:[-*+•‣⁃]|(?:\d{1,4}|[A-Za-z#])[.)]|\((?:\d{1,4}|[A-Za-z#])\))\s")
_GRID_TABLE = re.compile(r"\+[-=+]+\+\s*\Z")
_SIMPLE_TABLE = re.compile(r"=+(?:\s+=+)+\s*\Z")
_CODE_DIRECTIVE = re.compile(r"\.\. (?:code|code-block|sourcecode|parsed-literal|highlight)::")


def parse_rst(text: str) -> Parsed:
    """Blocks of a reStructuredText document."""
    return Parsed(text, _Reader(text).read())


@dataclass(frozen=True, slots=True)
class _Title:
    text: str
    style: str
    lines: int


class _Reader:
    """One pass over the lines of one document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = line_starts(text)
        self._lines = [
            text[start:end].rstrip() for start, end in zip(self._starts, self._starts[1:], strict=False)
        ]
        self._outline = Outline()
        self._styles: list[str] = []
        self._blocks: list[Block] = []

    def read(self) -> list[Block]:
        line = 0
        while line < len(self._lines):
            if not self._lines[line]:
                line += 1
                continue
            title = self._title_at(line)
            line = self._take_paragraph(line) if title is None else self._take_title(title, line)
        return self._blocks

    def _title_at(self, line: int) -> _Title | None:
        first, second, third = (self._line(line + ahead) for ahead in range(3))
        if _ADORNMENT.match(first):
            overlined = second and third[:1] == first[0] and _ADORNMENT.match(third)
            if overlined and len(first) >= len(second.strip()):
                return _Title(second.strip(), first[0] * 2, 3)
            return None
        indented = first[0].isspace()
        if not indented and _ADORNMENT.match(second) and len(second) >= min(len(first), 4):
            return _Title(first, second[0], 2)
        return None

    def _line(self, number: int) -> str:
        return self._lines[number] if number < len(self._lines) else ""

    def _take_title(self, title: _Title, line: int) -> int:
        if title.style not in self._styles:
            self._styles.append(title.style)
        self._outline.enter(self._styles.index(title.style) + 1, " ".join(title.text.split()))
        self._add(BlockKind.HEADING, line, line + title.lines)
        return line + title.lines

    def _take_paragraph(self, line: int) -> int:
        first = self._lines[line]
        end = self._paragraph_end(line)
        if _CODE_DIRECTIVE.match(first.strip()):
            end = self._indented_end(line + 1, _indent(first))
            self._add(BlockKind.CODE, line, end)
            return end
        self._add(self._kind(first), line, end)
        if self._lines[end - 1].endswith("::"):
            literal_end = self._indented_end(end, _indent(self._lines[end - 1]))
            self._add(BlockKind.CODE, end, literal_end)
            return literal_end
        return end

    def _kind(self, first: str) -> BlockKind:
        first = first.strip()
        if _GRID_TABLE.match(first) or _SIMPLE_TABLE.match(first):
            return BlockKind.TABLE
        if _BULLET.match(first):
            return BlockKind.LIST_ITEM
        return BlockKind.PARAGRAPH

    def _paragraph_end(self, line: int) -> int:
        end = line + 1
        while self._line(end) and not _BULLET.match(self._lines[end].lstrip()):
            end += 1
        return end

    def _indented_end(self, line: int, indent: int) -> int:
        """The line behind the last of those that are blank or indented deeper than ``indent``."""
        end = line
        while line < len(self._lines):
            if self._lines[line]:
                if _indent(self._lines[line]) <= indent:
                    break
                end = line + 1
            line += 1
        return end

    def _add(self, kind: BlockKind, first: int, last: int) -> None:
        start, end = self._starts[first], self._starts[last]
        block = block_within(self._text, kind, start, end, self._outline.path)
        if block is not None:
            self._blocks.append(block)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
