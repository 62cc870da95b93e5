"""Feeds as a source, against a real server on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from html import escape

import pytest

from ingestion.database import Database
from ingestion.errors import DocumentUnreadable, SourceUnavailable
from ingestion.ledger.ledger import Ledger
from ingestion.records import Gone, Seen, Standing
from ingestion.sources.feed.source import READ_FOR_S, FeedSource
from ingestion.sources.web.fetching import Fetcher
from tests.rig import Rig, ShiftedClock
from tests.servers.web import Answer, WebServer

NAME = "news"


def feed(**entries: str) -> Answer:
    """An RSS feed of these, by id."""
    items = "".join(
        f'<item><guid isPermaLink="false">{uri}</guid><title>About {uri}</title>'
        f"<description>{escape(f'<p>{text}</p>')}</description></item>"
        for uri, text in entries.items()
    )
    body = f'<rss version="2.0"><channel><title>news</title>{items}</channel></rss>'
    return Answer(body.encode(), media_type="application/rss+xml")


class News:
    """A source of these feeds, and the pipeline behind it."""

    def __init__(
        self, database: Database, fetcher: Fetcher, urls: list[str], *, retire_dropped: bool
    ) -> None:
        self.clock = ShiftedClock()
        self.ledger = Ledger(database, self.clock)
        self.source = FeedSource(
            NAME,
            self.ledger.kept,
            fetcher,
            urls=urls,
            retire_dropped=retire_dropped,
            max_document_bytes=100_000,
            clock=self.clock,
        )
        self.rig = Rig(database, [self.source], clock=self.clock)
        self.rig.recover()

    def sync(self) -> str | None:
        """Look, publish; returns the fault."""
        return self.rig.sync(NAME).fault

    @property
    def served(self) -> set[str]:
        entries = self.ledger.documents.entries(NAME)
        return {uri for uri, one in entries.items() if one.standing in (Standing.PRESENT, Standing.HELD)}

    def text(self, uri: str) -> str:
        return self.source.read(uri).body.decode()


MakeNews = Callable[..., News]


@pytest.fixture
def make_news(database: Database, server: WebServer) -> Iterator[MakeNews]:
    with contextlib.ExitStack() as undo:

        def make(*paths: str, retire_dropped: bool = False) -> News:
            fetcher = Fetcher(user_agent="tests", allowed=["127.0.0.1"], per_host=2)
            undo.callback(fetcher.close)
            urls = [server.url + path for path in paths or ("/feed",)]
            return News(database, fetcher, urls, retire_dropped=retire_dropped)

        yield make


def test_what_is_unchanged_is_not_sent(make_news: MakeNews, server: WebServer) -> None:
    server.pages["/feed"] = feed(a="one", b="two")
    news = make_news()
    news.sync()
    assert server.paths() == ["/feed"]
    texts = len(news.rig.embedder.texts)
    assert texts == 2
    news.sync()
    assert server.paths(304) == ["/feed"]
    assert len(news.rig.embedder.texts) == texts
    content = news.source.read("a")
    assert (content.title, "<p>one</p>" in content.body.decode()) == ("About a", True)


def test_an_edit_is_followed_and_its_time_is_the_feed_s(make_news: MakeNews, server: WebServer) -> None:
    server.pages["/feed"] = feed(a="one", b="two")
    news = make_news()
    news.sync()
    texts = len(news.rig.embedder.texts)
    server.pages["/feed"] = feed(a="one", b="another one", c="three")
    news.sync()
    assert news.served == {"a", "b", "c"}
    assert len(news.rig.embedder.texts) == texts + 2
    assert "another one" in news.text("b")


def test_what_a_feed_drops_stays(make_news: MakeNews, server: WebServer) -> None:
    server.pages["/feed"] = feed(a="one", b="two")
    make_news().sync()
    server.pages["/feed"] = feed(b="two", c="three")
    news = make_news()
    assert news.sync() is None
    assert news.served == {"a", "b", "c"}
    assert isinstance(news.source.look("a"), Seen)
    assert isinstance(news.source.look("d"), Gone)
    assert "one" in news.text("a")


def test_what_a_feed_drops_goes_if_it_is_told_to(make_news: MakeNews, server: WebServer) -> None:
    server.pages["/feed"] = feed(a="one", b="two")
    news = make_news(retire_dropped=True)
    news.sync()
    server.pages["/feed"] = feed(b="two")
    news.sync()
    assert news.served == {"b"}
    news.sync()
    assert server.paths(304) == ["/feed"]
    assert news.served == {"b"}, "as little as it is named, it is named by what is not sent again"
    server.pages["/feed"] = feed(a="one", b="two")
    news.sync()
    assert news.served == {"a", "b"}


def test_many_that_are_dropped_at_once_are_held(make_news: MakeNews, server: WebServer) -> None:
    many = {f"e{number}": "text" for number in range(30)}
    server.pages["/feed"] = feed(**many)
    news = make_news(retire_dropped=True)
    news.sync()
    server.pages["/feed"] = feed(e0="text")
    assert news.rig.sync(NAME).held == 29
    assert len(news.served) == 30
    assert "text" in news.text("e7"), "what is held is read for another edition"


TROUBLE = {
    "5xx": Answer(b"busy", 503),
    "forbidden": Answer(b"no", 403),
    "gone": Answer(b"no", 410),
    "login": Answer(b"<html><form><input type=password></form></html>"),
    "no XML": Answer(b"Internal error"),
    "empty body": Answer(b""),
    "cut off": Answer(feed(a="one", b="two", c="three").body[:-60]),
    "empty": feed(),
    "a redirect inside": Answer(status=302, headers={"Location": "http://169.254.169.254/feed"}),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_feed_in_trouble_takes_nothing(
    make_news: MakeNews, server: WebServer, trouble: str, restarted: bool
) -> None:
    paths = ("/feed", "/other")
    server.pages |= {"/feed": feed(a="one", b="two"), "/other": feed(x="ex")}
    news = make_news(*paths, retire_dropped=True)
    news.sync()
    server.pages |= {"/feed": TROUBLE[trouble], "/other": feed(y="why")}
    if restarted:
        news = make_news(*paths, retire_dropped=True)
    fault = news.sync()
    assert f"{server.url}/feed: " in (fault or "")
    assert "/other" not in (fault or "")
    assert news.served == {"a", "b", "y"}, "the other feed goes on"
    assert "one" in news.text("a")
    with pytest.raises(DocumentUnreadable):
        news.source.look("a")
    assert news.source.looks(["a", "y"]).keys() == {"y"}
    server.pages["/feed"] = feed(b="two", c="three")
    assert news.sync() is None
    assert news.served == {"b", "c", "y"}


def test_a_key_in_the_url_of_a_feed_is_not_told(make_news: MakeNews, server: WebServer) -> None:
    news = make_news("/feed?token=hush", "/other")
    server.pages["/other"] = feed(b="two")
    assert "/feed?token=***: HTTP 404" in (news.sync() or "")
    server.stop()
    assert "token=***" in (news.sync() or "")
    assert "hush" not in news.source.location


def test_a_server_that_is_away_is_the_place_s_fault(make_news: MakeNews, server: WebServer) -> None:
    server.pages["/feed"] = feed(a="one")
    news = make_news(retire_dropped=True)
    news.sync()
    server.stop()
    try:
        assert f"{server.url}/feed: it cannot be reached" in (news.sync() or "")
        with pytest.raises(SourceUnavailable):
            news.source.look("a")
        assert news.served == {"a"}
        assert "one" in news.text("a"), "workers ask no server"
    finally:
        server.start()
    assert news.sync() is None


def test_an_entry_that_two_feeds_name_is_the_first_ones(make_news: MakeNews, server: WebServer) -> None:
    server.pages |= {"/all": feed(a="the whole of it"), "/short": feed(a="short", b="two")}
    news = make_news("/all", "/short", retire_dropped=True)
    news.sync()
    for number in range(2):
        server.pages["/short"] = feed(a=f"short {number}", b="two")
        news.sync()
        assert "the whole of it" in news.text("a")
    server.pages["/all"] = feed(c="three")
    news.sync()
    assert news.served == {"a", "b", "c"}
    server.pages["/short"] = feed(a="short again", b="two")
    news.sync()
    assert "short again" in news.text("a")


def test_what_only_a_feed_of_before_has_named_goes(make_news: MakeNews, server: WebServer) -> None:
    server.pages |= {"/feed": feed(a="one", b="two"), "/other": feed(b="two", c="three")}
    make_news("/feed", "/other").sync()
    news = make_news("/other")
    news.sync()
    assert news.served == {"b", "c"}


def test_looks_that_follow_one_another_ask_once(make_news: MakeNews, server: WebServer) -> None:
    server.pages["/feed"] = feed(a="one")
    news = make_news()
    news.sync()
    server.paths()
    for _ in range(3):
        news.source.look("a")
    assert server.paths() == []
    server.pages["/feed"] = feed(a="two")
    news.clock.shift_s += READ_FOR_S + 1
    news.source.look("a")
    assert server.paths() == ["/feed"]
    assert "two" in news.text("a")


def test_entries_without_a_name_are_told_of(make_news: MakeNews, server: WebServer) -> None:
    body = feed(a="one").body.replace(b"</channel>", b"<item><title>x</title></item></channel>")
    server.pages["/feed"] = Answer(body)
    news = make_news()
    for _ in range(2):
        assert "1 of its entries have neither id nor link" in (news.sync() or "")
    assert news.served == {"a"}


def test_an_entry_whose_id_is_a_place_of_the_web(make_news: MakeNews, server: WebServer) -> None:
    """It ends as a folder does, and is a document all the same."""
    uri = "https://blog.example/2026/post/"
    server.pages["/feed"] = Answer(feed(a="one").body.replace(b">a<", f">{uri}<".encode()))
    news = make_news()
    news.sync()
    assert news.served == {uri}
    assert isinstance(news.source.look(uri), Seen)


def test_five_thousand_entries_are_kept_once(make_news: MakeNews, server: WebServer) -> None:
    many = {f"e{number}": f"text {number}" for number in range(5000)}
    server.pages["/feed"] = feed(**many)
    news = make_news()
    assert len(news.source.list().sightings) == 5000
    kept = news.ledger.kept.find(NAME, ["e0", "e4999"])
    server.pages["/feed"] = feed(new="text", **many)
    assert len(news.source.list().sightings) == 5001
    assert news.ledger.kept.find(NAME, ["e0", "e4999"]) == kept
