"""A look at one page: what its server answers, against what was kept of it.

What is new is kept. A page that is missing counts as gone once it was missing at two looks; whatever else
keeps one from being seen says nothing about it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ingestion.clock import Clock
from ingestion.ledger.kept import Keep, Kept, KeptLook
from ingestion.parsing.decoding import declared_charset
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.survey import too_large
from ingestion.sources.web.fetching import Answer, Fetcher, Missing, Page, Refused, TooLarge, Unchanged
from ingestion.sources.web.looks import Look, Moved, Unseen, leads_to_login
from ingestion.sources.web.main_text import NoPage, asks_password, main_part
from ingestion.sources.web.robots import Robots

APART_S = 30.0  # two looks that miss a page are as far from one another at least
LOGIN_CHARACTERS = 400  # a page that asks for a password, and says no more than this, is nothing but that
_HTML = ("text/html", "application/xhtml+xml")
_BEGINS_HTML = (b"<!doctype html", b"<html")  # where a server does not say what it sends
# In the notes of a kept page: what a look is conditional on, when it changed as its server says, since when
# it is missing, which page moved here.
_VALIDATORS, _MODIFIED, _MISSING, _FROM = "validators", "modified", "missing", "from"

Known = Mapping[str, KeptLook]


class Pages:
    """Those of one source. Safe to call from several threads."""

    def __init__(
        self, source: str, kept: Kept, fetcher: Fetcher, robots: Robots, most_bytes: int, clock: Clock
    ) -> None:
        self._source = source
        self._kept = kept
        self._fetcher = fetcher
        self._robots = robots
        self._most_bytes = most_bytes
        self._clock = clock
        self._taking = threading.Lock()  # a tree takes much memory, so one at a time

    def look(self, url: str, known: Known) -> Look:
        """``known``: what is kept of it, and of where it may lead; not more than that is asked for anew."""
        before = there(known, url)

        def validators(at: str) -> Mapping[str, str]:
            """Those of this very page: where it leads for a while, others say nothing about it. None while
            it is missing, so that what comes back is read."""
            look = there(known, at)
            if look is None or _MISSING in look.notes or (at != url and came_from(look) != url):
                return {}
            return {str(name): str(value) for name, value in look.notes.get(_VALIDATORS, {}).items()}

        answer = self._fetcher.fetch(url, self._most_bytes, validators, self._robots.refusal)
        match answer:
            case Page() | Unchanged() if answer.url != url and leads_to_login(url, answer.url):
                return Unseen(url, "it leads to a login page now")
            case Page() | Unchanged() if answer.url != url and answer.moved:
                return Moved(url, answer.url, answer if isinstance(answer, Page) else None)
            case Page():
                return self.taken(url, answer, None if before is None else came_from(before))
            case Unchanged() if before is not None and answer.url == url:
                return self.seen(before)
            case Missing():
                return self.missing(url, answer.evidence, before)
        return self._not_seen(url, answer)

    def _not_seen(self, url: str, answer: Answer) -> Skipped | Unseen:
        now = self._clock.now()
        match answer:
            case Refused():
                return Skipped(url, answer.reason, now)
            case TooLarge():
                reason = too_large(answer.size_bytes, self._most_bytes, "max_document_bytes")
                return Skipped(url, reason, now, answer.size_bytes)
            case Unchanged() | Page() | Missing():
                return Unseen(url, "it answers as nothing that was asked for")
        return Unseen(url, answer.reason, answer.place)

    def taken(self, url: str, page: Page, origin: str | None = None) -> Seen | Unseen:
        """Keep what is new of a page. ``origin``: which has moved here."""
        try:
            body, media_type = self._main_part(page)
        except NoPage as error:
            return Unseen(url, str(error))
        notes: dict[str, object] = {_VALIDATORS: dict(page.validators) if page.url == url else {}}
        if page.modified is not None:
            notes[_MODIFIED] = page.modified
        if origin is not None:
            notes[_FROM] = origin
        (look,), _ = self._kept.keep(self._source, [Keep(url, body, media_type, notes=notes)])
        return self.seen(look)

    def _main_part(self, page: Page) -> tuple[bytes, str | None]:
        """What is kept of a page, and as what. Raises NoPage where it is none."""
        body, media_type = page.body, page.media_type
        if _is_html(page):
            charset = declared_charset((media_type or "").encode("ascii", "replace"))
            with self._taking:
                body, text = main_part(page.body, charset)
            if len(text) < LOGIN_CHARACTERS and asks_password(page.body):
                raise NoPage("it is a login page now")
            body, media_type = (body, "text/html; charset=utf-8") if text else (b"", media_type)
        if not body.strip():
            raise NoPage("it is empty now")
        return body, media_type

    def missing(self, url: str, evidence: str, before: KeptLook | None) -> Seen | Gone:
        """Gone at the second look that misses it."""
        now = self._clock.now()
        if before is None:
            return Gone(url, evidence, now)
        first = before.notes.get(_MISSING)
        if first is None:
            self._kept.note(self._source, url, {**before.notes, _MISSING: now}, of=before.digest)
        if first is None or now - float(first) < APART_S:
            return self.seen(before)
        # What is kept of it stays until the ledger has retired it: while it is held, it is served, and read.
        return Gone(url, f"{evidence}, as at the look before", now)

    def seen(self, look: KeptLook) -> Seen:
        changed_at = look.notes.get(_MODIFIED)
        return Seen(look.uri, look.fingerprint, None, look.size_bytes, changed_at, self._clock.now())


def _is_html(page: Page) -> bool:
    if page.media_type is None:
        return page.body[:1024].lstrip().lower().startswith(_BEGINS_HTML)
    return page.media_type.partition(";")[0].strip().lower() in _HTML


def there(known: Known, url: str) -> KeptLook | None:
    """What is kept of a page, if it is not of one that has gone."""
    look = known.get(url)
    return look if look is not None and look.is_there else None


def came_from(look: KeptLook) -> str | None:
    """The page that has moved to where this one is."""
    origin = look.notes.get(_FROM)
    return None if origin is None else str(origin)
