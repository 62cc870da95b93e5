"""PPTX: slides in their order, each under its title, with its notes."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.parsing.assembly import Assembly, flowed
from ingestion.parsing.documents.archives import Archive, Element, attribute, named
from ingestion.records import BlockKind, Parsed

_P = named(
    "http://schemas.openxmlformats.org/presentationml/2006/main", "sldId sp grpSp graphicFrame ph spTree cSld"
)
_A = named("http://schemas.openxmlformats.org/drawingml/2006/main", "p r t br fld tbl tr tc")
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_TITLES = ("title", "ctrTitle")
_OF_EVERY_SLIDE = ("sldNum", "dt", "ftr", "hdr", "sldImg")
_SLIDE_LEVEL = 1


def parse_pptx(archive: Archive, main: str) -> Parsed:
    document = Assembly()
    slides = archive.relations(main)
    numbered = (slides.get(attribute(one, _ID), ("", ""))[1] for one in archive.xml(main).iter(_P["sldId"]))
    for number, name in enumerate(numbered, 1):
        if name not in archive:
            continue
        document.at("slide", number)
        document.outline.leave(_SLIDE_LEVEL)
        _write_slide(document, archive.xml(name))
        for kind, part in archive.relations(name).values():
            if kind == "notesSlide" and part in archive:
                for shape in archive.xml(part).iter(_P["sp"]):
                    _write_shape(document, shape, in_notes=True)
    return document.parsed()


def _write_slide(document: Assembly, slide: Element) -> None:
    shapes = [one for tree in slide.iter(_P["spTree"]) for one in tree.iter(_P["sp"], _P["graphicFrame"])]
    shapes.sort(key=lambda shape: _kind(shape) not in _TITLES)  # the title first, wherever it was drawn
    for shape in shapes:
        if _kind(shape) in _TITLES:
            document.heading(_SLIDE_LEVEL, " ".join(_paragraphs(shape)))
        else:
            _write_shape(document, shape)


def _write_shape(document: Assembly, shape: Element, *, in_notes: bool = False) -> None:
    if _kind(shape) in _OF_EVERY_SLIDE or (in_notes and _kind(shape) != "body"):
        return
    rows = list(shape.iter(_A["tr"]))
    for row in rows:
        cells = (flowed(" ".join(_paragraphs(cell))) for cell in row.iter(_A["tc"]))
        document.row(" | ".join(filter(None, cells)))
    if not rows:
        for text in _paragraphs(shape):
            document.add(BlockKind.PARAGRAPH if in_notes else BlockKind.LIST_ITEM, text)


def _kind(shape: Element) -> str:
    """The placeholder that a shape fills; '' where it is none."""
    found = next(shape.iter(_P["ph"]), None)
    return attribute(found, "type") or "body" if found is not None else ""


def _paragraphs(shape: Element) -> Iterator[str]:
    for paragraph in shape.iter(_A["p"]):
        texts = ("\n" if one.tag == _A["br"] else one.text or "" for one in paragraph.iter(_A["t"], _A["br"]))
        yield "".join(texts)
