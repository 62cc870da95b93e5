"""What robots.txt allows (RFC 9309): asked once for each host in a listing.

A host without one allows everything; one that cannot say allows nothing now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from protego import Protego

from ingestion.sources.web.fetching import Answer, Failed, Page, TooLarge

MAX_BYTES = 512 * 1024  # more than the 500 KiB that must be read

Fetch = Callable[[str, int], Answer]


class Robots:
    """Safe to call from several threads."""

    def __init__(self, fetch: Fetch, user_agent: str) -> None:
        self._fetch = fetch
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._hosts: dict[str, Protego | Failed] = {}

    def refusal(self, url: str) -> str | Failed | None:
        """Why a URL is not to be looked at, or None; Failed where the host cannot say now."""
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}"
        with self._lock:  # one look at each, however many wait for it
            if place not in self._hosts:
                self._hosts[place] = self._rules(place)
            rules = self._hosts[place]
        if isinstance(rules, Failed):
            return rules
        return None if rules.can_fetch(url, self._user_agent) else "robots.txt of its host disallows it"

    def _rules(self, place: str) -> Protego | Failed:
        answer = self._fetch(f"{place}/robots.txt", MAX_BYTES)
        if isinstance(answer, Page):
            return Protego.parse(answer.body.decode("utf-8", "replace"))
        if isinstance(answer, TooLarge):  # what it forbids may stand in the rest
            return Failed("robots.txt is too large to be read")
        if isinstance(answer, Failed) and (answer.place or "HTTP 4" not in answer.reason):
            return Failed(f"robots.txt: {answer.reason}", answer.place)
        return Protego.parse("")
