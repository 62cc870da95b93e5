"""OpenDocument texts and presentations: headings, paragraphs, lists and tables; slides with their notes."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.parsing.assembly import Assembly, flowed
from ingestion.parsing.documents.archives import Archive, Element, attribute, named
from ingestion.records import BlockKind, Parsed

_OFFICE = named("urn:oasis:names:tc:opendocument:xmlns:office:1.0", "body annotation")
_TEXT = named(
    "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "h p s c tab line-break list list-item outline-level tracked-changes note note-citation",
)
_TABLE = named(
    "urn:oasis:names:tc:opendocument:xmlns:table:1.0", "table table-row table-cell number-columns-repeated"
)
_DRAW = named("urn:oasis:names:tc:opendocument:xmlns:drawing:1.0", "page name frame")
_PRESENTATION = named("urn:oasis:names:tc:opendocument:xmlns:presentation:1.0", "class")
_LEFT_OUT = frozenset((_OFFICE["annotation"], _TEXT["tracked-changes"], _TEXT["note-citation"]))
_MANY_SPACES = 100
_SLIDE_LEVEL = 1


def parse_odf(archive: Archive) -> Parsed:
    document = Assembly()
    writer = _Writer(document)
    for body in archive.xml("content.xml").iter(_OFFICE["body"]):
        writer.write(body)
    return document.parsed()


class _Writer:
    def __init__(self, document: Assembly) -> None:
        self._document = document
        self._slides = 0

    def write(self, parent: Element, *, in_list: bool = False) -> None:
        document = self._document
        for element in parent:
            if element.tag in _LEFT_OUT:
                continue
            if element.tag == _TEXT["h"]:
                level = attribute(element, _TEXT["outline-level"])
                document.heading(min(int(level), 9) if level.isdigit() else 1, _text(element))
            elif element.tag == _TEXT["p"]:
                document.add(BlockKind.LIST_ITEM if in_list else BlockKind.PARAGRAPH, _text(element))
            elif element.tag == _TABLE["table-row"]:
                cells = (flowed(_text(cell)) for cell in element.iter(_TABLE["table-cell"]))
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
    yield element.text or ""
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
        yield one.tail or ""
