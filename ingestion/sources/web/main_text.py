"""The main part of a page, as HTML of its own: what changes beside it (menus, banners, nonces, the time at
which it was made) is no change of the document. Pure.

Our own parser reads what is left. trafilatura was considered: it gives text without most of its structure,
and decides by the lengths of texts, so that an edit may move what it takes for the main part.
"""

from __future__ import annotations

import re

from lxml import etree, html

from ingestion.errors import NotIndexable
from ingestion.parsing.decoding import declared_charset, decode

_BESIDE = frozenset(
    """
    script style noscript template iframe object embed svg canvas button input select textarea nav aside
    header footer dialog link meta base picture img video audio source
    """.split()  # noqa: SIM905 - one name a line would take a screen
)
_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alert"})
_MAIN = ("main", "article")
_KEPT = frozenset({"lang", "colspan", "rowspan", "start"})
_HEAD_BYTES = 1024  # within these a page says its charset
_MAX_TAGS = 1_500_000  # a tree of them takes some 200 MB
_PASSWORD = re.compile(rb"""type\s{0,9}=\s{0,9}["']?password""", re.IGNORECASE)


class NoPage(ValueError):
    """The bytes are no HTML that can be read."""


def main_part(body: bytes, charset: str | None) -> tuple[bytes, str]:
    """HTML in UTF-8, and its plain text. The same main part gives the same bytes. Raises NoPage."""
    root = _tree(body, charset)
    title = (root.findtext(".//title") or "").strip()
    part = _part(root)
    _strip(part)
    text = " ".join(part.text_content().split())
    inner = etree.tostring(part, encoding="unicode", method="html", with_tail=False)
    head = f"<title>{_escaped(title)}</title>" if title else ""
    return f'<!doctype html><meta charset="utf-8">{head}{inner}'.encode(), text


def asks_password(body: bytes) -> bool:
    """Whether the page, as it came, asks for a password."""
    return _PASSWORD.search(body) is not None


def _tree(body: bytes, charset: str | None) -> html.HtmlElement:
    """Decoded as any other document: left to it, the parser takes UTF-8 that nobody declared for Latin-1."""
    if body.count(b"<") > _MAX_TAGS:
        raise NoPage(f"more than {_MAX_TAGS:,} tags")
    try:
        text, _ = decode(body, charset or declared_charset(body[:_HEAD_BYTES]))
    except NotIndexable as error:
        raise NoPage(error.message) from None
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise NoPage(str(error)) from None
    if any(fault.level == etree.ErrorLevels.FATAL for fault in parser.error_log):
        raise NoPage("its tags are nested too deeply")  # and what comes after that is lost
    return root


def _part(root: html.HtmlElement) -> html.HtmlElement:
    for name in _MAIN:
        found = root.findall(f".//{name}")
        if len(found) == 1 and found[0].text_content().strip():
            return found[0]
    body = root.find(".//body")
    return root if body is None else body


def _strip(part: html.HtmlElement) -> None:
    """In linear time: taken out one by one, each would move all the text behind it once more."""
    parents = [part]
    while parents:
        parent = parents.pop()
        for name in set(parent.attrib) - _KEPT:
            del parent.attrib[name]
        last, texts = None, []
        for child in list(parent):
            if _is_beside(child, part):
                texts.append(child.tail or "")
                parent.remove(child)  # with the text behind it
                continue
            _add_text(parent, last, texts)
            last, texts = child, []
            parents.append(child)
        _add_text(parent, last, texts)


def _is_beside(element: html.HtmlElement, part: html.HtmlElement) -> bool:
    if element.tag == "header" and part.tag in _MAIN:
        return False  # an article's own heading
    return not isinstance(element.tag, str) or element.tag in _BESIDE or element.get("role") in _ROLES


def _add_text(parent: html.HtmlElement, last: html.HtmlElement | None, texts: list[str]) -> None:
    """Behind the last child that stays, or before all."""
    if not texts:
        return
    if last is None:
        parent.text = (parent.text or "") + "".join(texts)
    else:
        last.tail = (last.tail or "") + "".join(texts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
