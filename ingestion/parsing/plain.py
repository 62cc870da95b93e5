"""Plain text: paragraphs by blank lines, nothing else.

Also the last resort of formats whose own parser cannot take a document as it is.
"""

from __future__ import annotations

import re

from ingestion.records import Block, BlockKind, Parsed

# Possessive throughout: a line of a million spaces must be looked at once, not once per space.
_PARAGRAPH = re.compile(r"\S[^\r\n]*+(?:(?>\r\n?|\n)[^\S\r\n]*+\S[^\r\n]*+)*+")


def parse_plain(text: str) -> Parsed:
    """Every stretch of lines that are not blank is a paragraph."""
    return Parsed(text, paragraphs(text, 0, len(text), ()))


def paragraphs(text: str, start: int, end: int, path: tuple[str, ...]) -> list[Block]:
    """The paragraphs within ``text[start:end]``, all under one heading path."""
    return [
        Block(BlockKind.PARAGRAPH, found.start(), found.start() + len(found[0].rstrip()), path)
        for found in _PARAGRAPH.finditer(text, start, end)
    ]
