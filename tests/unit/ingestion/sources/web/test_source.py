"""Web pages as a source, against a real server on loopback."""

from __future__ import annotations

import gzip
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from ingestion.database import Database
from ingestion.errors import DocumentUnreadable, SourceUnavailable
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.settling import Batch
from ingestion.sources.web import fetching
from ingestion.sources.web.addresses import is_open
from ingestion.sources.web.fetching import Failed, Fetcher, Missing, Page, TooLarge, Unchanged
from ingestion.sources.web.main_text import NoPage, main_part
from ingestion.sources.web.pages import Pages
from tests.rig import Rig
from tests.servers.web import Answer, WebServer
from tests.wiki import NAME, MakeWiki, Wiki, page


def test_what_is_unchanged_is_asked_for_and_not_sent(wiki: Wiki, server: WebServer) -> None:
    server.pages |= {f"/{number}": page(number) for number in range(20)}
    first = wiki.seen()
    server.paths()
    assert wiki.seen() == first
    assert sorted(server.paths(304)) == sorted(f"/{number}" for number in range(20))
    assert server.most_at_once <= 2, "to one host"
    assert server.connections <= 4, "each is used again"
    assert server.agents == {"headwater-tests"}


def test_what_changes_beside_the_main_part_changes_nothing(wiki: Wiki, server: WebServer) -> None:
    server.pages["/a"] = page(1)
    first, text = wiki.seen(), wiki.read("/a")
    server.pages["/a"] = page(2)
    assert (wiki.seen(), wiki.read("/a")) == (first, text)
    assert "Annual leave" in text
    assert "<title>Leave</title>" in text
    assert not any(word in text for word in ("Banner", "Home", "Advertisement", "generated", "nonce"))
    server.pages["/a"] = page(2, "rest")
    assert wiki.seen() != first
    assert "Thirty days of rest" in wiki.read("/a")


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_missing_is_gone_at_the_next_look(wiki: Wiki, server: WebServer, status: int) -> None:
    server.pages |= {"/a": page(1), "/b": page(2)}
    first = wiki.seen()
    server.pages["/a"] = Answer(status=status)
    assert wiki.seen() == first
    assert wiki.seen() == first, "as soon as this is no next look"
    wiki.later()
    assert wiki.seen().keys() == {"/b"}
    gone = wiki.source.look(f"{server.url}/a")
    assert isinstance(gone, Gone)
    assert str(status) in gone.evidence
    assert not gone.definite, "many at once are to be approved"
    server.pages["/a"] = page(3)
    assert wiki.seen().keys() == {"/a", "/b"}


def test_a_page_that_comes_back_was_never_gone(wiki: Wiki, server: WebServer) -> None:
    server.pages["/a"] = page()
    first = wiki.seen()
    server.pages["/a"] = Answer(status=404)
    wiki.seen()
    server.pages["/a"] = page()
    wiki.later()
    assert wiki.seen() == first
    server.pages["/a"] = Answer(status=404)
    wiki.later()
    assert wiki.seen() == first, "it is the first look that misses it"


LOGIN = Answer(
    b'<html><body><form><p>Please sign in</p><input type="password" name="p"></form></body></html>'
)
HIDES = {
    "an error": Answer(b"<p>Sorry</p>", 500),
    "refused": Answer(b"<p>No</p>", 403),
    "a key wanted": Answer(b"", 401),
    "a login page": LOGIN,
    "a way to one": Answer(status=302, headers={"Location": "/login"}),
    "a way to one that asks for a name only": Answer(status=302, headers={"Location": "/sso/start"}),
    "a way to one for good": Answer(status=301, headers={"Location": "/sso/start"}),
    "nested without end": Answer(b"<main>" + b"<div>" * 400 + b"Thirty days</main>"),
    "empty": Answer(b""),
    "empty of text": Answer(b"<html><body><nav>Home</nav><main> </main></body></html>"),
    "round and round": Answer(status=302, headers={"Location": "/a"}),
    "a redirect to a file": Answer(status=302, headers={"Location": "file:///etc/passwd"}),
    "a redirect to inside": Answer(status=301, headers={"Location": "http://169.254.169.254/latest/"}),
}


