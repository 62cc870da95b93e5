"""Markdown: CommonMark with tables and front matter, by markdown-it-py.

Only the parser's block rules run: chunks are cut between blocks, so what stands inside a line does not
matter, and the inline rules take most of the time. Nested lists and quotes flatten to their leaf
blocks. Only headings outside of quotes and lists open sections. Reference definitions and HTML blocks
are kept as paragraphs, because their text can be searched for.

Two things that the parser cannot do in reasonable time are kept from it: very many very short lines
(it costs 10 microseconds a line whatever the line holds) are read as plain text, and a document with
more than 100,000 pipes is read without the table rule.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from ingestion.parsing.outline import DOCUMENT_TITLE, Outline, block_within, line_starts
from ingestion.parsing.plain import paragraphs, parse_plain
from ingestion.records import Block, BlockKind, Parsed

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_LINES_ALWAYS_FINE = 50_000
_MAX_LINES = 400_000  # 16 MiB of prose: 4 s and 250 MB
_MIN_MEAN_LINE_CHARS = 10
_MAX_PIPES = 100_000

_KINDS = {
    "paragraph_open": BlockKind.PARAGRAPH,
    "heading_open": BlockKind.PARAGRAPH,
    "html_block": BlockKind.PARAGRAPH,
    "front_matter": BlockKind.PARAGRAPH,
    "fence": BlockKind.CODE,
    "code_block": BlockKind.CODE,
    "table_open": BlockKind.TABLE,
}
_TITLE = re.compile(r"^title\s*:\s*(.+?)\s*$", re.MULTILINE)
_MARKERS_ONLY = re.compile(r"[\s>*+\-_=#~`:|]*+\Z")


def parse_markdown(text: str) -> Parsed:
    """Blocks of a Markdown text. A front matter's title stands above all headings of the document."""
    starts = line_starts(text)
    if _too_many_lines(len(starts), len(text)):
        return parse_plain(text)
    tokens = _parser(tables=text.count("|") <= _MAX_PIPES).parse(text)
    return Parsed(text, _with_gaps_filled(text, _leaves(text, starts, tokens)))


def _too_many_lines(lines: int, chars: int) -> bool:
    if lines <= _LINES_ALWAYS_FINE:
        return False
    return lines > _MAX_LINES or chars < lines * _MIN_MEAN_LINE_CHARS


@functools.cache
def _parser(*, tables: bool) -> MarkdownIt:
    """The shared parser. Parsing keeps all state in the call, except for the rule chains, which are
    compiled on first use without a lock: hence the warm-up before anybody else can see it."""
    from markdown_it import MarkdownIt  # 80 ms to import
    from mdit_py_plugins.front_matter import front_matter_plugin

    parser = MarkdownIt("commonmark").use(front_matter_plugin).disable("reference")
    if tables:
        parser.enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.parse("- > a\n\n|a|\n|-|\n|b|\n")
    return parser


def _leaves(text: str, starts: list[int], tokens: list[Token]) -> list[Block]:
    """The blocks that hold text themselves, in order."""
    outline = Outline()
    blocks: list[Block] = []
    list_depth = 0
    for position, token in enumerate(tokens):
        if token.type == "list_item_open":
            list_depth += 1
        elif token.type == "list_item_close":
            list_depth -= 1
        kind = _KINDS.get(token.type)
        if kind is None or token.map is None:
            continue
        if token.type == "heading_open":
            title = " ".join(tokens[position + 1].content.split())
            if not title:
                continue
            if token.level == 0:
                kind = BlockKind.HEADING
                outline.enter(int(token.tag[1:]), title)
        elif token.type == "front_matter":
            _enter_title(outline, token.content)
        if list_depth and kind is BlockKind.PARAGRAPH:
            kind = BlockKind.LIST_ITEM
        first, last = token.map
        block = block_within(text, kind, starts[first], starts[min(last, len(starts) - 1)], outline.path)
        if block is not None:
            blocks.append(block)
    return blocks


def _enter_title(outline: Outline, front_matter: str) -> None:
    found = _TITLE.search(front_matter)
    title = found[1].strip("\"'").strip() if found else ""
    if title:
        outline.enter(DOCUMENT_TITLE, title)


def _with_gaps_filled(text: str, blocks: list[Block]) -> list[Block]:
    """Blocks for what the parser passed over (the tail of nesting deeper than 20), if it has words."""
    filled: list[Block] = []
    done = 0
    path: tuple[str, ...] = ()
    for block in blocks:
        if block.start > done and not _MARKERS_ONLY.match(text, done, block.start):
            filled.extend(paragraphs(text, done, block.start, path))
        filled.append(block)
        done, path = block.end, block.heading_path
    if not _MARKERS_ONLY.match(text, done):
        filled.extend(paragraphs(text, done, len(text), path))
    return filled
