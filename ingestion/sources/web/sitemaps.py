"""Sitemaps and their indexes (sitemaps.org), gzip or not: bytes to URLs. Pure, and bounded."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

MAX_BYTES = 50 * 1024 * 1024  # of one, unpacked: what the protocol allows
MAX_URLS = 50_000
_GZIP = b"\x1f\x8b"


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
    if not body.lstrip().startswith(b"<"):
        return Sitemap(
            _checked([line.strip() for line in body.decode("utf-8", "replace").splitlines()]), False
        )
    found: list[str] = []
    is_index = False
    try:
        events = etree.iterparse(
            io.BytesIO(body), events=("end",), resolve_entities=False, no_network=True, load_dtd=False
        )
        for _, element in events:
            name = etree.QName(element).localname if isinstance(element.tag, str) else ""
            parent = element.getparent()
            inside = etree.QName(parent).localname if parent is not None else ""
            if name == "loc" and inside in ("url", "sitemap"):
                is_index = is_index or inside == "sitemap"
                found.append((element.text or "").strip())
            if name in ("url", "sitemap"):
                element.clear()
    except etree.XMLSyntaxError as error:
        raise NoSitemap(f"it is no XML ({error})") from None
    return Sitemap(_checked(found), is_index)


def _checked(urls: list[str]) -> list[str]:
    known = list(dict.fromkeys(url for url in urls if url))
    if len(known) > MAX_URLS:
        raise NoSitemap(f"it holds more than {MAX_URLS:,} URLs")
    return known


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(_GZIP):
        return body
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise NoSitemap(f"it is no gzip ({error})") from None
    if len(unpacked) > MAX_BYTES:
        raise NoSitemap(f"it unpacks to more than {MAX_BYTES:,} bytes")
    if not unpacking.eof:
        raise NoSitemap("it is cut off")
    return unpacked