@pytest.mark.parametrize("answer", HIDES.values(), ids=HIDES.keys())
def test_what_hides_a_page_says_nothing_about_it(wiki: Wiki, server: WebServer, answer: Answer) -> None:
    server.pages |= {"/a": page(1), "/b": page(2)}
    first, text = wiki.seen(), wiki.read("/a")
    assert first.keys() == {"/a", "/b"}
    sitemap = "\n".join(server.url + path for path in server.pages).encode()
    server.pages |= {"/sitemap.xml": Answer(sitemap), "/login": LOGIN, "/sso/start": Answer(b"<p>Your name?")}
    server.pages["/a"] = answer
    for _ in range(3):
        wiki.later()
        listing = wiki.source.list()
        assert wiki.seen(listing).keys() == {"/b"}
        assert f"{server.url}/a" in listing.unseen
        assert any(fault.startswith(f"{server.url}/a: ") for fault in listing.faults)
    with pytest.raises((DocumentUnreadable, SourceUnavailable)):
        wiki.source.look(f"{server.url}/a")
    assert wiki.read("/a") == text


SITEMAPS = {
    "missing": Answer(status=404),
    "an error": Answer(status=500),
    "no XML": Answer(b"<urlset><url>"),
    "cut off": Answer(gzip.compress(b"<urlset></urlset>" * 1000)[:40]),
    "a bomb": Answer(gzip.compress(b" " * (60 * 2**20))),
}


@pytest.mark.parametrize("answer", SITEMAPS.values(), ids=SITEMAPS.keys())
def test_a_sitemap_that_cannot_be_read_whole_is_no_listing(
    wiki: Wiki, server: WebServer, answer: Answer
) -> None:
    server.pages["/a"] = page()
    wiki.seen()
    server.pages["/sitemap.xml"] = answer
    with pytest.raises(SourceUnavailable, match=r"wiki .*sitemap\.xml"):
        wiki.source.list()


