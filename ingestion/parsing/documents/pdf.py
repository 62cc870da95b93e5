"""PDF, by PDFium: from pages to lines, from lines to headings, paragraphs and rows.

PDFium gives characters in the order they were drawn, and where. ``pdf_lines`` makes lines of them, in
reading order and without what every page repeats; here they become blocks, by size, weight and distance.
A paragraph that goes on on the next page is one block, so that a reflow moves places and changes no text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ingestion.errors import Scanned
from ingestion.parsing.assembly import Assembly
from ingestion.parsing.documents import TOLD
from ingestion.parsing.documents.pdf_lines import Line, Picture, read_lines
from ingestion.records import BlockKind, Parsed

_LARGER = 1.12  # than the body: a heading
_LONGEST_HEADING = 200
_LONGEST_BOLD_HEADING = 100
_MOST_BOLD = 0.3  # of the lines; where there are more, bold means nothing
_CLOSE = 1.4  # of the usual distance: lines of one paragraph
_BULLET = re.compile(r"(?:[•▪●○◦‣∙·*–-]|\(?(?:\d{1,3}|[a-zA-Z])[.)])\s+\S")
_ENDS = tuple(".!?:;”\"')")
_WORD_BROKEN = re.compile(r"[^\W\d_][-\u00ad\x02\ufffe]")


def parse(body: bytes) -> Parsed:
    return _Layout(read_lines(body)).assembled()


def parser(argument: str) -> Callable[[bytes], Parsed]:
    """One that raises Scanned as soon as a page is a picture, or one that reads pictures (see ``Ocr``)."""
    if argument == TOLD:
        return lambda body: _Layout(read_lines(body, _told)).assembled()
    from ingestion.parsing.documents.scans import Tesseract

    languages, _, program = argument.partition(":")
    return lambda body: _Layout(read_lines(body, Tesseract(program, languages))).assembled()


def _told(picture: Picture) -> list[Line]:
    raise Scanned(f"scanned: page {picture.page} is a picture")


class _Layout:
    """What sizes and distances mean in one document."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        sizes = Counter[float]()
        for line in lines:
            sizes[_rounded(line.size)] += len(line.text)
        self._body = sizes.most_common(1)[0][0] if sizes else 0.0
        larger = sorted({_rounded(one.size) for one in lines if self._is_large(one)}, reverse=True)
        self._levels = {size: min(level, 5) for level, size in enumerate(larger, 1)}
        bold = sum(self._is_bold_title(one) and not self._is_large(one) for one in lines)
        self._bold_level = min(len(larger) + 1, 6) if bold <= _MOST_BOLD * len(lines) else None
        self._distance = self._usual_distance()

    def assembled(self) -> Parsed:
        document = Assembly()
        for kind, level, lines in self._groups():
            document.at("page", lines[0].page)
            if kind is BlockKind.HEADING:
                document.heading(level, " ".join(one.text for one in lines))
            elif kind is BlockKind.TABLE:
                document.row(" | ".join(lines[0].cells))
            else:
                self._write(document, kind, lines)
        return document.parsed()

    def _write(self, document: Assembly, kind: BlockKind, lines: Sequence[Line]) -> None:
        for position, (page, text) in enumerate(_by_page(lines)):
            document.at("page", page)
            if position == 0:
                document.add(kind, text)
            else:
                document.more(text)

    def _groups(self) -> Iterator[tuple[BlockKind, int, list[Line]]]:
        """Lines that belong together, with what they are."""
        group: list[Line] = []
        kind, level = BlockKind.PARAGRAPH, 0
        for number, line in enumerate(self._lines):
            own_kind, own_level = self._kind(number)
            if group and self._goes_on(kind, level, group[-1], line, own_kind, own_level):
                group.append(line)
                continue
            if group:
                yield kind, level, group
            group, kind, level = [line], own_kind, own_level
        if group:
            yield kind, level, group

    def _kind(self, number: int) -> tuple[BlockKind, int]:
        line = self._lines[number]
        if self._in_table(number):
            return BlockKind.TABLE, 0
        if self._is_large(line):
            return BlockKind.HEADING, self._levels[_rounded(line.size)]
        if self._bold_level is not None and self._is_bold_title(line):
            return BlockKind.HEADING, self._bold_level
        return (BlockKind.LIST_ITEM if _BULLET.match(line.text) else BlockKind.PARAGRAPH), 0

    def _in_table(self, number: int) -> bool:
        """Two lines of several cells in a row are rows; a single one may be a date beside a title."""
        lines = self._lines
        if len(lines[number].cells) < 2:
            return False
        beside = [lines[at] for at in (number - 1, number + 1) if 0 <= at < len(lines)]
        return any(len(one.cells) > 1 and one.page == lines[number].page for one in beside)

    def _goes_on(
        self, kind: BlockKind, level: int, last: Line, line: Line, own_kind: BlockKind, own_level: int
    ) -> bool:
        if kind is BlockKind.HEADING:
            return own_kind is kind and own_level == level and self._is_close(last, line)
        if kind is BlockKind.TABLE or own_kind is not BlockKind.PARAGRAPH:
            return False
        if last.page != line.page:
            return _is_unfinished(last, line)
        if abs(last.size - line.size) > 0.1 * last.size or not self._is_close(last, line):
            return False
        if line.left > last.left + last.size and kind is BlockKind.PARAGRAPH:
            return False  # indented: a new paragraph
        short = last.right < line.right - 4 * last.size
        return not (short and last.text.endswith(_ENDS))

    def _is_close(self, last: Line, line: Line) -> bool:
        """Below, and no further than lines of this size usually are."""
        if last.page != line.page:
            return False
        distance = last.bottom - line.bottom
        return -0.2 * last.size < distance <= _CLOSE * max(self._distance * last.size, last.size * 0.9)

    def _usual_distance(self) -> float:
        """From line to line, in sizes: the smallest of the frequent ones; paragraphs are further apart."""
        seen = Counter[float]()
        for last, line in zip(self._lines, self._lines[1:], strict=False):
            distance = (last.bottom - line.bottom) / last.size
            in_rows = len(last.cells) > 1 or len(line.cells) > 1
            if last.page == line.page and 0.5 < distance < 2.5 and not in_rows:
                seen[round(distance, 1)] += 1
        often = max(seen.values(), default=0) / 5
        return min((distance for distance, times in seen.items() if times >= often), default=1.2)

    def _is_large(self, line: Line) -> bool:
        short = len(line.text) <= _LONGEST_HEADING
        return short and line.size >= _LARGER * self._body and any(map(str.isalpha, line.text))

    def _is_bold_title(self, line: Line) -> bool:
        if not line.bold or len(line.text) > _LONGEST_BOLD_HEADING or len(line.cells) > 1:
            return False
        return line.size >= 0.95 * self._body and not line.text.endswith((".", ",", ";"))


def _is_unfinished(last: Line, line: Line) -> bool:
    """Whether a paragraph goes on at the top of the next page."""
    if _ends_broken(last.text):
        return True
    return not last.text.endswith(_ENDS) and not line.text[:1].isupper()


def _by_page(lines: Sequence[Line]) -> Iterator[tuple[int, str]]:
    """The running text of a paragraph's lines, page by page."""
    page, text = lines[0].page, ""
    for line in lines:
        if line.page != page:
            yield page, text
            page, text = line.page, ""
        text = _joined(text, line.text)
    yield page, text


def _joined(text: str, more: str) -> str:
    if not text:
        return more
    if _ends_broken(text) and more[:1].islower():
        return text[:-1] + more
    return f"{text} {more}"


def _ends_broken(text: str) -> bool:
    """Looks at the end alone: a paragraph is asked this for each of its lines."""
    return _WORD_BROKEN.fullmatch(text[-2:]) is not None


def _rounded(size: float) -> float:
    return round(2 * size) / 2
