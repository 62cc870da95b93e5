"""How gently web pages are asked for: robots.txt at each redirect, pauses, and hosts in trouble."""

from __future__ import annotations

import contextlib
import threading
import time
from email.utils import formatdate

import pytest

from ingestion.errors import DocumentUnreadable, SourceUnavailable
from ingestion.records import Seen, Skipped
from ingestion.sources.web import hosts
from ingestion.sources.web.hosts import LONGEST_ALONE_S, LONGEST_DELAY_S, PAUSE_S, TROUBLE, Hosts, LeftAlone
from ingestion.sources.web.rounds import Round
from tests.rig import ShiftedClock
from tests.servers.web import Answer, WebServer
from tests.wiki import MakeWiki, page


def robots(rules: str) -> Answer:
    return Answer(f"User-agent: *\n{rules}\n".encode(), media_type="text/plain")


def leads(url: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": url})


# robots.txt


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_robots_are_asked_where_a_page_leads_too(
    make_wiki: MakeWiki, server: WebServer, other: WebServer, status: int
) -> None:
    wiki = make_wiki("/here", "/there", "/fine")
    other.pages |= {
        "/robots.txt": robots("Disallow: /closed"),
        "/closed": page(1, "secrets"),
        "/open": page(2),
    }
    server.pages |= {
        "/robots.txt": robots("Disallow: /closed"),
        "/here": leads("/closed", status),
        "/there": leads(f"{other.url}/closed", status),
        "/fine": leads(f"{other.url}/open", status),
        "/closed": page(3, "secrets"),
    }
    listing = wiki.source.list()
    assert len([one for one in listing.sightings if isinstance(one, Seen)]) == 1
    assert listing.unseen == {f"{server.url}/here", f"{server.url}/there"}
    assert all("robots.txt" in fault for fault in listing.faults)
    assert "/closed" not in server.paths()
    asked = other.paths()
    assert "/closed" not in asked
    assert asked.count("/robots.txt") == 1, "once for a host"


def test_a_page_that_leads_to_what_is_disallowed_keeps_what_it_had(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    wiki = make_wiki("/a", "/b")
    server.pages |= {"/robots.txt": robots("Disallow: /closed"), "/a": page(1), "/b": page(2)}
    wiki.seen()
    server.pages["/a"] = leads("/closed/a", 301)
    assert wiki.seen().keys() == {"/b"}
    assert "holiday" in wiki.read("/a")


def test_a_host_whose_robots_are_slow_keeps_no_other_waiting(
    make_wiki: MakeWiki, server: WebServer, other: WebServer
) -> None:
    """Its robots.txt comes only once the other host's pages were asked for."""
    wiki = make_wiki("/a", f"{other.url}/a", f"{other.url}/b")
    other_is_done = threading.Event()
    server.pages |= {"/robots.txt": Answer(status=404, until=other_is_done), "/a": page(1)}
    other.pages |= {"/a": page(2), "/b": Answer(page(3).body, then=other_is_done)}
    assert len(wiki.source.list().sightings) == 3
    assert other_is_done.is_set()


def test_looks_at_single_pages_do_not_ask_for_robots_and_sitemaps_each_time(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    wiki = make_wiki()
    server.pages |= {f"/{number}": page(number) for number in range(3)}
    wiki.seen()
    server.paths()
    wiki.later(60.0)
    for number in (0, 1, 2, 0):
        assert isinstance(wiki.source.look(f"{server.url}/{number}"), Seen)
    assert server.paths() == ["/0", "/1", "/2", "/0"]
    assert wiki.source.looks([f"{server.url}/{number}" for number in range(3)]).keys() == {
        f"{server.url}/{number}" for number in range(3)
    }
    assert sorted(server.paths()) == ["/0", "/1", "/2"]
    server.pages["/new"] = page(9)
    assert isinstance(wiki.source.look(f"{server.url}/new"), Seen), "the sitemap is read before it is denied"
    server.pages["/robots.txt"] = robots("Disallow: /")
    wiki.later(3600.0)
    assert isinstance(wiki.source.look(f"{server.url}/0"), Skipped)


# Pauses


def test_a_pause_between_requests_is_kept_and_takes_nothing_from_others(
    make_wiki: MakeWiki, server: WebServer, other: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.sources.web.source.PATIENCE_S", 2.5)
    slow = [f"{other.url}/{number}" for number in range(20)]
    wiki = make_wiki(*slow, *(f"/{number}" for number in range(20)))
    other.pages |= {f"/{number}": page(number) for number in range(20)}
    other.pages["/robots.txt"] = robots("Crawl-delay: 1")
    server.pages |= {f"/{number}": page(number) for number in range(20)}
    began = time.monotonic()
    listing = wiki.source.list()
    took_s = time.monotonic() - began
    seen = {one.uri for one in listing.sightings if isinstance(one, Seen)}
    of_slow = seen & set(slow)
    assert len(seen - of_slow) == 20
    assert 1 <= len(of_slow) <= took_s + 1, "no more than the pause allows"
    assert listing.unseen == set(slow) - of_slow
    assert any("asks for 1 s between requests" in fault and "left" in fault for fault in listing.faults)
    again = {one.uri for one in wiki.source.list().sightings if isinstance(one, Seen)} & set(slow)
    assert again, "those first that were left"
    assert not again & of_slow


def test_a_pause_has_a_bound() -> None:
    clock = ShiftedClock()
    hosts = Hosts(2, clock)
    hosts.slow_down("h", 86_400.0)
    with hosts.turn("h", 1.0):
        pass
    assert hosts.due("h") - clock.monotonic() == pytest.approx(LONGEST_DELAY_S, abs=5)
    with pytest.raises(LeftAlone, match=r"60 s between requests"), hosts.turn("h", 1.0):
        pass
    hosts.failed("h", "HTTP 503", 10**9)
    assert hosts.due("h") - clock.monotonic() == pytest.approx(LONGEST_ALONE_S, abs=5)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("in_words", [False, True])
def test_a_host_that_asks_to_be_left_alone_is(
    make_wiki: MakeWiki, server: WebServer, other: WebServer, status: int, in_words: bool
) -> None:
    wiki = make_wiki("/busy", *(f"/{number}" for number in range(20)), f"{other.url}/a")
    server.pages |= {f"/{number}": page(number) for number in range(20)}
    until = formatdate(wiki.clock.now() + 600, usegmt=True) if in_words else "600"
    server.pages["/busy"] = Answer(status=status, headers={"Retry-After": until})
    other.pages["/a"] = page(1)
    assert len(wiki.source.list().sightings) == 1, "of the other host"
    assert server.paths() == ["/robots.txt", "/busy"]
    with pytest.raises(DocumentUnreadable, match="left alone"):
        wiki.source.look(f"{server.url}/1")
    wiki.source.list()
    assert server.paths() == []
    server.pages["/busy"] = page(99)
    wiki.later(700.0)
    assert len(wiki.source.list().sightings) == 22


def test_too_many_requests_without_a_time_is_a_short_pause(make_wiki: MakeWiki, server: WebServer) -> None:
    wiki = make_wiki("/a", "/b")
    server.pages |= {"/a": Answer(status=429), "/b": page(1)}
    with pytest.raises(SourceUnavailable):
        wiki.source.list()
    with pytest.raises(SourceUnavailable):
        wiki.source.list()
    assert server.paths().count("/a") == 1
    wiki.later()
    server.pages["/a"] = page(2)
    assert len(wiki.seen()) == 2


# Trouble


def test_a_host_in_trouble_is_asked_a_few_times_and_then_by_one_request(
    make_wiki: MakeWiki, server: WebServer, other: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "PAUSE_S", 300.0)  # longer than a listing on any machine
    paths = [f"/{number}" for number in range(200)]
    wiki = make_wiki(*paths, *(f"{other.url}{path}" for path in paths[:20]))
    server.pages |= {path: page(number, path) for number, path in enumerate(paths)}
    other.pages |= {path: page(number, f"other {path}") for number, path in enumerate(paths[:20])}
    assert len(wiki.source.list().sightings) == 220
    server.paths()
    well = dict(server.pages)
    server.pages |= dict.fromkeys([*paths, "/robots.txt"], Answer(status=500))
    server.pages["/robots.txt"] = Answer(status=404)
    listing = wiki.source.list()
    assert len(listing.sightings) == 20, "the other host's are seen"
    assert len(listing.unseen) == 200
    assert TROUBLE <= len(server.paths(500)) <= TROUBLE + 1, "two at once"
    assert len(listing.faults) < 10
    assert any("faults in a row" in fault for fault in listing.faults), "and it was not waited for"
    assert any("199" not in fault and "left to the next look" in fault for fault in listing.faults)
    wiki.source.list()
    assert server.paths() == [], "too soon"
    for _ in range(2):
        wiki.later(3600.0)
        assert len(wiki.source.list().unseen) == 200
        assert len(server.paths(500)) == 1, "a request to find out"
    server.pages |= well
    wiki.later(3600.0)
    assert len(wiki.source.list().sightings) == 220


def test_a_sitemap_that_is_there_does_not_prove_that_its_host_is_well(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    wiki = make_wiki()
    paths = [f"/{number}" for number in range(50)]
    sitemap = "\n".join(server.url + path for path in paths).encode()
    server.pages |= {"/sitemap.xml": Answer(sitemap), **dict.fromkeys(paths, Answer(status=503))}
    for most in (TROUBLE + 1, 1):
        with pytest.raises(SourceUnavailable):
            wiki.source.list()
        assert 1 <= len(server.paths(503)) <= most
        wiki.later(3600.0)


def test_pages_that_always_fail_keep_their_host_from_no_other_page(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    broken, well = [f"/broken{n}" for n in range(10)], [f"/{n}" for n in range(10)]
    wiki = make_wiki(*broken, *well)
    server.pages |= dict.fromkeys(broken, Answer(status=500)) | {path: page(1, path) for path in well}
    seen: set[str] = set()
    for _ in range(8):  # a broken page costs a listing, once there were too many
        with contextlib.suppress(SourceUnavailable):
            seen |= wiki.seen().keys()
        wiki.later(3600.0)
    assert seen == set(well)


def test_pauses_grow_with_each_fault_and_end_with_an_answer() -> None:
    clock = ShiftedClock()
    hosts = Hosts(2, clock)
    pauses = []
    for _ in range(TROUBLE + 3):
        hosts.failed("h", "HTTP 500")
        pauses.append(max(0.0, hosts.due("h") - clock.monotonic()))
    assert pauses[: TROUBLE - 1] == [0.0] * (TROUBLE - 1)
    assert pauses[TROUBLE - 1 :] == pytest.approx([PAUSE_S * factor for factor in (1, 2, 4, 8)], abs=2)
    with pytest.raises(LeftAlone, match="HTTP 500"), hosts.turn("h", 1000.0):
        pass
    hosts.answered("h")
    assert hosts.at_once("h") == 2
    assert hosts.at_once("other") == 2


def test_no_host_is_asked_more_at_once_than_it_may_be_and_all_of_them_together_not_too_much() -> None:
    now, most = dict.fromkeys(range(30), 0), dict.fromkeys(range(30), 0)
    lock = threading.Lock()
    together = [0]

    def look(url: str) -> str:
        host = int(url.split("/")[2][1:])
        with lock:
            now[host] += 1
            most[host] = max(most[host], now[host])
            together[0] = max(together[0], sum(now.values()))
        time.sleep(0.002)
        with lock:
            now[host] -= 1
        return url

    clock = ShiftedClock()
    urls = [f"http://h{host}/{number}" for host in range(30) for number in range(10)]
    one: Round[str] = Round(urls, Hosts(3, clock), clock, look, patience_s=1.0)
    one.run(8)
    assert one.looks == {url: url for url in urls}
    assert one.left == {}
    assert max(most.values()) <= 3
    assert 2 <= together[0] <= 8


def test_what_a_look_raises_ends_the_round() -> None:
    def look(url: str) -> str:
        raise LookupError(url)

    clock = ShiftedClock()
    one: Round[str] = Round(
        [f"http://h/{n}" for n in range(100)], Hosts(2, clock), clock, look, patience_s=1.0
    )
    with pytest.raises(LookupError):
        one.run(4)
