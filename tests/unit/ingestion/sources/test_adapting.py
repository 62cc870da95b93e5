"""Pages that are looked at where they change most, within a budget, against a real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.turns import TURN_S
from ingestion.plan import GUARD_DOCUMENTS
from ingestion.records import Standing
from ingestion.sources.adapting import BURST_S, ROUND_S, WHOLE_SHARE, AdaptiveSource
from ingestion.sources.settling import Batch
from ingestion.sources.web.fetching import Fetcher
from ingestion.sources.web.pages import APART_S
from ingestion.sources.web.source import WebSource
from tests.rig import Rig, ShiftedClock
from tests.servers.web import Answer, WebServer

NAME = "wiki"
LOOKS_PER_HOUR = 360.0
A_ROUND = ROUND_S * LOOKS_PER_HOUR / 3600 * (1 - WHOLE_SHARE)  # looks


def page(words: str) -> Answer:
    return Answer(f"<main><p>{words}</p></main>".encode())


class Wiki:
    """One process that looks at a wiki, and the pipeline behind it."""

    def __init__(self, database: Database, server: WebServer, clock: ShiftedClock) -> None:
        self.server, self.clock = server, clock
        self.ledger = Ledger(database, clock)
        self.fetcher = Fetcher(user_agent="tests", allowed=["127.0.0.1"], per_host=8)
        web = WebSource(
            NAME,
            self.ledger.kept,
            self.fetcher,
            urls=[],
            sitemaps=[f"{server.url}/sitemap.xml"],
            max_document_bytes=100_000,
            user_agent="tests",
            clock=clock,
        )
        self.source = AdaptiveSource(web, self.ledger, looks_per_hour=LOOKS_PER_HOUR, clock=clock)
        self.rig = Rig(database, [self.source], clock=clock)

    def looked(self) -> list[str]:
        """Pages that the server was asked for since this was last asked."""
        return [path for path in self.server.paths() if path not in ("/robots.txt", "/sitemap.xml")]

    def later(self, seconds: float = ROUND_S) -> list[str]:
        """A round after so many seconds; the paths of what it tells, which the pipeline then looks at."""
        self.clock.shift_s += seconds
        dirty = self.source.spend()
        assert dirty is not None
        uris = [uri for uri in dirty.touched if not uri.endswith("/")]
        subtrees = [uri for uri in dirty.touched if uri.endswith("/")]
        if dirty.touched:
            self.rig.reconciler.look(self.source, Batch(tuple(uris), tuple(subtrees), {}))
            self.rig.work_off()
        return [uri.removeprefix(self.server.url) for uri in dirty.touched]

    def sync(self) -> str | None:
        return self.rig.sync(NAME).fault

    def text(self, path: str) -> str:
        return self.source.read(self.server.url + path).body.decode()

    @property
    def served(self) -> set[str]:
        entries = self.ledger.documents.entries(NAME)
        there = (Standing.PRESENT, Standing.HELD)
        return {uri.removeprefix(self.server.url) for uri, one in entries.items() if one.standing in there}


MakeWiki = Callable[[], Wiki]


@pytest.fixture
def make_wiki(database: Database, server: WebServer) -> Iterator[MakeWiki]:
    clock = ShiftedClock()
    with contextlib.ExitStack() as undo:

        def make() -> Wiki:
            one = Wiki(database, server, clock)
            undo.callback(one.fetcher.close)
            return one

        first = make()
        first.rig.recover()
        yield make


@pytest.fixture
def wiki(make_wiki: MakeWiki, server: WebServer) -> Wiki:
    """Twenty pages, all of them known."""
    server.pages |= {f"/{number}": page(f"page {number}") for number in range(20)}
    one = make_wiki()
    one.sync()
    assert len(one.looked()) == 20
    one.later(0.0)
    return one


def test_a_listing_looks_at_what_is_new(wiki: Wiki, server: WebServer) -> None:
    server.pages["/new"] = page("new")
    server.pages["/3"] = page("changed")
    wiki.sync()
    assert wiki.looked() == ["/new"]
    assert wiki.served == {"/new", *(f"/{number}" for number in range(20))}


def test_all_of_them_are_listed_once_a_tenth_of_the_budget_has_paid_for_it(
    wiki: Wiki, server: WebServer
) -> None:
    wiki.clock.shift_s += 20 / (LOOKS_PER_HOUR / 3600 * WHOLE_SHARE) + 1
    server.pages["/3"] = page("changed")
    wiki.sync()
    assert len(wiki.looked()) == 20
    assert "changed" in wiki.text("/3")


def test_looks_keep_to_the_budget_and_find_what_changes(wiki: Wiki, server: WebServer) -> None:
    looked, began = list[str](), wiki.clock.monotonic()
    for number in range(300):
        server.pages["/7"] = page(f"now {number}")
        wiki.later()
        looked += wiki.looked()
    rounds = (wiki.clock.monotonic() - began) / ROUND_S
    assert len(looked) <= rounds * A_ROUND + 2
    assert len(looked) >= rounds * A_ROUND * 0.9
    assert "now " in wiki.text("/7")
    often = looked[150:].count("/7")
    assert often >= 2 * max(looked[150:].count(f"/{number}") for number in range(20) if number != 7)
    assert set(looked) == {f"/{number}" for number in range(20)}, "none is left alone for ever"


def test_what_was_not_spent_is_lost(wiki: Wiki) -> None:
    wiki.later(100_000.0)
    assert 1 <= len(wiki.looked()) <= BURST_S * LOOKS_PER_HOUR / 3600


def test_what_was_found_is_not_asked_for_again(wiki: Wiki, server: WebServer) -> None:
    for number in range(20):
        server.pages[f"/{number}"] = page("changed")
    assert len(wiki.later(BURST_S)) == len(wiki.looked())
    embedded = len(wiki.rig.embedder.texts)
    wiki.sync()
    assert len(wiki.rig.embedder.texts) == embedded, "the listing has nothing to add"


def test_a_page_that_is_named_like_a_folder(make_wiki: MakeWiki, server: WebServer) -> None:
    server.pages |= {"/a/": page("one"), "/a/b": page("two")}
    wiki = make_wiki()
    wiki.sync()
    wiki.later(0.0)
    server.pages["/a/"] = page("another")
    server.paths()
    while "/a/" not in wiki.later():
        pass
    assert "/sitemap.xml" not in server.paths()
    assert "another" in wiki.text("/a/")
    assert wiki.served == {"/a/", "/a/b"}


def test_what_was_learnt_outlives_a_process(wiki: Wiki, make_wiki: MakeWiki, server: WebServer) -> None:
    for number in range(120):
        server.pages["/7"] = page(f"now {number}")
        wiki.later()
    wiki.clock.shift_s += TURN_S + 1
    other = make_wiki()
    wiki.looked()
    other.sync()
    assert wiki.looked() == []
    other.later(0.0)
    looked: list[str] = []
    for number in range(60):
        server.pages["/7"] = page(f"then {number}")
        other.later()
        looked += other.looked()
    assert looked.count("/7") > max(looked.count(f"/{number}") for number in range(20) if number != 7)


def test_one_process_looks_at_a_time(wiki: Wiki, make_wiki: MakeWiki) -> None:
    other = make_wiki()
    assert other.source.spend() is None
    wiki.later()
    assert other.source.spend() is None
    wiki.clock.shift_s += TURN_S + 1
    assert other.source.spend() is not None
    assert wiki.source.spend() is None


def test_what_leaves_the_sitemap_is_gone_and_forgotten(wiki: Wiki, server: WebServer) -> None:
    server.pages["/sitemap.xml"] = Answer(
        "\n".join(f"{server.url}/{number}" for number in range(15)).encode(), media_type="text/plain"
    )
    wiki.clock.shift_s += 60
    wiki.sync()
    assert wiki.served == {f"/{number}" for number in range(15)}
    assert wiki.looked() == []
    assert {one.uri for one in wiki.ledger.rhythms.of(NAME)} == {
        "",
        *(f"{server.url}/{number}" for number in range(15)),
    }


def test_a_page_that_is_gone_at_two_looks(make_wiki: MakeWiki, server: WebServer) -> None:
    server.pages |= {"/a": page("one"), "/b": page("two")}
    wiki = make_wiki()
    wiki.sync()
    wiki.later(0.0)
    server.pages["/a"] = Answer(b"", 404)
    wiki.later(BURST_S)
    assert wiki.served == {"/a", "/b"}
    while "/a" not in wiki.later(APART_S + 1):
        pass
    assert wiki.served == {"/b"}


def test_a_site_that_loses_its_pages_is_not_emptied_one_by_one(wiki: Wiki, server: WebServer) -> None:
    for number in range(19):
        server.pages[f"/{number}"] = Answer(b"", 404)
    for _ in range(120):
        wiki.later(APART_S + 1)
    assert len(wiki.served) == 20 - GUARD_DOCUMENTS
    standings = {one.standing for one in wiki.ledger.documents.entries(NAME).values()}
    assert Standing.HELD in standings


def test_what_is_not_taken_any_more_is_news_once(wiki: Wiki, server: WebServer) -> None:
    server.pages["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /1\n", media_type="text/plain")
    told: list[str] = []
    for _ in range(60):
        told += wiki.later(700.0)
    assert sorted(told) == sorted(f"/{number}" for number in range(20) if str(number).startswith("1"))


def test_what_a_whole_listing_could_not_see_is_told_until_it_is_seen(wiki: Wiki, server: WebServer) -> None:
    wiki.clock.shift_s += 20 / (LOOKS_PER_HOUR / 3600 * WHOLE_SHARE) + 1
    good, server.pages["/3"] = server.pages["/3"], Answer(b"no", 403)
    assert "/3" in (wiki.sync() or "")
    wiki.clock.shift_s += 60
    assert "/3" in (wiki.sync() or "")
    server.pages["/3"] = good
    for _ in range(40):
        wiki.later()
    assert wiki.sync() is None


def test_a_server_in_trouble(wiki: Wiki, server: WebServer) -> None:
    good = dict(server.pages)
    server.pages |= {path: Answer(b"no", 403) for path in good}
    assert wiki.later(BURST_S) == []
    failed = wiki.looked()
    assert failed
    assert "could not be looked at" in (wiki.sync() or "")
    assert len(wiki.served) == 20
    server.pages |= {path: page("well again") for path in good}
    wiki.looked()
    for _ in range(40):
        wiki.later()
    assert set(failed) <= set(wiki.looked()), "they are looked at again"
    assert wiki.sync() is None


def test_sight_reaches_back_to_the_oldest_look(wiki: Wiki) -> None:
    before = wiki.ledger.sources.state(NAME)
    assert before is not None
    wiki.later()
    wiki.sync()
    after = wiki.ledger.sources.state(NAME)
    assert after is not None
    assert after.listed_at == before.listed_at
    for _ in range(60):
        wiki.later()
    wiki.sync()
    later = wiki.ledger.sources.state(NAME)
    assert later is not None
    assert later.listed_at is not None
    assert before.listed_at is not None
    assert later.listed_at > before.listed_at


def test_a_hint_has_pages_looked_at_at_once(wiki: Wiki, server: WebServer) -> None:
    server.pages |= {"/dir/": page("one"), "/dir/a": page("two")}
    wiki.sync()
    server.pages |= {"/dir/": page("changed"), "/dir/b": page("three"), "/3": page("changed, too")}
    wiki.clock.shift_s += 60
    wiki.looked()
    hinted = Batch((f"{server.url}/3",), (f"{server.url}/dir/",), {})
    wiki.rig.reconciler.look(wiki.source, hinted)
    wiki.rig.work_off()
    assert sorted(wiki.looked()) == ["/3", "/dir/", "/dir/b"]
    assert "changed" in wiki.text("/dir/")
    assert {"/dir/", "/dir/a", "/dir/b"} <= wiki.served
    server.pages["/dir/"] = Answer(b"", 404)
    for _ in range(2):
        wiki.clock.shift_s += APART_S + 1
        wiki.rig.reconciler.look(wiki.source, hinted)
    assert "/dir/" not in wiki.served
    assert "/dir/a" in wiki.served
