"""OpenDocument texts and presentations: headings, paragraphs, lists and tables; slides with their notes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.errors import NotIndexable
from ingestion.parsing.assembly import Assembly, flowed
from ingestion.parsing.documents.archives import Archive, Element, attribute, named
from ingestion.parsing.outline import DOCUMENT_TITLE
from ingestion.records import BlockKind, Parsed

_OFFICE = named("urn:oasis:names:tc:opendocument:xmlns:office:1.0", "body annotation")
_TEXT = named(
    "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "h p s c tab line-break list list-item outline-level tracked-changes note note-citation style-name",
)
_TABLE = named(
    "urn:oasis:names:tc:opendocument:xmlns:table:1.0", "table table-row table-cell number-columns-repeated"
)
_STYLE = named("urn:oasis:names:tc:opendocument:xmlns:style:1.0", "style name parent-style-name")
_TITLE = "Title"
_CONTENT = "content.xml"
_WHOLE = "encrypted-package"  # all of it in one part (LibreOffice, from 24.8 on)
_DRAW = named("urn:oasis:names:tc:opendocument:xmlns:drawing:1.0", "page name frame")
_PRESENTATION = named("urn:oasis:names:tc:opendocument:xmlns:presentation:1.0", "class")
_LEFT_OUT = frozenset((_OFFICE["annotation"], _TEXT["tracked-changes"], _TEXT["note-citation"]))
_SPACES = re.compile(r"[ \t\r\n]+")
_MANY_SPACES = 100
_SLIDE_LEVEL = 1


def parse_odf(archive: Archive) -> Parsed:
    if not archive.encrypted().isdisjoint((_CONTENT, _WHOLE)):
        raise NotIndexable("encrypted: the document asks for a password")
    document = Assembly()
    content = archive.xml(_CONTENT)
    writer = _Writer(document, _titles(content))
    for body in content.iter(_OFFICE["body"]):
        writer.write(body)
    return document.parsed()


def _titles(content: Element) -> frozenset[str]:
    """The styles of titles: the one that is called so, and those that a document derives from it."""
    derived = (
        attribute(one, _STYLE["name"])
        for one in content.iter(_STYLE["style"])
        if attribute(one, _STYLE["parent-style-name"]) == _TITLE
    )
    return frozenset((_TITLE, *derived))


class _Writer:
    def __init__(self, document: Assembly, titles: frozenset[str]) -> None:
        self._document = document
        self._titles = titles
        self._slides = 0

    def write(self, parent: Element, *, in_list: bool = False) -> None:
        document = self._document
        for element in parent:
            if element.tag in _LEFT_OUT:
                continue
            if element.tag == _TEXT["h"]:
                level = attribute(element, _TEXT["outline-level"])
                document.heading(min(int(level), 9) if level.isdigit() else 1, _text(element))
            elif element.tag == _TEXT["p"] and attribute(element, _TEXT["style-name"]) in self._titles:
                document.heading(DOCUMENT_TITLE, _text(element))
            elif element.tag == _TEXT["p"]:
                document.add(BlockKind.LIST_ITEM if in_list else BlockKind.PARAGRAPH, _text(element))
            elif element.tag == _TABLE["table-row"]:
                cells = (flowed(_text(cell)) for cell in element.iterchildren(_TABLE["table-cell"]))
                document.row(" | ".join(filter(None, cells)))
            elif element.tag == _DRAW["page"]:
                self._slide(element)
            elif attribute(element, _PRESENTATION["class"]) == "title":
                document.heading(_SLIDE_LEVEL, _text(element))
            else:
                self.write(element, in_list=in_list or element.tag == _TEXT["list"])

    def _slide(self, page: Element) -> None:
        self._slides += 1
        self._document.at("slide", self._slides)
        self._document.outline.leave(_SLIDE_LEVEL)
        self.write(page)


def _text(element: Element) -> str:
    return "".join(_texts(element))


def _texts(element: Element) -> Iterator[str]:
    yield _collapsed(element.text)
    for one in element:
        if one.tag == _TEXT["s"]:
            times = attribute(one, _TEXT["c"])
            yield " " * (min(int(times), _MANY_SPACES) if times.isdigit() else 1)
        elif one.tag == _TEXT["tab"]:
            yield " "
        elif one.tag == _TEXT["line-break"]:
            yield "\n"
        elif one.tag not in _LEFT_OUT:
            yield from _texts(one)
            if one.tag == _TEXT["p"]:
                yield "\n"
        yield _collapsed(one.tail)


def _collapsed(text: str | None) -> str:
    """Spaces and line breaks of the XML are one space (OpenDocument 1.3, part 3, 6.1.2)."""
    return _SPACES.sub(" ", text) if text else ""
