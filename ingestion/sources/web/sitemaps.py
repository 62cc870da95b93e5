"""Sitemaps and their indexes (sitemaps.org), gzip or not: bytes to URLs. Pure, and bounded.

What is no sitemap from its first byte to its last is refused: a part of one, or a page that is sent in its
place, would say of every page that it does not name that it is gone.
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxml import etree

from ingestion.sources.web.packing import Unpacking

MAX_BYTES = 50 * 1024 * 1024  # of one, unpacked: what the protocol allows
MAX_URLS = 50_000
_MAX_ELEMENTS = 20 * MAX_URLS
_GZIP = b"\x1f\x8b"
_KINDS = {"urlset": "url", "sitemapindex": "sitemap"}  # its outermost element, and those that hold a loc


class NoSitemap(ValueError):
    """The bytes are no sitemap, or more than one may be."""


@dataclass(frozen=True, slots=True)
class Sitemap:
    """``urls`` of pages, or of further sitemaps where it is an index."""

    urls: Sequence[str]
    is_index: bool


def parse_sitemap(body: bytes) -> Sitemap:
    """Raises NoSitemap. A list of one URL a line is one, too."""
    body = _unpacked(body)
    if not body.strip():
        raise NoSitemap("it is empty")
    if _is_xml(body):
        return _xml(body)
    if b"\0" in body:
        raise NoSitemap("it is neither XML nor a list of URLs")
    lines = [line.strip() for line in body.decode("utf-8-sig", "replace").splitlines()]
    urls = _checked(line for line in lines if line)
    if not all(url.startswith(("http://", "https://")) for url in urls):
        raise NoSitemap("it is neither XML nor a list of URLs")
    return Sitemap(urls, False)


def _is_xml(body: bytes) -> bool:
    wide = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return body.startswith(wide) or body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")


def _xml(body: bytes) -> Sitemap:
    kind = ""

    def locs() -> Iterator[str]:
        nonlocal kind
        for name, inside, text in _elements(body):
            if not inside:
                kind = name
            elif name == "loc" and inside in _KINDS.values() and text:
                yield f"{inside} {text}"

    try:
        told = [one.partition(" ") for one in _checked(locs())]
    except etree.XMLSyntaxError as error:
        raise NoSitemap(f"it is no XML ({error})") from None
    if kind not in _KINDS:
        raise NoSitemap(f"it is no sitemap: its outermost element is <{kind}>")
    return Sitemap([url for inside, _, url in told if inside == _KINDS[kind]], kind == "sitemapindex")


def _elements(body: bytes) -> Iterator[tuple[str, str, str]]:
    """Name, name of the element around it, and text, of every element as it ends; none of them is kept."""
    read = etree.iterparse(
        io.BytesIO(body), events=("end",), resolve_entities=False, no_network=True, load_dtd=False
    )
    for number, (_, element) in enumerate(read):
        if number > _MAX_ELEMENTS:
            raise NoSitemap(f"it holds more than {_MAX_ELEMENTS:,} elements")
        parent = element.getparent()
        if _name(element) == "loc" and len(element):
            raise NoSitemap("a URL in it is no plain text")
        yield _name(element), "" if parent is None else _name(parent), (element.text or "").strip()
        element.clear()
        while element.getprevious() is not None and parent is not None:
            del parent[0]


def _name(element: etree._Element) -> str:
    return str(etree.QName(element).localname) if isinstance(element.tag, str) else ""


def _checked(urls: Iterator[str]) -> list[str]:
    """Each once. Raises NoSitemap as soon as they are too many."""
    known: dict[str, None] = {}
    for url in urls:
        known[url] = None
        if len(known) > MAX_URLS:
            raise NoSitemap(f"it holds more than {MAX_URLS:,} URLs")
    return list(known)


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(_GZIP):
        return body
    unpacking = Unpacking()
    try:
        unpacked = unpacking.add(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise NoSitemap(f"it is no gzip ({error})") from None
    if len(unpacked) > MAX_BYTES:
        raise NoSitemap(f"it unpacks to more than {MAX_BYTES:,} bytes")
    if not unpacking.ended:
        raise NoSitemap("it is cut off")
    return unpacked
