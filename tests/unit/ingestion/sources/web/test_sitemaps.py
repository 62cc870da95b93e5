"""Sitemaps: whole or not at all, bounded, and for the hosts that the settings name."""

from __future__ import annotations

import gzip

import pytest

from ingestion.errors import SourceUnavailable
from ingestion.records import Seen, Skipped
from ingestion.sources.web.sitemaps import MAX_BYTES, MAX_URLS, NoSitemap, parse_sitemap
from tests.servers.web import Answer, WebServer
from tests.wiki import MakeWiki, Wiki, page

HEAD = '<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'


def locs(*urls: str) -> str:
    return "".join(f"<url><loc>{url}</loc><lastmod>2020-01-01</lastmod></url>" for url in urls)


URLS = [f"https://example.com/{number}" for number in range(200)]
WHOLE = f"{HEAD}{locs(*URLS)}</urlset>".encode()


@pytest.mark.parametrize(
    "body",
    [
        WHOLE,
        b"\xef\xbb\xbf" + WHOLE,
        b"\n " + WHOLE.partition(b"?>")[2],
        WHOLE.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        gzip.compress(WHOLE),
        gzip.compress(WHOLE[:900]) + gzip.compress(WHOLE[900:]),
        "\n".join(URLS).encode(),
        b"\xef\xbb\xbf" + "\r\n".join(["", *URLS, ""]).encode(),
        gzip.compress("\n".join(URLS).encode()),
    ],
)
def test_a_sitemap_comes_in_many_forms(body: bytes) -> None:
    sitemap = parse_sitemap(body)
    assert (list(sitemap.urls), sitemap.is_index) == (URLS, False)


def test_only_what_stands_for_a_page_is_one() -> None:
    body = (
        f"{HEAD[:-1]} xmlns:image='http://image'><url><loc>https://e.com/a?x=1&amp;y=2</loc><image:image>"
        "<image:loc>https://e.com/a.png</image:loc></image:image></url><!-- <loc>https://e.com/b</loc> -->"
        "<url><loc><![CDATA[https://e.com/c]]></loc></url><url><loc/></url></urlset>"
    )
    assert list(parse_sitemap(body.encode()).urls) == ["https://e.com/a?x=1&y=2", "https://e.com/c"]
    index = parse_sitemap(b"<sitemapindex><sitemap><loc>https://e.com/s</loc></sitemap></sitemapindex>")
    assert (list(index.urls), index.is_index) == (["https://e.com/s"], True)
    assert list(parse_sitemap(b"<urlset></urlset>").urls) == []


def test_a_sitemap_that_is_cut_off_is_none() -> None:
    """Wherever it is cut."""
    packed = gzip.compress(WHOLE)
    for body, places in ((WHOLE, range(0, len(WHOLE) - 1, 97)), (packed, range(0, len(packed) - 1, 7))):
        for place in places:
            with pytest.raises(NoSitemap):
                parse_sitemap(body[:place])


NONE = {
    "empty": b"",
    "spaces": b" \n ",
    "a page": b"<!doctype html><html><body>Please sign in</body></html>",
    "well-formed XHTML": b"<html><body><p>Please sign in</p></body></html>",
    "a feed": b"<rss><channel><item><link>https://e.com</link></item></channel></rss>",
    "words": b"We will be back soon.",
    "URLs and words": b"https://e.com/a\nWe will be back soon.",
    "a URL that is none": b"https://e.com/a\nftp://e.com/b",
    "zeros": b"https://e.com/a\0b",
    "two of them": WHOLE + WHOLE.partition(b"?>")[2],
    "an entity": b"<!DOCTYPE u [<!ENTITY e 'b'>]><urlset><url><loc>https://e.com/&e;</loc></url></urlset>",
    "no gzip": b"\x1f\x8b" + b"no gzip at all",
    "too many": "\n".join(f"https://e.com/{number}" for number in range(MAX_URLS + 1)).encode(),
    "too many in XML": f"<urlset>{locs(*map(str, range(MAX_URLS + 1)))}</urlset>".encode(),
    "too much of nothing": b"<urlset>" + b"<url/>" * 1_100_000 + b"</urlset>",
    "too deep": b"<urlset>" + b"<a>" * 10_000,
    "a bomb": gzip.compress(gzip.compress(b"")) + gzip.compress(bytes(MAX_BYTES + 1)),
    "many pieces": gzip.compress(b"") * 2000,
}


