"""EPUB: the chapters in reading order, each read as the page that it is."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from lxml import etree  # noqa: F401 - the parser of pages loads it when it can no longer open a file

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing.assembly import Assembly
from ingestion.parsing.documents.archives import Archive, Element, attribute, named
from ingestion.parsing.html import parse_html
from ingestion.parsing.outline import DOCUMENT_TITLE
from ingestion.records import Parsed

_CONTAINER = named("urn:oasis:names:tc:opendocument:xmlns:container", "rootfile")
_OPF = named("http://www.idpf.org/2007/opf", "item itemref")
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_PAGES = ("application/xhtml+xml", "text/html")


def parse_epub(archive: Archive) -> Parsed:
    package = _package_name(archive)
    root = archive.xml(package)
    document = Assembly()
    title = next(root.iter(_TITLE), None)
    document.heading(DOCUMENT_TITLE, "".join(title.itertext()) if title is not None else "")
    encrypted = archive.encrypted()
    for name in _chapters(root, posixpath.dirname(package)):
        if name in encrypted:  # not fonts, which are often made illegible
            raise NotIndexable("encrypted: the book is protected against copies")
        if name in archive:
            document.include(parse_html(archive.read(name).decode("utf-8", "replace")))
    return document.parsed()


def _package_name(archive: Archive) -> str:
    for one in archive.xml("META-INF/container.xml").iter(_CONTAINER["rootfile"]):
        return attribute(one, "full-path")
    raise DocumentUnparsable("its container names no package")


def _chapters(root: Element, folder: str) -> Iterator[str]:
    items = {attribute(one, "id"): one for one in root.iter(_OPF["item"])}
    for reference in root.iter(_OPF["itemref"]):
        item = items.get(attribute(reference, "idref"))
        if item is not None and attribute(item, "media-type") in _PAGES:
            yield posixpath.normpath(posixpath.join(folder, unquote(attribute(item, "href"))))
