"""What robots.txt allows (RFC 9309), and the pause that it asks for: kept for some minutes.

A host without one allows everything; one that cannot say allows nothing now.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from protego import Protego

from ingestion.clock import Clock
from ingestion.sources.web.fetching import Failed, Fetcher, Page, Refused, TooLarge
from ingestion.sources.web.urls import place_of

MAX_BYTES = 512 * 1024  # more than the 500 KiB that must be read
FOR_S = 600.0  # so long they are believed, between two listings
FAULT_FOR_S = 30.0


@dataclass(slots=True)
class _Rules:
    """Of one host. ``found`` is None before they were asked for."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    found: Protego | Failed | None = None
    until: float = float("-inf")


class Robots:
    """Safe to call from several threads. Hosts are told what pause they ask for."""

    def __init__(self, fetcher: Fetcher, user_agent: str, clock: Clock) -> None:
        self._fetcher = fetcher
        self._user_agent = user_agent
        self._clock = clock
        self._lock = threading.Lock()
        self._rules: dict[str, _Rules] = {}

    def forget(self) -> None:
        """Ask everybody anew."""
        with self._lock:
            self._rules = {}

    def refusal(self, url: str) -> Refused | Failed | None:
        """Why a URL is not to be looked at, or None; Failed where the host cannot say now."""
        place = f"{urlsplit(url).scheme}://{place_of(url)}"
        with self._lock:
            rules = self._rules.setdefault(place, _Rules())
        with rules.lock:  # one request, however many wait for it; other hosts' pages do not
            if rules.until <= self._clock.monotonic():
                rules.found = self._asked(place)
                kept_s = FAULT_FOR_S if isinstance(rules.found, Failed) else FOR_S
                rules.until = self._clock.monotonic() + kept_s
            found = rules.found
        if found is None or isinstance(found, Failed):
            return found
        allowed = found.can_fetch(url, self._user_agent)
        return None if allowed else Refused(f"robots.txt of {place_of(url)} disallows it")

    def _asked(self, place: str) -> Protego | Failed:
        # A file that is there says little of whether the pages are.
        answer = self._fetcher.fetch(f"{place}/robots.txt", MAX_BYTES, proves=False)
        if isinstance(answer, TooLarge):  # what it forbids may stand in the rest
            return Failed("robots.txt is too large to be read")
        if isinstance(answer, Failed) and not _is_refused(answer):
            return Failed(f"robots.txt: {answer.reason}", answer.place)
        rules = Protego.parse(answer.body.decode("utf-8-sig", "replace") if isinstance(answer, Page) else "")
        self._fetcher.hosts.slow_down(place_of(place), rules.crawl_delay(self._user_agent) or 0.0)
        return rules


def _is_refused(answer: Failed) -> bool:
    """A client's error: then there are no rules (RFC 9309, 2.3.1.3). One of too many requests is none."""
    return answer.status is not None and 400 <= answer.status < 500 and not answer.place
