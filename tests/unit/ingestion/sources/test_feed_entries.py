"""What a feed names, in every format that one may have."""

from __future__ import annotations

import html
import itertools
import json
import time

import pytest

from ingestion.parsing import at_hand, parse
from ingestion.sources.feed.entry import Entry, NoFeed
from ingestion.sources.feed.parsing import MAX_ENTRIES, parse_feed

URL = "https://blog.example/feeds/all.xml"
RSS = (
    '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>{}</channel></rss>'
)
ATOM = '<feed xmlns="http://www.w3.org/2005/Atom">{}</feed>'


def entries(feed: str | bytes, media_type: str | None = None) -> list[Entry]:
    body = feed.encode() if isinstance(feed, str) else feed
    return list(parse_feed(body, URL, media_type).entries)


def one(feed: str | bytes, media_type: str | None = None) -> Entry:
    (found,) = entries(feed, media_type)
    return found


def text(entry: Entry) -> str:
    return parse(entry.text.body, entry.uri, entry.text.media_type, apart=at_hand).text


def test_rss_2() -> None:
    found = one(
        RSS.format(
            '<item><title>Fish &amp;amp; <![CDATA[chips]]></title><guid isPermaLink="false">a-1</guid>'
            "<link>/posts/1</link><description>short</description><content:encoded><![CDATA[<h2>Menu</h2>"
            '<p onclick="x">Hello <b>you</b></p><img src="t.gif?n=17"><script>no()</script>]]>'
            "</content:encoded>"
            "<pubDate>Mon, 06 Sep 2021 02:01:00 +0200</pubDate></item>"
        )
    )
    assert (found.uri, found.title, found.link) == ("a-1", "Fish & chips", "https://blog.example/posts/1")
    assert found.changed_at == 1630886460.0
    assert text(found).split() == ["Menu", "Hello", "you"]


def test_atom() -> None:
    found = one(
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://other.example/"><entry xml:base="sub/">'
        '<id>tag:1</id><title type="html">A &lt;i&gt;b&lt;/i&gt;</title><link rel="edit" href="e"/>'
        '<link href="page"/><updated>2024-01-02T03:04:05Z</updated><summary>short</summary>'
        '<content type="xhtml"><x:div xmlns:x="http://www.w3.org/1999/xhtml"><x:p>caf&#233;</x:p></x:div>'
        "</content></entry></feed>"
    )
    assert (found.uri, found.title, found.link) == ("tag:1", "A b", "https://other.example/sub/page")
    assert found.changed_at == 1704164645.0
    assert text(found) == "café"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<content> one\ntwo </content>", " one\ntwo "),
        ('<content type="html">&lt;p&gt;one&lt;/p&gt;</content>', "one"),
        ('<content type="text/html"><div xmlns="http://www.w3.org/1999/xhtml">one</div></content>', "one"),
        ('<content type="text/markdown"># one</content>', "# one"),
        ('<content type="image/png">iVBO</content><summary>one</summary>', "one"),
        ('<content src="https://x.example/"/><summary type="html">one</summary>', "one"),
        ('<content type="html">&lt;script&gt;one&lt;/script&gt;</content><summary>two</summary>', "two"),
        ("", "the title"),
    ],
)
def test_what_an_entry_of_atom_says(content: str, said: str) -> None:
    found = one(ATOM.format(f"<entry><id>1</id><title>the title</title>{content}</entry>"))
    assert text(found).strip() == said.strip()
    if content.startswith("<content> "):
        assert found.text.body.decode() == said


def test_rss_1() -> None:
    found = one(
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="x"><items/></channel>'
        '<item rdf:about="https://u.example/1"><title>T</title><link>https://u.example/1</link>'
        "<description>words</description><dc:date>2024-01-02</dc:date></item></rdf:RDF>"
    )
    assert (found.uri, found.changed_at, text(found)) == ("https://u.example/1", 1704153600.0, "words")


def test_a_json_feed() -> None:
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "items": [
            {
                "id": 7,
                "url": "/a",
                "title": "T",
                "content_html": "<p>one</p>",
                "date_published": "2024-01-02",
            },
            {"url": "/b", "content_text": "two \ud800"},
            {"title": "nothing names it"},
            "no entry",
        ],
    }
    found = parse_feed(json.dumps(feed).encode(), URL)
    first, second = found.entries
    assert (first.uri, first.link, text(first)) == ("7", "https://blog.example/a", "one")
    assert (second.uri, text(second)) == ("https://blog.example/b", "two ?")
    assert found.nameless == 2


def test_what_names_an_entry() -> None:
    found = parse_feed(
        RSS.format(
            "<item><guid> g\n</guid><link>https://a.example/1</link></item>"
            "<item><link>https://a.example/2</link></item>"
            '<item><link xmlns="http://www.w3.org/2005/Atom" href="three"/></item>'
            "<item><guid>https://a.example/4</guid></item>"
            f"<item><guid>{'long' * 1000}</guid><link>https://a.example/5</link></item>"
            "<item><title>nothing</title></item>"
        ).encode(),
        URL,
    )
    assert [entry.uri for entry in found.entries] == [
        "g",
        "https://a.example/2",
        "https://blog.example/feeds/three",
        "https://a.example/4",
        "https://a.example/5",
    ]
    assert found.nameless == 1
    assert found.entries[3].link == "https://a.example/4"


