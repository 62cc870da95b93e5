"""Which pages are to be looked at: those of a list, and those that sitemaps name.

A sitemap speaks for the hosts that the settings name, in whatever it or a URL of the list stands for: others'
pages are left out, with a word, or anybody who writes a sitemap could have any host read, and indexed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ingestion.clock import Clock
from ingestion.sources.web.fetching import Answer, Failed, Missing, Page
from ingestion.sources.web.sitemaps import MAX_BYTES, MAX_URLS, NoSitemap, Sitemap, parse_sitemap
from ingestion.sources.web.urls import fault_of, normal, place_of

MAX_SITEMAPS = 500
SITEMAPS_S = 600.0
ELSEWHERE = (
    "a sitemap names it, and neither a sitemap nor a URL of the source is of its host; to have pages of that "
    "host, add one to urls"
)

Fetch = Callable[[str, int], Answer]


class Unreadable(Exception):
    """A sitemap cannot be read whole: what is wanted is not known."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``pages`` to be looked at, in order; ``refused``: others that are named, and why they are not."""

    pages: Mapping[str, None] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


class Reading:
    """One reading of everything, to be thrown away afterwards."""

    def __init__(self, fetch: Fetch, urls: Sequence[str], sitemaps: Sequence[str], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._began = clock.monotonic()
        self._pages = dict.fromkeys(map(normal, urls))
        self._refused: dict[str, str] = {}
        self._places = {_family(place_of(url)) for url in map(normal, [*urls, *sitemaps])}
        self._pending = dict.fromkeys(map(normal, sitemaps))
        self._given = frozenset(self._pending)
        self._read: set[str] = set()

    def wanted(self) -> Wanted:
        """Raises Unreadable."""
        named: dict[str, None] = {}
        while self._pending:
            url, _ = self._pending.popitem()
            self._read.add(url)
            sitemap = self._sitemap(url)
            urls = dict.fromkeys(map(normal, sitemap.urls))
            if sitemap.is_index:
                self._pending |= {one: None for one in urls if one not in self._read}
            else:
                named |= urls
            self._check(len(named), len(self._read) + len(self._pending))
        for url in named:
            self._sort(url)
        return Wanted(self._pages, self._refused)

    def _sort(self, url: str) -> None:
        if url in self._pages:
            return
        if (fault := fault_of(url)) is not None:
            self._refused[url] = fault
        elif _family(place_of(url)) not in self._places:
            self._refused[url] = ELSEWHERE
        else:
            self._pages[url] = None

    def _sitemap(self, url: str) -> Sitemap:
        answer = self._fetch(url, MAX_BYTES)
        if isinstance(answer, Page):
            if url in self._given:  # a server may have another name for itself
                self._places.add(_family(place_of(answer.url)))
            try:
                return parse_sitemap(answer.body)
            except NoSitemap as error:
                raise Unreadable(f"of {url}, {error}") from None
        raise Unreadable(f"{url}: {_reason(answer)}")

    def _check(self, pages: int, sitemaps: int) -> None:
        if sitemaps > MAX_SITEMAPS:
            raise Unreadable(f"there are more than {MAX_SITEMAPS} sitemaps")
        if pages + len(self._pages) > MAX_URLS:
            raise Unreadable(f"the sitemaps name more than {MAX_URLS:,} pages")
        if self._clock.monotonic() - self._began > SITEMAPS_S:
            raise Unreadable(f"to read the sitemaps takes more than {SITEMAPS_S:.0f} s")


def _family(place: str) -> str:
    """A host with and without www is one."""
    return place.removeprefix("www.")


def _reason(answer: Answer) -> str:
    match answer:
        case Failed():
            return answer.reason
        case Missing():
            return answer.evidence
        case _:
            return "too large"
