"""Entries of RSS (2.0, 1.0, and what came before) and Atom. Pure, and bounded.

Read by lxml without entities, without a document type, without the network. What does not end as it should is
no feed: nobody knows what else it names. feedparser was considered: it reads on where XML is broken off.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from lxml import etree
from lxml import html as lxml_html

from ingestion.parsing.decoding import declared_charset
from ingestion.sources.feed.entry import Entry, NoFeed, Text, entry, marked_up, moment, plain

_ATOM = "{http://www.w3.org/2005/Atom}"
_OLD_ATOM = "{http://purl.org/atom/ns#}"
_ENCODED = "{http://purl.org/rss/1.0/modules/content/}encoded"
_DATE = "{http://purl.org/dc/elements/1.1/}date"
_PODCAST = "{http://www.itunes.com/dtds/podcast-1.0.dtd}summary"
_ABOUT = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"
_ROOTS = ("rss", "feed", "rdf")
_MAX_HELD = 100_000  # elements in one place: each takes a hundred bytes, and may be four
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def entries_of_xml(body: bytes, url: str, media_type: str | None) -> Iterator[Entry | None]:
    """None for an entry that nothing names. Raises NoFeed, at the end, too: then none of them counts."""
    events = etree.iterparse(
        io.BytesIO(body),
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding=_charset(body, media_type),
    )
    depth = held = 0
    try:
        for event, element in events:
            if event == "start":
                if depth == 0:
                    _check_root(element)
                depth, held = depth + 1, held + 1
                if held > _MAX_HELD:
                    raise NoFeed(f"it holds more than {_MAX_HELD:,} elements in one place")
                continue
            depth -= 1
            if depth in (1, 2):
                if _is_entry(element):
                    yield _entry(element, url)
                elif _is_entry(element.getparent()):
                    continue  # it is read with the whole of that
                _forget(element)
                held = depth
    except etree.XMLSyntaxError as error:
        raise NoFeed(f"it is no XML, or not all of it ({error})") from None
    except LookupError:
        raise NoFeed("its charset is not known here") from None


def _is_entry(element: Any) -> bool:
    return etree.QName(element).localname in ("entry", "item")


def _forget(element: Any) -> None:
    """With everything before it."""
    element.clear(keep_tail=False)
    parent = element.getparent()
    while element.getprevious() is not None:
        del parent[0]


def _charset(body: bytes, media_type: str | None) -> str | None:
    """As the server says, before what the XML says of itself, but for a byte order mark (RFC 7303, 3)."""
    if media_type is None or body.startswith(_BYTE_ORDER_MARKS):
        return None
    return declared_charset(media_type.encode("ascii", "replace"))


def _check_root(root: Any) -> None:
    kinds = root.getroottree().docinfo.internalDTD
    if kinds is not None and next(iter(kinds.iterentities()), None) is not None:
        raise NoFeed("it declares entities, which no feed needs")
    name = etree.QName(root).localname
    if name.lower() not in _ROOTS:
        raise NoFeed(f"it is no feed, but {name[:80]!r}")


def _entry(element: Any, url: str) -> Entry | None:
    own = etree.QName(element).namespace
    prefix = f"{{{own}}}" if own else ""
    if prefix in (_ATOM, _OLD_ATOM):
        return _of_atom(element, prefix, url)
    return _of_rss(element, prefix, url)


def _of_atom(element: Any, prefix: str, url: str) -> Entry | None:
    title = _atom_words(element.find(f"{prefix}title"))
    text = _atom_text(element.find(f"{prefix}content")) or _atom_text(element.find(f"{prefix}summary"))
    changed = ("updated", "modified", "published", "issued")
    return entry(
        _said(element.find(f"{prefix}id")),
        _alternate(element, prefix, url),
        title,
        text,
        _first_moment(element, [prefix + name for name in changed]),
    )


def _of_rss(element: Any, prefix: str, url: str) -> Entry | None:
    guid = element.find(f"{prefix}guid")
    own = element.find(f"{prefix}link")
    if (said := _said(own)).strip():
        link: str | None = _joined(own, url, said)
    elif guid is not None and guid.get("isPermaLink") != "false" and "://" in (guid.text or ""):
        link = guid.text
    else:
        link = _alternate(element, _ATOM, url)
    texts = (_said(element.find(name)) for name in (_ENCODED, f"{prefix}description", _PODCAST))
    return entry(
        _said(guid) or element.get(_ABOUT),
        link,
        html.unescape(_said(element.find(f"{prefix}title"))),  # many escape it twice
        next((text for text in map(marked_up, texts) if text is not None), None),
        _first_moment(element, [f"{_ATOM}updated", f"{prefix}pubDate", _DATE]),
    )


def _alternate(element: Any, prefix: str, url: str) -> str | None:
    for link in element.findall(f"{prefix}link"):
        if link.get("href") and link.get("rel", "alternate") == "alternate":
            return _joined(link, url, link.get("href"))
    return None


def _joined(element: Any, url: str, link: str) -> str | None:
    """Absolute, by ``xml:base`` and where the feed was found."""
    try:
        return urljoin(urljoin(url, str(element.base or "")), link.strip())
    except ValueError:
        return None


def _first_moment(element: Any, names: list[str]) -> float | None:
    found = (moment(_said(element.find(name))) for name in names)
    return next((one for one in found if one is not None), None)


def _said(element: Any) -> str:
    """Its text, '' for None. A name such as ``&nbsp;`` that a document type would have declared is HTML's."""
    if element is None:
        return ""
    named = ((html.unescape(one.text), one.tail or "") for one in element if one.tag is etree.Entity)
    return (element.text or "") + "".join(name + tail for name, tail in named)


def _atom_text(element: Any) -> Text | None:
    """Without what is linked to, and what is no text."""
    if element is None or element.get("src"):
        return None
    kind = _kind(element)
    if kind == "xhtml":
        return marked_up(_inner(element))
    if kind == "html":
        return marked_up(_said(element))
    return plain(_said(element)) if kind == "text" else None


def _atom_words(element: Any) -> str | None:
    if element is None:
        return None
    kind = _kind(element)
    if kind == "xhtml":
        return "".join(element.itertext())
    words = _said(element)
    if kind == "html" and words.strip():
        try:
            return str(lxml_html.fromstring(words).text_content())
        except (etree.ParserError, etree.XMLSyntaxError, ValueError):
            return None
    return words


def _kind(element: Any) -> str:
    """``text``, ``html`` or ``xhtml`` (RFC 4287, 4.1.3; a media type may stand for them); '' for none."""
    said = (element.get("type") or "text").partition(";")[0].strip().lower()
    if said in ("text", "html", "xhtml"):
        return str(said)
    if said in ("application/xhtml+xml", "text/html"):
        return "xhtml" if len(element) else "html"
    return "text" if said.startswith("text/") else ""


def _inner(element: Any) -> str:
    """Markup that stands in the feed itself, as HTML: without the names of its namespaces."""
    for one in element.iter(etree.Element):
        one.tag = etree.QName(one).localname
    etree.cleanup_namespaces(element)
    return "".join(etree.tostring(one, method="html", encoding="unicode") for one in element)