def test_of_two_with_one_id_the_newer_one_counts() -> None:
    def dated(*moments: str) -> str:
        return RSS.format(
            "".join(
                f"<item><guid>1</guid><title>{number}</title><pubDate>{moment}</pubDate></item>"
                for number, moment in enumerate(moments)
            )
        )

    early, late = "Mon, 06 Sep 2021 00:01:00 GMT", "Tue, 07 Sep 2021 00:01:00 GMT"
    assert one(dated(early, late)).title == "1"
    assert one(dated(late, early)).title == "0"
    assert one(dated("no time", "tomorrow")).title == "0"


@pytest.mark.parametrize(
    ("declared", "charset", "media_type"),
    [
        ("iso-8859-1", "iso-8859-1", None),
        ("utf-8", "iso-8859-1", "application/rss+xml; charset=ISO-8859-1"),
        ("iso-8859-1", "utf-8-sig", "text/xml; charset=iso-8859-1"),
        ("utf-16", "utf-16", "text/xml; charset=utf-8"),
    ],
)
def test_its_charset(declared: str, charset: str, media_type: str | None) -> None:
    feed = f'<?xml version="1.0" encoding="{declared}"?>' + RSS.format(
        "<item><guid>1</guid><title>café</title></item>"
    )
    assert one(feed.encode(charset), media_type).title == "café"


def test_names_of_a_document_type_that_is_not_fetched() -> None:
    kind = '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://127.0.0.1:9/rss.dtd">'
    found = one(kind + RSS.format("<item><guid>1</guid><title>caf&eacute; noir</title></item>"))
    assert found.title == "café noir"


def bomb(inside: str) -> str:
    names = "abcdefghijkl"
    kinds = (
        '<!ENTITY a "'
        + "x" * 1000
        + '">'
        + "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in itertools.pairwise(names))
    )
    return f"<!DOCTYPE rss [{kinds}]>" + RSS.format(f"<item><guid>1</guid>{inside}</item>")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"not XML",
        b"<html><body><form><input type='password'></form></body></html>",
        b"<!doctype html><title>Sign in</title><p>Sign in<br>please",
        b'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"/>',
        RSS.format("<item><guid>1</guid></item>").encode()[:-10],
        RSS.format("<item><guid>1</guid>").encode(),
        b"<rss>" + b"<a>" * 200_000,
        b'<?xml version="1.0" encoding="klingon"?><rss/>',
        bomb("<title>&l;</title>").encode(),
        bomb('<title x="&l;"/>').encode(),
        bomb("<title>&l;</title>").encode("utf-16"),
        b'<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><channel><title>&a;</title></channel></rss>',
        b'<!DOCTYPE rss [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><rss/>',
        b"{",
        b'{"version": "1", "items": []}',
        b'{"version": "https://jsonfeed.org/version/1.1", "items": {}}',
        b"{" + b'"a":{' * 200_000,
        RSS.format("<item/>" * (MAX_ENTRIES + 1)).encode(),
    ],
)
def test_what_is_no_feed(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(NoFeed) as refused:
        parse_feed(body, URL)
    assert "root:" not in str(refused.value)
    assert time.process_time() - began < 20, "nothing is expanded"


def test_ten_thousand_entries() -> None:
    items = "".join(
        f"<item><guid>g{number}</guid><description>{html.escape('<p>words</p>')}</description></item>"
        for number in range(10_000)
    )
    assert [entry.uri for entry in entries(RSS.format(items))] == [f"g{number}" for number in range(10_000)]


@pytest.mark.parametrize(
    "feed",
    [
        RSS.format(f"<item><guid>a</guid>{'<a/>' * 150_000}</item>"),
        RSS.format(f"<image>{'<a/>' * 150_000}</image><item><guid>a</guid></item>"),
        json.dumps({"version": "https://jsonfeed.org/version/1", "items": [], "x": [{}] * 2_100_000}),
    ],
    ids=["one entry", "beside the entries", "JSON"],
)
def test_much_memory_for_few_bytes_is_no_feed(feed: str) -> None:
    with pytest.raises(NoFeed, match="more than"):
        entries(feed)


def test_what_stands_between_the_entries_is_not_held() -> None:
    feed = RSS.format(("<a/>" * 60_000).join(f"<item><guid>{name}</guid></item>" for name in "abcde"))
    assert [entry.uri for entry in entries(feed)] == list("abcde")


def test_names_inside_an_entry_that_are_those_of_entries() -> None:
    feed = RSS.format("<item><guid>a</guid><item><guid>b</guid></item><title>T</title></item>")
    assert [(entry.uri, entry.title) for entry in entries(feed)] == [("a", "T")]