@pytest.mark.parametrize("body", NONE.values(), ids=NONE.keys())
def test_what_is_no_sitemap_is_refused(body: bytes) -> None:
    with pytest.raises(NoSitemap):
        parse_sitemap(body)


# What is wanted


def test_a_sitemap_speaks_for_hosts_that_the_settings_name(
    wiki: Wiki, server: WebServer, other: WebServer
) -> None:
    server.pages |= {"/a": page(1)}
    other.pages |= {"/b": page(2)}
    odd = "http://[::1/"
    named = [f"{server.url}/a", f"{other.url}/b", odd, "ftp://example.com/c"]
    server.pages["/sitemap.xml"] = Answer(f"<urlset>{locs(*named)}</urlset>".encode())
    listing = wiki.source.list()
    assert wiki.seen(listing).keys() == {"/a"}
    skipped = {one.uri: one.reason for one in listing.sightings if isinstance(one, Skipped)}
    assert skipped.keys() == {f"{other.url}/b", odd, "ftp://example.com/c"}
    assert "add one to urls" in skipped[f"{other.url}/b"]
    assert other.paths() == []
    assert not listing.faults
    look = wiki.source.look(f"{other.url}/b")
    assert isinstance(look, Skipped)
    assert look.reason == skipped[look.uri]


def test_a_host_is_named_by_one_of_its_urls(make_wiki: MakeWiki, server: WebServer, other: WebServer) -> None:
    wiki = make_wiki(f"{other.url}/start")
    wiki.source._sitemaps = [f"{server.url}/sitemap.xml"]
    server.pages |= {"/a": page(1), "/sitemap.xml": Answer(f"{other.url}/b\n{server.url}/a".encode())}
    other.pages |= {"/start": page(2), "/b": page(3)}
    assert {one.uri for one in wiki.source.list().sightings} == {
        f"{server.url}/a",
        f"{other.url}/b",
        f"{other.url}/start",
    }


def test_a_sitemap_that_moved_speaks_for_where_it_is(wiki: Wiki, server: WebServer, other: WebServer) -> None:
    server.pages["/sitemap.xml"] = Answer(status=301, headers={"Location": f"{other.url}/sitemap.xml"})
    other.pages["/b"] = page(3)
    (seen,) = wiki.source.list().sightings
    assert isinstance(seen, Seen)
    assert seen.uri == f"{other.url}/b"


def test_a_sitemap_that_another_one_names_speaks_for_no_host_of_its_own(
    wiki: Wiki, server: WebServer, other: WebServer
) -> None:
    index = f"<sitemapindex><sitemap><loc>{other.url}/sitemap.xml</loc></sitemap></sitemapindex>"
    server.pages |= {"/sitemap.xml": Answer(index.encode()), "/a": page(1)}
    other.pages["/b"] = page(2)
    other.pages["/sitemap.xml"] = Answer(f"{other.url}/b\n{server.url}/a".encode())
    assert wiki.seen().keys() == {"/a"}
    assert other.paths() == ["/sitemap.xml"]


def test_one_page_written_in_several_ways_is_one_document(make_wiki: MakeWiki, server: WebServer) -> None:
    url = server.url
    wiki = make_wiki(f"{url}/a", f"{url}/a#top", f"{url.replace('http', 'HTTP')}/a", "/old", url)
    moved = Answer(status=301, headers={"Location": "/new#here"})
    server.pages |= {"/a": page(1), "/old": moved, "/new": page(2), "/": page(3)}
    assert wiki.seen().keys() == {"/a", "/new", "/"}
    assert server.paths().count("/a") == 1


def test_sitemaps_have_bounds(wiki: Wiki, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{server.url}/s{number}.xml" for number in range(600)]
    index = "".join(f"<sitemap><loc>{name}</loc></sitemap>" for name in names)
    server.pages["/sitemap.xml"] = Answer(f"<sitemapindex>{index}</sitemapindex>".encode())
    with pytest.raises(SourceUnavailable, match="more than 500 sitemaps"):
        wiki.source.list()
    assert len(server.paths()) == 1
    monkeypatch.setattr("ingestion.sources.web.wanted.SITEMAPS_S", -1.0)
    server.pages["/sitemap.xml"] = Answer(b"<urlset></urlset>")
    with pytest.raises(SourceUnavailable, match="takes more than"):
        wiki.source.list()
