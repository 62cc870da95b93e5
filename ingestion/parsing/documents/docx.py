"""DOCX: paragraphs and tables in order, headings by style. What was deleted under review is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.parsing.assembly import Assembly, flowed
from ingestion.parsing.documents.archives import Archive, Element, attribute, named
from ingestion.parsing.outline import DOCUMENT_TITLE
from ingestion.records import BlockKind, Parsed

_W = named(
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    """body p tbl tr tc sdt sdtContent pPr pStyle outlineLvl numPr t tab br cr noBreakHyphen del moveFrom val
    style styleId name basedOn footnote endnote type txbxContent ins moveTo customXml smartTag trPr""",
)
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_BOX = _W["txbxContent"]
_LEFT_OUT = frozenset((_W["del"], _W["moveFrom"], _FALLBACK, _W["pPr"]))
_TRANSPARENT = frozenset(_W[name] for name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"))
_SPACES = {_W["tab"]: " ", _W["br"]: "\n", _W["cr"]: "\n", _W["noBreakHyphen"]: "-"}
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_NO_LEVEL = 9  # of nine outline levels, counted from 0: the text's own


def parse_docx(archive: Archive, main: str) -> Parsed:
    parts = dict(archive.relations(main).values())
    styles = _Styles(archive.xml(parts["styles"])) if parts.get("styles", "") in archive else _Styles(None)
    document = Assembly()
    for body in archive.xml(main).iter(_W["body"]):
        _write(document, body, styles)
    for notes in ("footnotes", "endnotes"):
        if parts.get(notes, "") in archive:
            _write_notes(document, archive.xml(parts[notes]))
    return document.parsed()


class _Styles:
    """What paragraph styles say of the outline."""

    def __init__(self, root: Element) -> None:
        self._styles: dict[str, Element] = {}
        if root is not None:
            self._styles = {attribute(one, _W["styleId"]): one for one in root.iter(_W["style"])}

    def level(self, style: str) -> int | None:
        """Of a heading: DOCUMENT_TITLE or from 1 up; None of a paragraph. Styles are based on others."""
        for _ in range(20):
            one = self._styles.get(style)
            name = _value(one, "name") if one is not None else style
            if (found := _HEADING.fullmatch(name)) is not None:
                return int(found[1])
            if name.lower() == "title":
                return DOCUMENT_TITLE
            if one is None:
                return None
            if (level := _value(one, "outlineLvl")).isdigit():
                return int(level) + 1 if int(level) < _NO_LEVEL else None
            style = _value(one, "basedOn")
        return None


def _write(document: Assembly, parent: Element, styles: _Styles) -> None:
    for element in parent:
        if element.tag == _W["p"]:
            _write_paragraph(document, element, styles)
        elif element.tag == _W["tbl"]:
            for row in _within(element, _W["tr"]):
                if row.find(f"{_W['trPr']}/{_W['del']}") is None:
                    cells = (flowed(_text(cell, boxes=True)) for cell in _within(row, _W["tc"]))
                    document.row(" | ".join(filter(None, cells)))
        elif element.tag in _TRANSPARENT:
            _write(document, element, styles)


def _within(parent: Element, tag: str) -> Iterator[Element]:
    """The rows of a table, or the cells of a row, and not those of tables in them."""
    for element in parent:
        if element.tag == tag:
            yield element
        elif element.tag in _TRANSPARENT:
            yield from _within(element, tag)


def _write_paragraph(document: Assembly, paragraph: Element, styles: _Styles) -> None:
    text = _text(paragraph)
    properties = paragraph.find(_W["pPr"])
    level = None
    if properties is not None:
        own = _value(properties, "outlineLvl")
        level = int(own) + 1 if own.isdigit() and int(own) < _NO_LEVEL else None
        level = level or styles.level(_value(properties, "pStyle"))
    if level is not None:
        document.heading(level, text)
    elif properties is not None and properties.find(_W["numPr"]) is not None:
        document.add(BlockKind.LIST_ITEM, text)
    else:
        document.paragraph(text)
    for box in _boxes(paragraph):  # anchored here, and standing anywhere
        _write(document, box, styles)


def _boxes(parent: Element) -> Iterator[Element]:
    for one in parent:
        if one.tag == _BOX:
            yield one
        elif one.tag not in _LEFT_OUT:
            yield from _boxes(one)


def _write_notes(document: Assembly, root: Element) -> None:
    for note in (*root.iter(_W["footnote"]), *root.iter(_W["endnote"])):
        if not attribute(note, _W["type"]):  # those with one are separators
            document.paragraph(" ".join(_text(one) for one in note.iter(_W["p"])))


def _text(element: Element, *, boxes: bool = False) -> str:
    return "".join(_texts(element, boxes))


def _texts(element: Element, boxes: bool) -> Iterator[str]:
    """``boxes``: what stands in text boxes, too."""
    for one in element:
        if one.tag in _LEFT_OUT or (one.tag == _BOX and not boxes):
            continue
        if one.tag == _W["t"]:
            yield one.text or ""
        elif one.tag in _SPACES:
            yield _SPACES[one.tag]
        else:
            yield from _texts(one, boxes)
            if one.tag in (_W["p"], _BOX):
                yield "\n"


def _value(parent: Element, name: str) -> str:
    """The value of the first such property in an element's properties."""
    found = next(parent.iter(_W[name]), None)
    return attribute(found, _W["val"]) if found is not None else ""
