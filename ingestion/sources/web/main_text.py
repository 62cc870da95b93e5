"""The main part of a page, as HTML of its own: what changes beside it (menus, banners, nonces, the time at
which it was made) is no change of the document. Pure.

Our own parser reads what is left. trafilatura was considered: it gives text without most of its structure,
and decides by the lengths of texts, so that an edit may move what it takes for the main part.
"""

from __future__ import annotations

from lxml import etree, html

_BESIDE = frozenset(
    """
    script style noscript template iframe object embed svg canvas form button input select textarea nav aside
    header footer dialog link meta base picture img video audio source
    """.split()  # noqa: SIM905 - one name a line would take a screen
)
_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alert"})
_MAIN = ("main", "article")
_KEPT = frozenset({"lang", "colspan", "rowspan", "start"})
MAX_DEPTH = 200


class NoPage(ValueError):
    """The bytes are no HTML that can be read."""


def main_part(body: bytes, charset: str | None) -> tuple[bytes, str]:
    """HTML in UTF-8, and its plain text. The same main part gives the same bytes. Raises NoPage."""
    parser = html.HTMLParser(encoding=charset, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = html.document_fromstring(body, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise NoPage(str(error)) from None
    title = (root.findtext(".//title") or "").strip()
    part = _part(root)
    _strip(part)
    text = " ".join(part.text_content().split())
    inner = etree.tostring(part, encoding="unicode", method="html", with_tail=False)
    head = f"<title>{_escaped(title)}</title>" if title else ""
    return f'<!doctype html><meta charset="utf-8">{head}{inner}'.encode(), text


def asks_password(body: bytes) -> bool:
    """Whether the page, as it came, asks for a password."""
    lowered = body.lower()
    return b'type="password"' in lowered or b"type='password'" in lowered or b"type=password" in lowered


def _part(root: html.HtmlElement) -> html.HtmlElement:
    for name in _MAIN:
        found = root.findall(f".//{name}")
        if len(found) == 1 and found[0].text_content().strip():
            return found[0]
    body = root.find(".//body")
    return root if body is None else body


def _strip(part: html.HtmlElement) -> None:
    for element in list(part.iterdescendants()):
        if element.getparent() is None:
            continue  # within one that was left out
        if not isinstance(element.tag, str) or element.tag in _BESIDE or element.get("role") in _ROLES:
            if element.tag == "header" and part.tag in _MAIN:
                continue  # an article's own heading
            element.drop_tree()
    for element in part.iter():
        for name in set(element.attrib) - _KEPT:
            del element.attrib[name]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
