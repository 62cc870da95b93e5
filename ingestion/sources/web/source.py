"""Web pages as a source: those of a list of URLs, and those that sitemaps name.

What was read is kept in the ledger: a look asks only whether there is something newer, and workers ask
nobody. A page that is missing counts as gone once it was missing at two looks; whatever else keeps one from
being seen (a server in trouble, a login page, an empty one) says nothing about it, and the last one stays.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, DocumentUnreadable, NotIndexable, SourceUnavailable
from ingestion.ledger.kept import Keep, Kept, KeptBody, KeptLook
from ingestion.parsing.decoding import declared_charset
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.sources.port import Read, Watch, one_by_one
from ingestion.sources.read_ahead import ReadAhead, may_be_kept
from ingestion.sources.settling import Dirty
from ingestion.sources.survey import too_large
from ingestion.sources.unwatched import Unwatched
from ingestion.sources.web.fetching import Failed, Fetcher, Missing, Page, TooLarge, Unchanged, moment
from ingestion.sources.web.main_text import NoPage, asks_password, main_part
from ingestion.sources.web.robots import Robots
from ingestion.sources.web.sitemaps import MAX_BYTES, MAX_URLS, NoSitemap, Sitemap, parse_sitemap

THREADS = 8
APART_S = 30.0  # two looks that miss a page are as far from one another at least
WANTED_FOR_S = 5.0  # a look that follows a listing does not read the sitemaps again
MAX_SITEMAPS = 500
FAULTS_TOLD = 5
LOGIN_CHARACTERS = 400  # a page that asks for a password, and says no more than this, is nothing but that
_HTML = ("text/html", "application/xhtml+xml")
_VALIDATORS, _MISSING, _FROM = "validators", "missing", "from"  # in the notes of a kept page


@dataclass(frozen=True, slots=True)
class _Unseen:
    """Nothing is known of a page now; what was known of it stays."""

    uri: str
    reason: str
    place: bool = False


@dataclass(frozen=True, slots=True)
class _Moved:
    """For good. ``page``: what is there, None where it is as it was kept."""

    uri: str
    to: str
    page: Page | None


_Look = Seen | Skipped | Gone | _Unseen | _Moved


class WebSource:
    """Safe to call from several threads."""

    kind = "web"

    def __init__(
        self,
        name: str,
        kept: Kept,
        fetcher: Fetcher,
        *,
        urls: Sequence[str],
        sitemaps: Sequence[str],
        max_document_bytes: int,
        user_agent: str,
        clock: Clock,
    ) -> None:
        self.name = name
        self.location = ", ".join([*sitemaps, *urls])[:500]
        self._kept = kept
        self._fetcher = fetcher
        self._urls = urls
        self._sitemaps = sitemaps
        self._most_bytes = max_document_bytes
        self._user_agent = user_agent
        self._clock = clock
        self._last_wanted: tuple[float, Mapping[str, None]] = (float("-inf"), {})

    def root(self) -> Root:
        """There is no such thing as an empty web: what cannot be reached is a fault of the listing."""
        return Root(present=True, device=None)

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        """Looks at everything: a page below the prefix may be where one from elsewhere has moved to."""
        started_at = self._clock.now()
        wanted = self._wanted()
        known = {look.uri: look for look in self._kept.below(self.name, "")}
        robots = self._robots()
        with ThreadPoolExecutor(THREADS, thread_name_prefix=f"web-{self.name}") as threads:
            looks = builtins.list(threads.map(lambda url: self._look(url, known, robots), wanted))
        looks = [look for look in self._after_moves(looks, wanted) if look.uri.startswith(prefix)]
        unseen = [look for look in looks if isinstance(look, _Unseen)]
        if looks and len(unseen) == len(looks) and all(look.place for look in unseen):
            raise self._unavailable(unseen[0].reason)
        return Listing(
            [look for look in looks if isinstance(look, Seen | Skipped)],
            self.root(),
            blind=[*(look.uri for look in unseen), *_moved_from(unseen, known)],
            faults=_told(unseen),
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def look(self, uri: str) -> Observation:
        known = self._kept.find(self.name, [uri]) if _may_be(uri) else {}
        wanted = self._wanted(age_s=WANTED_FOR_S)
        if uri not in wanted and not self._moved_here(uri, wanted):  # nobody is asked about it any more
            return Gone(uri, "it is none of the URLs, nor in a sitemap", self._clock.now())
        found, before = self._look(uri, known, self._robots()), known.get(uri)
        if isinstance(found, _Moved) and before is not None and before.digest is not None:
            return self._seen(before)  # a listing sees where to, and what else has moved there
        (look,) = [one for one in self._after_moves([found], wanted) if one.uri == uri]
        if isinstance(look, _Unseen):  # of one page: that the place itself is away, a listing tells
            raise self._unreadable(uri, look.reason)
        assert not isinstance(look, _Moved)
        return look

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        return one_by_one(self.look, uris)

    def read(self, uri: str) -> Content:
        return self._content(uri, self._kept.body(self.name, uri) if _may_be(uri) else None)

    def reading(self, uris: Sequence[str]) -> Read:
        return ReadAhead(self._kept, self.name, uris, self._content)

    def _content(self, uri: str, found: KeptBody | None) -> Content:
        if found is None:  # never seen yet
            look = self.look(uri)
            if isinstance(look, Skipped):
                raise NotIndexable(look.reason, source=self.name, uri=uri)
            found = self._kept.body(self.name, uri)
        if found is None:
            raise DocumentGone(f"{uri} is not kept.", source=self.name, uri=uri)
        kept, body = found
        return Content(body, self._seen(kept), kept.media_type)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Unwatched()

    def _robots(self) -> Robots:
        return Robots(self._fetcher.fetch, self._user_agent)

    def _wanted(self, age_s: float = 0.0) -> Mapping[str, None]:
        """Every URL that is to be looked at, as of so many seconds ago or later.

        Raises SourceUnavailable where a sitemap cannot be read whole.
        """
        read_at, wanted = self._last_wanted
        if self._clock.monotonic() - read_at >= age_s:
            read_at, wanted = self._clock.monotonic(), self._read_wanted()
            self._last_wanted = read_at, wanted
        return wanted

    def _read_wanted(self) -> Mapping[str, None]:
        found = dict.fromkeys(self._urls)
        pending, read = builtins.list(self._sitemaps), set[str]()
        while pending:
            url = pending.pop()
            if url in read:
                continue
            read.add(url)
            if len(read) > MAX_SITEMAPS:
                raise self._unavailable(f"there are more than {MAX_SITEMAPS} sitemaps")
            sitemap = self._sitemap(url)
            if sitemap.is_index:
                pending += sitemap.urls
            else:
                found |= dict.fromkeys(sitemap.urls)
            if len(found) > MAX_URLS:
                raise self._unavailable(f"the sitemaps name more than {MAX_URLS:,} pages")
        return found

    def _moved_here(self, uri: str, wanted: Mapping[str, None]) -> bool:
        """Whether a page that is to be looked at has moved here for good."""
        look = self._kept.find(self.name, [uri]).get(uri)
        return look is not None and look.notes.get(_FROM) in wanted

    def _sitemap(self, url: str) -> Sitemap:
        answer = self._fetcher.fetch(url, MAX_BYTES)
        if isinstance(answer, Page):
            try:
                return parse_sitemap(answer.body)
            except NoSitemap as error:
                raise self._unavailable(f"of {url}, {error}") from None
        reason = (
            answer.reason if isinstance(answer, Failed) else str(getattr(answer, "evidence", "too large"))
        )
        raise self._unavailable(f"{url}: {reason}")

    def _look(self, url: str, known: Mapping[str, KeptLook], robots: Robots) -> _Look:
        before = known.get(url)
        if before is not None and before.digest is None:
            before = None
        refusal = robots.refusal(url)
        if isinstance(refusal, Failed):
            return _Unseen(url, refusal.reason, refusal.place)
        if refusal is not None:
            return Skipped(url, refusal, self._clock.now())

        def validators(at: str) -> Mapping[str, str]:
            """Those of this very page: where it leads for a while, others say nothing about it. None while
            it is missing, so that what comes back is read."""
            look = known.get(at)
            if look is None or look.digest is None or _MISSING in look.notes:
                return {}
            told = look.notes.get(_VALIDATORS, {}) if at == url or look.notes.get(_FROM) == url else {}
            return {str(name): str(value) for name, value in told.items()}

        answer = self._fetcher.fetch(url, self._most_bytes, validators)
        if isinstance(answer, Page | Unchanged) and answer.moved and answer.url != url:
            return _Moved(url, answer.url, answer if isinstance(answer, Page) else None)
        if isinstance(answer, Page):
            return self._taken(url, answer)
        if isinstance(answer, Unchanged) and before is not None and answer.url == url:
            return self._seen(before)
        if isinstance(answer, Missing):
            return self._missing(url, answer.evidence, before)
        if isinstance(answer, TooLarge):
            reason = too_large(answer.size_bytes, self._most_bytes, "max_document_bytes")
            return Skipped(url, reason, self._clock.now(), answer.size_bytes)
        reason = answer.reason if isinstance(answer, Failed) else "it answers as nothing that was asked for"
        return _Unseen(url, reason, isinstance(answer, Failed) and answer.place)

    def _taken(self, url: str, page: Page, came_from: str | None = None) -> Seen | _Unseen:
        """Keep what is new of a page."""
        body, media_type = page.body, page.media_type
        if media_type is not None and media_type.partition(";")[0].strip().lower() in _HTML:
            try:
                body, text = main_part(page.body, declared_charset(media_type.encode("ascii", "replace")))
            except NoPage as error:
                return _Unseen(url, f"it is no HTML ({error})")
            if asks_password(page.body) and len(text) < LOGIN_CHARACTERS:
                return _Unseen(url, "it is a login page now")
            body, media_type = (body, "text/html; charset=utf-8") if text else (b"", media_type)
        if not body.strip():
            return _Unseen(url, "it is empty now")
        notes: dict[str, object] = {_VALIDATORS: dict(page.validators) if page.url == url else {}}
        if came_from is not None:
            notes[_FROM] = came_from
        (look,), _ = self._kept.keep(self.name, [Keep(url, body, media_type, notes=notes)])
        return self._seen(look)

    def _missing(self, url: str, evidence: str, before: KeptLook | None) -> Seen | Gone:
        """Gone at the second look that misses it."""
        now = self._clock.now()
        if before is None:
            return Gone(url, evidence, now)
        first = before.notes.get(_MISSING)
        if first is None:
            self._kept.note(self.name, url, {**before.notes, _MISSING: now}, of=before.digest)
        if first is None or now - float(first) < APART_S:
            return self._seen(before)
        # What is kept of it stays: where the absence is held, it is served, and read for another edition.
        return Gone(url, f"{evidence}, as at the look before", now)

    def _after_moves(self, looks: Sequence[_Look], wanted: Collection[str]) -> builtins.list[_Look]:
        """A page that moved for good is another document, which the survey knows again by its content; where
        its new place is a document's already, or that of several, it is as good as missing."""
        targets = Counter(look.to for look in looks if isinstance(look, _Moved))
        found: builtins.list[_Look] = []
        for look in looks:
            if not isinstance(look, _Moved):
                found.append(look)
                continue
            known = self._kept.find(self.name, [look.uri, look.to])
            before, there = known.get(look.uri), known.get(look.to)
            evidence = f"it moved for good to {look.to}"
            alone = targets[look.to] == 1 and look.to not in wanted
            if not alone:
                lives = before is not None and before.digest is not None
                found.append(self._missing(look.uri, evidence, before if lives else None))
                continue
            taken: _Look | None = None
            if look.page is not None:
                taken = self._taken(look.to, look.page, look.uri)
            elif there is not None and there.digest is not None:
                taken = self._seen(there)
            if isinstance(taken, Seen):
                if before is not None and before.digest is not None:
                    self._kept.keep(self.name, [Keep(look.uri, None)])
                found += [taken, Gone(look.uri, evidence, self._clock.now())]
            else:
                reason = taken.reason if isinstance(taken, _Unseen) else evidence
                found.append(_Unseen(look.uri, reason))
        return found

    def _seen(self, look: KeptLook) -> Seen:
        changed_at = moment(look.notes.get(_VALIDATORS, {}).get("If-Modified-Since"))
        return Seen(look.uri, look.fingerprint, None, look.size_bytes, changed_at, self._clock.now())

    def _unavailable(self, reason: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"The web source {self.name} cannot be looked at: {reason}.",
            hint="What is indexed of it stays searchable. It is looked at again on schedule.",
            source=self.name,
        )

    def _unreadable(self, uri: str, reason: str) -> DocumentUnreadable:
        return DocumentUnreadable(
            f"{uri} in source {self.name} cannot be read: {reason}.",
            hint="Its last revision stays searchable.",
            source=self.name,
            uri=uri,
        )


def _moved_from(unseen: Iterable[_Unseen], known: Mapping[str, KeptLook]) -> Iterator[str]:
    """The pages that those have moved to for good: they cannot be seen either."""
    names = {look.uri for look in unseen}
    return (uri for uri, look in known.items() if look.notes.get(_FROM) in names)


def _told(unseen: Iterable[_Unseen]) -> builtins.list[str]:
    """The first few in full: thousands may have one reason."""
    lines = [f"{look.uri}: {look.reason}" for look in unseen]
    more = len(lines) - FAULTS_TOLD
    return [*lines[:FAULTS_TOLD], *([f"and {more:,} more"] if more > 0 else [])]


def _may_be(uri: str) -> bool:
    return uri.startswith(("http://", "https://")) and may_be_kept(uri)
