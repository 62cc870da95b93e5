"""HTML: the main text and the headings, as a new text of their own.

Offsets count characters of the extracted text. Scripts, styles, navigation, asides and a page's header
and footer are dropped; where a page marks its main part, only that (and the page's title) is kept.
The markup is read as a stream of events, so that no depth of nesting costs stack.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from ingestion.parsing.outline import DOCUMENT_TITLE, Outline
from ingestion.parsing.plain import paragraphs
from ingestion.records import Block, BlockKind, Parsed

_DROPPED = frozenset(
    """script style template noscript nav aside svg iframe object canvas select button math audio
    video""".split()  # noqa: SIM905 - one element a line would take a screen
)
_PAGE_FRAME = frozenset(("header", "footer"))  # of the page, unless they stand in its main part
_MAIN = frozenset(("main", "article"))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_KINDS = {
    "li": BlockKind.LIST_ITEM,
    "dd": BlockKind.LIST_ITEM,
    "pre": BlockKind.CODE,
    "tr": BlockKind.TABLE,
    "title": BlockKind.HEADING,
} | dict.fromkeys(_HEADINGS, BlockKind.HEADING)
_BLOCKS = frozenset(
    """address article blockquote body caption center dd details dialog div dl dt fieldset figcaption figure
    footer form header hr html legend li main ol p pre section summary table tr ul title
    h1 h2 h3 h4 h5 h6""".split()  # noqa: SIM905
)
_IN_CELL = frozenset(("p", "div"))  # these do not break a table's row
_CELLS = frozenset(("td", "th"))
_LINE_BREAK = "\x0b"  # stands for <br>, because newlines in markup are mere spaces

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
_CLOSED_BY_OTHERS = frozenset(
    """area base br col embed hr img input link meta source track wbr
    p li td th tr dt dd option tbody thead tfoot""".split()  # noqa: SIM905
)
_MAX_CLOSING_STEPS = 500_000_000


def parse_html(text: str) -> Parsed:
    """Text and blocks of a page. Markup that is broken is mended as browsers do, roughly."""
    if _closes_too_deep(text):
        return _without_markup(text)
    from lxml import etree  # 20 ms to import

    extractor = _Extractor()
    parser = etree.HTMLParser(
        target=extractor, encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True
    )
    # Bytes, not str: a declared encoding inside a str is an error to the parser.
    parser.feed(text.encode("utf-8", "replace"))
    pieces: list[_Piece] = parser.close()
    return _assembled(pieces)


def _closes_too_deep(text: str) -> bool:
    """Whether the parser would take minutes: each end tag may walk the whole stack of open elements."""
    closing = text.count("</")
    if (text.count("<") - closing) * closing <= _MAX_CLOSING_STEPS:
        return False
    depth = deepest = 0
    for tag in _TAG.finditer(text):
        if tag[2].lower() not in _CLOSED_BY_OTHERS:
            depth = max(0, depth - 1) if tag[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest * closing > _MAX_CLOSING_STEPS


def _without_markup(text: str) -> Parsed:
    bare = html.unescape(re.sub(r"<[^<>]*>", " ", text)).replace("\0", "\ufffd")
    return Parsed(bare, paragraphs(bare, 0, len(bare), ()))


@dataclass(frozen=True, slots=True)
class _Piece:
    """The text of one element. ``table`` numbers the table that a row belongs to."""

    kind: BlockKind
    text: str
    level: int
    table: int
    in_main: bool


class _Extractor:
    """Receives the parser's events and keeps the text of the elements that are not dropped."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._words: list[str] = []
        self._open: list[str] = []  # the elements that decide the kind of the text in them
        self._dropped = 0
        self._main = 0
        self._tables = 0

    def start(self, tag: Any, attributes: Any) -> None:
        if self._dropped or self._drops(tag):
            self._dropped += 1
            return
        if tag in _MAIN:
            self._flush()
            self._main += 1
        if tag == "br":
            self._words.append("\n" if "pre" in self._open[-1:] else _LINE_BREAK)
        elif tag in _CELLS:
            self._words.append(" | " if self._words else "")
        elif self._breaks(tag):
            self._flush()
        if tag == "table":
            self._tables += 1
        if tag in _KINDS:
            self._open.append(tag)

    def end(self, tag: Any) -> None:
        if self._dropped:
            self._dropped -= 1
            return
        if self._breaks(tag):
            self._flush()
        elif tag in _IN_CELL:
            self._words.append(" ")
        if self._open and self._open[-1] == tag:
            self._open.pop()
        if tag in _MAIN:
            self._main -= 1

    def data(self, text: str) -> None:
        if not self._dropped:
            self._words.append(text)

    def close(self) -> list[_Piece]:
        self._flush()
        return self._pieces

    def _drops(self, tag: Any) -> bool:
        return not isinstance(tag, str) or tag in _DROPPED or (tag in _PAGE_FRAME and not self._main)

    def _breaks(self, tag: str) -> bool:
        if self._open and self._open[-1] == "tr" and tag in _IN_CELL:
            return False
        return tag in _BLOCKS

    def _flush(self) -> None:
        text = "".join(self._words)
        self._words.clear()
        inside = self._open[-1] if self._open else ""
        text = _preformatted(text) if inside == "pre" else _flowed(text)
        if inside == "tr":
            text = text.strip(" |")
        if text:
            kind = _KINDS.get(inside, BlockKind.PARAGRAPH)
            level = _HEADINGS.get(inside, DOCUMENT_TITLE)
            main = self._main > 0 or inside == "title"
            self._pieces.append(_Piece(kind, text, level, self._tables, main))


def _flowed(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split(_LINE_BREAK))
    return "\n".join(line for line in lines if line).replace("\0", "\ufffd")


def _preformatted(text: str) -> str:
    return text.strip("\r\n").rstrip().replace("\0", "\ufffd")


def _assembled(pieces: list[_Piece]) -> Parsed:
    """One text of all pieces, and their blocks; rows that follow one another make one table."""
    if any(piece.in_main and piece.kind is not BlockKind.HEADING for piece in pieces):
        pieces = [piece for piece in pieces if piece.in_main]
    if _title_is_said_again(pieces):
        pieces = pieces[1:]
    outline = Outline()
    parts: list[str] = []
    blocks: list[Block] = []
    length = 0
    previous: _Piece | None = None
    for piece in pieces:
        if piece.kind is BlockKind.HEADING:
            outline.enter(piece.level, " ".join(piece.text.split()))
        same_table = previous is not None and _same_table(previous, piece)
        separator = "" if previous is None else "\n" if same_table else "\n\n"
        start = length + len(separator)
        length = start + len(piece.text)
        parts += (separator, piece.text)
        if same_table:
            blocks[-1] = Block(piece.kind, blocks[-1].start, length, outline.path)
        else:
            blocks.append(Block(piece.kind, start, length, outline.path))
        previous = piece
    return Parsed("".join(parts), blocks)


def _title_is_said_again(pieces: list[_Piece]) -> bool:
    """Most pages head their text with their title: it would make a passage without a word in it."""
    if len(pieces) < 2:
        return False
    title, heading = pieces[:2]
    both_head = title.kind is heading.kind is BlockKind.HEADING
    return both_head and title.level == DOCUMENT_TITLE and title.text.split() == heading.text.split()


def _same_table(one: _Piece, other: _Piece) -> bool:
    return one.kind is other.kind is BlockKind.TABLE and one.table == other.table
