"""A web source in a ledger, beside a server on loopback that has its pages."""

from __future__ import annotations

from collections.abc import Callable

from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.records import Listing, Seen
from ingestion.sources.web.fetching import Fetcher
from ingestion.sources.web.pages import APART_S
from ingestion.sources.web.source import WANTED_FOR_S, WebSource
from tests.rig import ShiftedClock
from tests.servers.web import Answer, WebServer

NAME = "wiki"
PAGE = """<!doctype html><html><head><title>Leave</title><script nonce="{n}">x({n})</script></head><body>
<nav>Home | {n}</nav><header>Banner {n}</header><main class="c{n}"><header><h1>Annual leave</h1></header>
<p data-n="{n}">Thirty days of {what}.</p><aside>Advertisement {n}</aside></main>
<footer>generated at {n}</footer></body></html>"""


def page(n: int = 1, what: str = "holiday") -> Answer:
    return Answer(PAGE.format(n=n, what=what).encode())


class Wiki:
    """A web source of one sitemap, or of these paths instead; a URL stands for itself."""

    def __init__(self, database: Database, server: WebServer, *paths: str) -> None:
        self.server, self.clock = server, ShiftedClock()
        self.ledger = Ledger(database, self.clock)
        self.fetcher = Fetcher(
            user_agent="headwater-tests", allowed=["127.0.0.1"], per_host=2, clock=self.clock
        )
        self.source = WebSource(
            NAME,
            self.ledger.kept,
            self.fetcher,
            urls=[path if "://" in path else server.url + path for path in paths],
            sitemaps=[] if paths else [f"{server.url}/sitemap.xml"],
            max_document_bytes=100_000,
            user_agent="headwater-tests",
            clock=self.clock,
        )

    def later(self, seconds: float = max(APART_S, WANTED_FOR_S) + 1) -> None:
        self.clock.shift_s += seconds

    def seen(self, listing: Listing | None = None) -> dict[str, str]:
        """Fingerprints by path."""
        listing = listing or self.source.list()
        return {
            one.uri.removeprefix(self.server.url): one.fingerprint
            for one in listing.sightings
            if isinstance(one, Seen)
        }

    def read(self, path: str) -> str:
        return self.source.read(self.server.url + path).body.decode()


MakeWiki = Callable[..., Wiki]