def test_an_entity_of_a_sitemap_leads_nowhere(wiki: Wiki, server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{server.url}/secret")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    locs = f"<url><loc>&e;</loc></url><url><loc>{server.url}/a</loc></url>"
    server.pages |= {"/a": page(1), "/secret": page(2)}
    server.pages["/sitemap.xml"] = Answer(f"{doctype}<urlset>{locs}</urlset>".encode())
    try:
        assert wiki.seen().keys() <= {"/a"}
    except SourceUnavailable:
        assert "/secret" not in server.paths()


def test_sitemaps_may_be_many_and_packed(wiki: Wiki, server: WebServer) -> None:
    def locs(kind: str, *paths: str) -> str:
        return "".join(f"<{kind}><loc> {server.url}{path} </loc></{kind}>" for path in paths)

    server.pages |= {f"/{number}": page(number) for number in range(4)}
    index = f"<sitemapindex>{locs('sitemap', '/one.xml.gz', '/two.xml', '/sitemap.xml')}</sitemapindex>"
    server.pages["/sitemap.xml"] = Answer(index.encode())
    server.pages["/one.xml.gz"] = Answer(
        gzip.compress(f"<urlset>{locs('url', '/0', '/1')}</urlset>".encode())
    )
    server.pages["/two.xml"] = Answer(f"{server.url}/2\n{server.url}/1\n".encode(), media_type="text/plain")
    assert wiki.seen().keys() == {"/0", "/1", "/2"}


def test_robots_decide_what_is_looked_at(make_wiki: MakeWiki, server: WebServer) -> None:
    wiki = make_wiki("/open", "/closed/a")
    server.pages |= {"/open": page(1), "/closed/a": page(2)}
    server.pages["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /closed/\n", media_type="text/plain")
    listing = wiki.source.list()
    (skipped,) = [one for one in listing.sightings if isinstance(one, Skipped)]
    assert skipped.uri == f"{server.url}/closed/a"
    assert "robots.txt" in skipped.reason
    assert "/closed/a" not in server.paths()
    server.pages["/robots.txt"] = Answer(status=503)
    with pytest.raises(SourceUnavailable, match=r"robots\.txt: HTTP 503"):
        wiki.source.list()
    assert set(server.paths()) == {"/robots.txt"}
    server.pages["/robots.txt"] = Answer(b"# a comment\n" * 100_000, media_type="text/plain")
    assert wiki.source.list().unseen, "what it forbids may stand in the rest"
    assert set(server.paths()) == {"/robots.txt"}


def piped(wiki: Wiki, database: Database) -> Rig:
    rig = Rig(database, [wiki.source], clock=wiki.clock)
    rig.recover()
    return rig


def test_a_page_that_moved_for_good_is_the_same_document(
    make_wiki: MakeWiki, database: Database, server: WebServer
) -> None:
    wiki = make_wiki("/old", "/other")
    server.pages |= {"/old": page(1), "/other": page(2, "work")}
    rig = piped(wiki, database)
    rig.sync(NAME)
    document_id = {view.uri: view.document_id for view in rig.ledger.views.documents(limit=10)}
    embedded = len(rig.embedder.texts)
    server.pages |= {"/old": Answer(status=301, headers={"Location": "/new"}), "/new": page(3)}
    for _ in range(2):
        wiki.later()
        assert rig.sync(NAME).fault is None
        now = {view.uri: view.document_id for view in rig.ledger.views.documents(limit=10)}
        assert now == {
            f"{server.url}/new": document_id[f"{server.url}/old"],
            f"{server.url}/other": document_id[f"{server.url}/other"],
        }
    assert len(rig.embedder.texts) == embedded
    seen = wiki.source.look(f"{server.url}/new")
    assert isinstance(seen, Seen), "though it is in no list"
    assert wiki.ledger.kept.body(NAME, f"{server.url}/old") is not None
    wiki.ledger.kept.forget_deleted(wiki.ledger.now() + 1)
    assert wiki.ledger.kept.body(NAME, f"{server.url}/old") is None, "no document has that name"
    assert wiki.ledger.kept.body(NAME, f"{server.url}/new") is not None


def test_what_moved_and_is_held_can_be_read_until_that_is_approved(
    make_wiki: MakeWiki, database: Database, server: WebServer
) -> None:
    old = [f"/old{number}" for number in range(20)]
    wiki = make_wiki(*old, "/stays")
    server.pages |= {path: page(1, f"thing {path}") for path in (*old, "/stays")}
    rig = piped(wiki, database)
    rig.sync(NAME)
    for number, path in enumerate(old):
        server.pages[path] = Answer(status=301, headers={"Location": f"/new{number}"})
        server.pages[f"/new{number}"] = page(1, f"another matter {number}")
    for _ in range(2):
        wiki.later()
        rig.sync(NAME)
        states = {view.uri: view.state for view in rig.ledger.views.documents(limit=100)}
        assert {states[server.url + path] for path in old} == {"held"}
        assert states[f"{server.url}/new7"] == "live"
        assert "thing /old7" in wiki.read("/old7")
    server.pages["/old7"] = page(1, "thing /old7 again")
    wiki.later()
    rig.sync(NAME)
    assert rig.states()[f"{server.url}/old7"] == "live", "it is back"


def test_where_several_move_to_one_place_they_are_missing(make_wiki: MakeWiki, server: WebServer) -> None:
    wiki = make_wiki("/a", "/b", "/c")
    server.pages |= {"/a": page(1), "/b": page(2, "work"), "/c": page(3, "sleep")}
    assert wiki.seen().keys() == {"/a", "/b", "/c"}
    moved = Answer(status=308, headers={"Location": "/home"})
    server.pages |= {"/a": moved, "/b": moved, "/home": page(4, "home")}
    assert wiki.seen().keys() == {"/a", "/b", "/c"}
    wiki.later()
    assert wiki.seen().keys() == {"/c"}
    server.pages["/a"] = Answer(status=301, headers={"Location": "/c"})
    assert "/a" not in wiki.seen(), "it leads to another document's place"


def test_a_redirect_for_now_leaves_a_page_where_it_is(wiki: Wiki, server: WebServer) -> None:
    server.pages |= {"/a": Answer(status=302, headers={"Location": "/today"})}
    server.pages["/sitemap.xml"] = Answer(f"{server.url}/a".encode())
    server.pages["/today"] = page(1, "today")
    assert wiki.seen().keys() == {"/a"}
    assert "Thirty days of today" in wiki.read("/a")


def test_many_missing_pages_wait_for_approval(wiki: Wiki, database: Database, server: WebServer) -> None:
    server.pages |= {f"/{number}": page(number, f"thing {number}") for number in range(30)}
    server.pages["/sitemap.xml"] = Answer("\n".join(server.url + path for path in server.pages).encode())
    rig = piped(wiki, database)
    rig.sync(NAME)
    for number in range(20):
        del server.pages[f"/{number}"]
    wiki.later()
    assert rig.scan(NAME).held == 0, "the first look that misses them"
    wiki.later()
    assert rig.scan(NAME).held == 20
    wiki.ledger.kept.sweep(wiki.clock.now() + 3600.0)
    assert "thing 0" in wiki.read("/0"), "what is held is served, and may be read for another edition"


def test_one_that_left_the_sitemap_goes(wiki: Wiki, server: WebServer, database: Database) -> None:
    server.pages |= {f"/{number}": page(number, f"thing {number}") for number in range(5)}
    rig = piped(wiki, database)
    rig.sync(NAME)
    server.pages["/sitemap.xml"] = Answer("\n".join(f"{server.url}/{n}" for n in range(4)).encode())
    wiki.later()
    assert rig.sync(NAME).retired == 1
    assert len(rig.states()) == 4


# Addresses


INSIDE = """
127.0.0.1 127.8.8.8 0.0.0.0 10.0.0.1 172.16.5.4 192.168.1.1 169.254.169.254 100.64.0.1 192.0.2.1 224.0.0.1
255.255.255.255 198.18.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd12::1 fec0::1 ff02::1 ::ffff:127.0.0.1
::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a9fe:a9fe:: 2001:db8::1
::127.0.0.1 ::ffff:0:7f00:1 64:ff9b:1::7f00:1 192.0.0.8
"""
FORMS = """
127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 localhost [::1] [::ffff:127.0.0.1] 0 127.0.0.1.
"""


@pytest.mark.parametrize("address", INSIDE.split())
def test_an_address_inside_is_not_open(address: str) -> None:
    assert not is_open(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is(address: str) -> None:
    assert is_open(address)


@pytest.mark.parametrize("host", FORMS.split())
def test_no_form_of_an_address_inside_is_reached(server: WebServer, host: str) -> None:
    fetcher = Fetcher(user_agent="t", allowed=["allowed.test"], per_host=2)
    server.pages["/a"] = page()
    found = fetcher.fetch(f"{server.url.replace('127.0.0.1', host)}/a", 10_000)
    assert isinstance(found, Failed)
    assert not server.paths()
    fetcher.close()


def test_a_name_that_means_something_else_a_moment_later_is_not_followed(server: WebServer) -> None:
    """One answer of a resolver is judged, and connected to."""
    answers = [["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]]
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    fetcher = Fetcher(user_agent="t", allowed=[], per_host=2, resolve=resolve)
    for _ in answers:
        found = fetcher.fetch(server.url.replace("127.0.0.1", "rebinding.test") + "/a", 10_000)
        assert isinstance(found, Failed)
        assert "127.0.0.1, which is not on the open internet" in found.reason
    assert asked == ["rebinding.test"] * 2
    assert not server.paths()
    fetcher.close()


def test_a_host_that_is_allowed_may_be_inside_but_not_where_it_leads(server: WebServer) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    fetcher = Fetcher(user_agent="t", allowed=["Intranet.test"], per_host=2, resolve=resolve)
    port = server.url.rpartition(":")[2]
    server.pages |= {
        "/a": page(),
        "/b": Answer(status=302, headers={"Location": f"http://else.test:{port}/a"}),
    }
    assert isinstance(fetcher.fetch(f"http://intranet.test:{port}/a", 10_000), Page)
    assert isinstance(fetcher.fetch(f"http://intranet.test:{port}/b", 10_000), Failed)
    assert server.paths() == ["/a", "/b"]
    fetcher.close()


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http:///a", "http://[::1/", "http://u:p@127.0.0.1/",
     "http://127.0.0.1:99999/", "gopher://127.0.0.1", "", "http://a\0b/", "http://" + "a" * 3000],
)  # fmt: skip
def test_what_is_no_address_of_a_page_is_not_fetched(fetcher: Fetcher, url: str) -> None:
    assert isinstance(fetcher.fetch(url, 10_000), Failed)


def test_what_is_large_is_not_read(fetcher: Fetcher, server: WebServer) -> None:
    server.pages["/large"] = Answer(b"x" * 20_000)
    assert fetcher.fetch(f"{server.url}/large", 10_000) == TooLarge(20_000)
    bomb = gzip.compress(b"x" * 20_000_000)
    server.pages["/bomb"] = Answer(bomb, headers={"Content-Encoding": "gzip"})
    assert isinstance(fetcher.fetch(f"{server.url}/bomb", 100_000), TooLarge)


def test_what_takes_too_long_is_given_up(
    fetcher: Fetcher, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages["/slow"] = Answer(b"x", wait_s=3.0)
    monkeypatch.setattr(fetching, "WHOLE_S", 0.3)
    assert fetcher.fetch(f"{server.url}/slow", 10_000) == Failed("it did not answer in time", place=True)


def test_a_proxy_of_the_environment_is_not_used(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fetcher = Fetcher(user_agent="t", allowed=["127.0.0.1"], per_host=2)
    server.pages["/a"] = Answer(b"x", headers={"Set-Cookie": "a=b"})
    found = fetcher.fetch(f"{server.url}/a", 10_000)
    assert isinstance(found, Page)
    assert isinstance(fetcher.fetch(f"{server.url}/a", 10_000, lambda url: found.validators), Unchanged)
    assert isinstance(fetcher.fetch(f"{server.url}/absent", 10_000), Missing)
    assert not list(fetcher._client.cookies.jar)
    fetcher.close()


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "x-nonsense"])
def test_what_is_packed_as_nobody_asked_for_is_not_unpacked(
    fetcher: Fetcher, server: WebServer, encoding: str
) -> None:
    server.pages["/a"] = Answer(gzip.compress(gzip.compress(b"x")), headers={"Content-Encoding": encoding})
    found = fetcher.fetch(f"{server.url}/a", 1000)
    assert isinstance(found, Failed)
    assert "packed" in found.reason


def test_no_more_is_unpacked_than_may_be_read(fetcher: Fetcher, server: WebServer) -> None:
    packed = {"Content-Encoding": "gzip"}
    server.pages["/bomb"] = Answer(gzip.compress(bytes(2_000_000)), headers=packed)
    assert fetcher.fetch(f"{server.url}/bomb", 5000) == TooLarge(5001), "as much as was unpacked"
    server.pages["/cut"] = Answer(gzip.compress(b"words" * 100)[:-4], headers=packed)
    assert fetcher.fetch(f"{server.url}/cut", 5000) == Failed("it was cut off")
    server.pages["/broken"] = Answer(b"no gzip at all", headers=packed)
    assert isinstance(fetcher.fetch(f"{server.url}/broken", 5000), Failed)


def test_where_a_page_led_for_a_while_says_nothing_about_it(make_wiki: MakeWiki, server: WebServer) -> None:
    """It answers 304 to whatever is asked with its own old date."""
    wiki = make_wiki("/a")
    server.pages |= {"/a": page(1, "policy"), "/maintenance": page(1, "maintenance")}
    wiki.seen()
    server.pages["/a"] = Answer(status=302, headers={"Location": "/maintenance"})
    wiki.seen()
    assert "maintenance" in wiki.read("/a")
    etag = '"of the maintenance"'
    server.pages["/maintenance"] = Answer(page(1, "maintenance").body, etag=etag)
    wiki.seen()
    server.pages["/a"] = Answer(page(1, "policy").body, etag=etag)  # as a date in January would
    wiki.seen()
    assert "policy" in wiki.read("/a")


def test_a_page_that_moved_is_gone_at_the_second_look_that_misses_it(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    wiki = make_wiki("/a")
    server.pages |= {"/a": Answer(status=301, headers={"Location": "/b"}), "/b": page(1)}
    assert wiki.seen().keys() == {"/b"}
    server.pages["/b"] = Answer(status=404)
    assert not isinstance(wiki.source.look(f"{server.url}/b"), Gone)
    wiki.later()
    assert isinstance(wiki.source.look(f"{server.url}/b"), Gone)


def test_where_a_page_has_moved_is_not_seen_while_its_server_is_in_trouble(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    wiki = make_wiki("/a", "/other")
    server.pages |= {
        "/a": Answer(status=301, headers={"Location": "/b"}),
        "/b": page(1),
        "/other": page(2),
    }
    assert wiki.seen().keys() == {"/b", "/other"}
    server.pages["/b"] = Answer(status=503)
    listing = wiki.source.list()
    assert wiki.seen(listing).keys() == {"/other"}
    assert f"{server.url}/b" in listing.unseen
    with pytest.raises(DocumentUnreadable):
        wiki.source.look(f"{server.url}/b")


def test_nobody_is_asked_about_what_left_the_settings(make_wiki: MakeWiki, server: WebServer) -> None:
    make_wiki("/a", "/b").source.list()
    server.pages |= {"/a": page(1), "/b": page(2)}
    wiki = make_wiki("/a", "/b")
    assert wiki.seen().keys() == {"/a", "/b"}
    fewer = make_wiki("/a")
    server.pages["/b"] = Answer(status=503)
    server.paths()
    assert isinstance(fewer.source.look(f"{server.url}/b"), Gone)
    assert server.paths() == []


@pytest.mark.timeout(60)
def test_much_beside_the_main_part_takes_linear_time() -> None:
    """A second; where each text moves all those behind it, some minutes."""
    body = b"<body><p>first" + b"<script></script>words " * 300_000 + b"<p>last</body>"
    _, text = main_part(body, None)
    assert text.startswith("first")
    assert text.endswith("last")
    assert text.count("words") == 300_000


def test_a_page_that_is_one_form_is_a_page() -> None:
    made, text = main_part(b"<body><form><h1>Leave</h1><input value=x>Thirty days</form></body>", None)
    assert "Thirty days" in text
    assert b"<input" not in made


def test_a_hint_leaves_a_move_to_the_next_listing(make_wiki: MakeWiki, server: WebServer) -> None:
    """Alone it would be a deletion: where the page went to is in no hint."""
    wiki = make_wiki("/a")
    server.pages["/a"] = page(1)
    wiki.seen()
    server.pages |= {"/a": Answer(status=301, headers={"Location": "/b"}), "/b": page(1)}
    assert isinstance(wiki.source.look(f"{server.url}/a"), Seen)
    assert wiki.seen().keys() == {"/b"}


def test_a_hint_at_a_page_that_is_named_like_a_folder_has_no_other_looked_at(
    make_wiki: MakeWiki, database: Database, server: WebServer
) -> None:
    wiki = make_wiki()
    server.pages |= {f"/{number}/": page(number, f"the number {number}") for number in range(20)}
    rig = piped(wiki, database)
    rig.sync(NAME)
    server.pages |= {"/3/": page(3, "rest"), "/3/new": page(3, "novelty"), "/4/": page(4, "work")}
    wiki.later()
    server.paths()
    rig.reconciler.look(wiki.source, Batch((), (f"{server.url}/3/",), {}))
    rig.work_off()
    assert {"/3/", "/3/new"} <= set(server.paths()) <= {"/robots.txt", "/sitemap.xml", "/3/", "/3/new"}
    passages = " ".join(passage[-1] for passage in rig.passages())
    assert "rest" in passages
    assert "novelty" in passages
    server.pages["/3/"] = Answer(status=404)
    for _ in range(2):
        wiki.later()
        rig.reconciler.look(wiki.source, Batch((), (f"{server.url}/3/",), {}))
    assert f"{server.url}/3/" not in rig.states()
    assert f"{server.url}/3/new" in rig.states()


def test_where_a_page_moved_stays_looked_at_once_nothing_leads_there(
    make_wiki: MakeWiki, database: Database, server: WebServer
) -> None:
    wiki = make_wiki("/old", "/other")
    moved = Answer(status=301, headers={"Location": "/new"})
    server.pages |= {"/old": moved, "/new": page(1), "/other": page(2, "work")}
    rig = piped(wiki, database)
    rig.sync(NAME)
    server.pages |= {"/old": Answer(status=404), "/new": page(1, "rest")}
    wiki.later()
    assert rig.sync(NAME).fault is None
    assert rig.states().keys() == {f"{server.url}/new", f"{server.url}/other"}
    assert "rest" in " ".join(passage[-1] for passage in rig.passages()), "an edit there is found"
    wiki.later()
    rig.sync(NAME)
    assert rig.states().keys() == {f"{server.url}/new", f"{server.url}/other"}, "and not the last one"
    server.pages["/old"] = page(1, "rest")
    wiki.later()
    rig.sync(NAME)
    assert rig.states().keys() == {f"{server.url}/old", f"{server.url}/other"}, "it is back, and alone"


def test_what_was_kept_of_a_page_goes_with_it_but_not_while_it_is_held(
    wiki: Wiki, database: Database, server: WebServer
) -> None:
    server.pages |= {f"/{number}": page(number, f"thing {number}") for number in range(30)}
    server.pages["/sitemap.xml"] = Answer("\n".join(server.url + path for path in server.pages).encode())
    rig = piped(wiki, database)
    rig.sync(NAME)
    for number in range(20):
        del server.pages[f"/{number}"]
    for _ in range(2):
        wiki.later()
        rig.sync(NAME)
    for _ in range(2):
        rig.advance(120.0)
        rig.upkeep.trim()
        rig.upkeep.sweep_bodies()
    assert "thing 3" in wiki.read("/3")
    rig.ledger.documents.approve(NAME, rig.ledger.documents.held(NAME)[2])
    rig.upkeep.trim()
    assert len(wiki.ledger.kept.below(NAME, "")) == 30, "an attempt may be about to read it"
    for _ in range(2):
        rig.advance(120.0)
        rig.upkeep.trim()
        rig.upkeep.sweep_bodies()
    assert len(wiki.ledger.kept.below(NAME, "")) == 10
    server.pages["/3"] = page(3, "thing 3")
    wiki.later()
    rig.sync(NAME)
    assert len(rig.states()) == 11, "it comes back as it was"


def test_a_time_alone_says_nothing_of_the_second_that_it_names(wiki: Wiki, server: WebServer) -> None:
    """Changed twice within it: the server would answer 304 for ever."""
    now = formatdate(time.time(), usegmt=True)
    server.pages["/a"] = Answer(page(1).body, etag="", headers={"Last-Modified": now})
    wiki.seen()
    wiki.seen()
    assert not server.conditions
    old = formatdate(time.time() - 3600, usegmt=True)
    server.pages["/a"] = Answer(page(1).body, etag="", headers={"Last-Modified": old})
    wiki.seen()
    wiki.seen()
    assert server.conditions == {old}


def test_letters_that_nobody_declared_are_read_as_they_are(wiki: Wiki, server: WebServer) -> None:
    for media_type in ("text/html", "text/html; charset=nonsense", "text/html; charset=iso-8859-1"):
        server.pages["/a"] = Answer("<p>Größe ✓ ünïcode</p>".encode(), media_type=media_type)
        wiki.seen()
        assert "Größe ✓" in wiki.read("/a")
    latin = "<p>Grüße aus Köln</p>".encode("latin-1")
    server.pages["/a"] = Answer(latin, media_type="text/html; charset=ISO-8859-1")
    wiki.seen()
    assert "Grüße aus Köln" in wiki.read("/a")


def test_half_a_page_is_none() -> None:
    """Where its tags are nested deeper than the parser goes, all that follows is lost."""
    with pytest.raises(NoPage, match="too deeply"):
        main_part(b"<p>before</p>" + b"<div>" * 400 + b"</div>" * 400 + b"<p>after</p>", None)


def test_the_same_main_part_is_the_same_document_however_it_is_sent(wiki: Wiki, server: WebServer) -> None:
    text = "<html><head><title>T</title></head><body><main><p>Größe</p></main>{}</body></html>"
    fingerprints = set()
    for body, media_type in (
        (text.format("").encode(), "text/html"),
        (text.format("<!-- x -->").encode("utf-16"), "TEXT/HTML; charset=utf-16"),
        (text.format("<footer>1</footer>").encode("latin-1"), "text/html;charset=latin1"),
        (text.format("<script>2</script>").encode(), "application/xhtml+xml"),
    ):
        server.pages["/a"] = Answer(body, media_type=media_type)
        fingerprints |= set(wiki.seen().values())
    assert len(fingerprints) == 1


def test_a_look_that_missed_a_page_takes_nothing_from_one_that_saw_it(wiki: Wiki, server: WebServer) -> None:
    """Two processes look: what the slower one notes is of a revision that is no longer kept."""
    server.pages["/a"] = page(1)
    wiki.seen()
    kept, url = wiki.ledger.kept, f"{server.url}/a"
    before = kept.find(NAME, [url])[url]
    server.pages["/a"] = page(2, "rest")
    first = wiki.seen()
    Pages(NAME, kept, wiki.fetcher, wiki.source._robots, 1000, wiki.clock).missing(url, "HTTP 404", before)
    assert wiki.seen() == first
    assert "/a" in server.paths(304), "what it has is still what a look is conditional on"


def test_what_nobody_expected_of_a_page_keeps_no_other_from_being_seen(
    wiki: Wiki, server: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.pages |= {"/a": page(1), "/b": Answer(page(2, "a fault").body)}

    def breaks(body: bytes, charset: str | None) -> tuple[bytes, str]:
        if b"a fault" in body:
            raise ZeroDivisionError
        return main_part(body, charset)

    monkeypatch.setattr("ingestion.sources.web.pages.main_part", breaks)
    listing = wiki.source.list()
    assert wiki.seen(listing).keys() == {"/a"}
    assert listing.faults == [f"{server.url}/b: unexpected ZeroDivisionError"]
    assert "unexpected error at" in caplog.text


def test_a_page_of_which_nobody_says_what_it_is(wiki: Wiki, server: WebServer) -> None:
    server.pages["/a"] = Answer(b"\n<!DOCTYPE html><nav>1</nav><main>Thirty days</main>", media_type=None)
    first = wiki.seen()
    server.pages["/a"] = Answer(b"\n<!DOCTYPE html><nav>2</nav><main>Thirty days</main>", media_type=None)
    assert wiki.seen() == first


@pytest.mark.parametrize("etag", ['"\xff\xfe"', '"' + "e" * 5000 + '"'])
def test_a_tag_that_cannot_be_sent_back_is_not(wiki: Wiki, server: WebServer, etag: str) -> None:
    server.pages["/a"] = Answer(page(1).body, etag=etag)
    first = wiki.seen()
    assert wiki.seen() == first
    assert server.paths(200).count("/a") == 2


def test_many_looks_at_once_are_few_questions(wiki: Wiki, server: WebServer) -> None:
    server.pages |= {f"/{number}": page(number) for number in range(20)}
    listing = wiki.source.list()
    uris = [one.uri for one in listing.sightings]
    server.pages |= {"/3": Answer(status=500), "/4": page(4, "rest"), "/5": Answer(status=403)}
    looks = wiki.source.looks([*uris, f"{server.url}/none", "nonsense"])
    assert {uri for uri, look in looks.items() if isinstance(look, Gone)} == {
        f"{server.url}/none",
        "nonsense",
    }
    assert set(uris) - looks.keys() == {f"{server.url}/3", f"{server.url}/5"}
    as_listed = {one.uri: one.fingerprint for one in listing.sightings if isinstance(one, Seen)}
    changed = {
        uri for uri, look in looks.items() if isinstance(look, Seen) and look.fingerprint != as_listed[uri]
    }
    assert changed == {f"{server.url}/4"}


def test_a_page_missed_by_a_listing_is_not_asked_for_twice(
    wiki: Wiki, database: Database, server: WebServer
) -> None:
    server.pages |= {"/a": page(1), "/b": page(2, "work")}
    server.pages["/sitemap.xml"] = Answer(f"{server.url}/a\n{server.url}/b".encode())
    rig = piped(wiki, database)
    rig.sync(NAME)
    del server.pages["/a"]
    wiki.later()
    rig.sync(NAME)
    wiki.later()
    server.paths()
    assert rig.sync(NAME).retired == 1
    assert server.paths(404) == ["/robots.txt", "/a"]
