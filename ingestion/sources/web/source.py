"""Web pages as a source: those of a list of URLs, and those that sitemaps name.

What was read is kept in the ledger: a look asks only whether there is something newer, and workers ask
nobody. What keeps a page from being seen (a server in trouble, a login page, an empty one) says nothing about
it, and the last one stays.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, DocumentUnreadable, HeadwaterError, NotIndexable, SourceUnavailable
from ingestion.ledger.kept import Kept, KeptBody
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.shown import without_secrets
from ingestion.sources.port import Read, Watch
from ingestion.sources.read_ahead import ReadAhead, may_be_kept
from ingestion.sources.settling import Dirty
from ingestion.sources.unwatched import Unwatched
from ingestion.sources.web.fetching import CONNECTIONS, Answer, Fetcher
from ingestion.sources.web.looks import Look, Moved, Unseen, told
from ingestion.sources.web.moves import Moves, Settled, followed, hidden
from ingestion.sources.web.pages import Known, Pages, came_from, there
from ingestion.sources.web.robots import Robots
from ingestion.sources.web.rounds import Round
from ingestion.sources.web.wanted import Reading, Unreadable, Wanted

log = logging.getLogger("headwater.web")

WANTED_FOR_S = 5.0  # looks that follow a listing do not read the sitemaps again
MISSED_FOR_S = 30.0  # nor ask again for what it has missed
PATIENCE_S = 900.0  # of a listing, with hosts that want a pause between requests
LOOK_PATIENCE_S = 10.0  # of looks at single pages


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
        self.location = without_secrets(", ".join([*sitemaps, *urls]))[:500]
        self._kept = kept
        self._fetcher = fetcher
        self._urls = urls
        self._sitemaps = sitemaps
        self._clock = clock
        self._robots = Robots(fetcher, user_agent, clock)
        self._pages = Pages(name, kept, fetcher, self._robots, max_document_bytes, clock)
        self._moves = Moves(name, kept, self._pages, clock)
        self._last_wanted: tuple[float, Wanted] = (float("-inf"), Wanted())
        self._left: Collection[str] = ()  # by the last listing, in order
        self._missed: dict[str, Gone] = {}  # by the last listing

    def root(self) -> Root:
        """There is no such thing as an empty web: what cannot be reached is a fault of the listing."""
        return Root(present=True, device=None)

    def list(self) -> Listing:
        started_at = self._clock.now()
        self._robots.forget()
        wanted = self._read_wanted()
        known = {look.uri: look for look in self._kept.below(self.name, "")}
        looks = self._looked_at(wanted.pages, known)
        self._missed = {look.uri: look for look in looks if isinstance(look, Gone)}
        unseen = [look for look in looks if isinstance(look, Unseen)]
        if looks and len(unseen) == len(looks) and all(look.place for look in unseen):
            raise self._unavailable(unseen[0].reason)
        sightings = {look.uri: look for look in looks if isinstance(look, Seen | Skipped)}
        for url, reason in wanted.refused.items():
            sightings.setdefault(url, Skipped(url, reason, self._clock.now()))
        return Listing(
            builtins.list(sightings.values()),
            self.root(),
            unseen={look.uri for look in unseen}.union(hidden(unseen, followed(known, wanted.pages))),
            faults=told(unseen),
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def list_below(self, prefix: str) -> Listing:
        """Looks at nothing else: the names of most pages end with '/', and each may be hinted at. What moves
        there from elsewhere, the next listing finds."""
        if not prefix:
            return self.list()
        started_at = self._clock.now()
        wanted = [*self.wanted(WANTED_FOR_S), *self._last_wanted[1].refused]
        looks = self._looks_at([uri for uri in wanted if uri.startswith(prefix)]).values()
        unseen = [look for look in looks if isinstance(look, Unseen)]
        return Listing(
            [look for look in looks if isinstance(look, Seen | Skipped)],
            self.root(),
            unseen={look.uri for look in unseen},
            faults=told(unseen),
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def look(self, uri: str) -> Observation:
        look = self._looks_at([uri])[uri]
        if isinstance(look, Unseen):  # of one page: that the place itself is away, a listing tells
            raise self._unreadable(uri, look.reason)
        return look

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        return {uri: look for uri, look in self._looks_at(uris).items() if not isinstance(look, Unseen)}

    def read(self, uri: str) -> Content:
        return self._content(uri, self._kept.body(self.name, uri) if _may_be(uri) else None)

    def reading(self, uris: Sequence[str]) -> Read:
        return ReadAhead(self._kept, self.name, uris, self._content)

    def _content(self, uri: str, found: KeptBody | None) -> Content:
        if found is None:  # never seen yet, or forgotten with its last retirement
            look = self.look(uri)
            if isinstance(look, Skipped):
                raise NotIndexable(look.reason, source=self.name, uri=uri)
            found = self._kept.body(self.name, uri) if _may_be(uri) else None
        if found is None:
            raise DocumentGone(f"{uri} is not kept.", source=self.name, uri=uri)
        kept, body = found
        return Content(body, self._pages.seen(kept), kept.media_type)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Unwatched()

    def wanted(self, age_s: float = 0.0) -> Collection[str]:
        """What a listing would look at, and where that has moved to, as of so many seconds ago or later."""
        read_at, wanted = self._last_wanted
        if self._clock.monotonic() - read_at >= age_s:
            wanted = self._read_wanted()
        known = {look.uri: look for look in self._kept.below(self.name, "")}
        return {**wanted.pages, **dict.fromkeys(followed(known, wanted.pages))}.keys()

    def _looked_at(self, wanted: Mapping[str, None], known: Known) -> builtins.list[Settled]:
        """A look at each: those first that the last listing has left."""
        pages = dict.fromkeys([*(url for url in self._left if url in wanted), *wanted])
        round_ = self._round(pages, known, PATIENCE_S)
        looks = self._moves.settle(builtins.list(round_.looks.values()), wanted, known)
        left = [Unseen(url, why, place=True, left=True) for url, why in round_.left.items()]
        self._left = round_.left
        covered = {look.uri for look in (*looks, *left) if not isinstance(look, Gone)}
        strays = [
            uri
            for uri, origin in followed(known, wanted).items()
            if uri not in covered and origin not in covered
        ]
        alone = self._round(strays, known, LOOK_PATIENCE_S)
        return [*looks, *left, *self._moves.settle(builtins.list(alone.looks.values()), wanted, known)]

    def _looks_at(self, uris: Sequence[str]) -> dict[str, Settled]:
        """A look at each. A move is left to the next listing, which sees what else has moved there."""
        now = self._clock.now()
        missed = {uri: gone for uri in uris if (gone := self._missed.pop(uri, None)) is not None}
        found: dict[str, Settled] = {
            uri: gone for uri, gone in missed.items() if now - gone.observed_at < MISSED_FOR_S
        }
        asked = [uri for uri in dict.fromkeys(uris) if uri not in found]
        known = self._kept.find(self.name, [uri for uri in asked if _may_be(uri)])
        wanted, pages = self._wanted_with(asked, known)
        for uri in asked:
            if uri in wanted.refused:
                found[uri] = Skipped(uri, wanted.refused[uri], now)
            elif uri not in pages:  # nobody is asked about it any more
                found[uri] = Gone(uri, "it is none of the URLs, nor in a sitemap", now)
        looked = self._round(pages, known, LOOK_PATIENCE_S)
        moved = [look for look in looked.looks.values() if isinstance(look, Moved)]
        known |= self._kept.find(self.name, [look.to for look in moved])
        settled = self._moves.settle(
            [self._as_before(look, known) for look in looked.looks.values()], wanted.pages, known
        )
        left = {uri: Unseen(uri, why, place=True, left=True) for uri, why in looked.left.items()}
        return found | left | {look.uri: look for look in settled if look.uri in pages}

    def _as_before(self, look: Look, known: Known) -> Look:
        before = there(known, look.uri) if isinstance(look, Moved) else None
        return look if before is None else self._pages.seen(before)

    def _round(self, pages: Iterable[str], known: Known, patience_s: float) -> Round[Look]:
        def look(url: str) -> Look:
            try:
                return self._pages.look(url, known)
            except HeadwaterError:
                raise
            except Exception as error:
                log.exception("unexpected error at a page of %s", self.name)
                return Unseen(url, f"unexpected {type(error).__name__}")

        made: Round[Look] = Round(pages, self._fetcher.hosts, self._clock, look, patience_s=patience_s)
        made.run(CONNECTIONS)
        return made

    def _wanted_with(self, uris: Sequence[str], known: Known) -> tuple[Wanted, Collection[str]]:
        """What is wanted, and which of these are to be looked at. What was wanted some time ago will do for
        those that are among it: that they no longer are, the next listing finds. But that they are not yet,
        only the sitemaps can say."""
        read_at, wanted = self._last_wanted
        pages = self._among(uris, known, wanted)
        if len(pages) < len(uris) and self._clock.monotonic() - read_at >= WANTED_FOR_S:
            wanted = self._read_wanted()
            pages = self._among(uris, known, wanted)
        return wanted, pages

    def _among(self, uris: Sequence[str], known: Known, wanted: Wanted) -> Collection[str]:
        """Those that are wanted, or that a page that is has moved to."""
        origins = {
            origin
            for uri in uris
            if (look := there(known, uri)) is not None
            and (origin := came_from(look)) in wanted.pages
            and origin is not None
        }
        moved_to = followed({**known, **self._kept.find(self.name, [*origins])}, wanted.pages)
        return dict.fromkeys(uri for uri in uris if uri in wanted.pages or uri in moved_to)

    def _read_wanted(self) -> Wanted:
        """Raises SourceUnavailable where a sitemap cannot be read whole."""
        read_at = self._clock.monotonic()
        try:
            wanted = Reading(self._sitemap, self._urls, self._sitemaps, self._clock).wanted()
        except Unreadable as error:
            raise self._unavailable(str(error)) from None
        self._last_wanted = read_at, wanted
        return wanted

    def _sitemap(self, url: str, most_bytes: int) -> Answer:
        """A file that is there says little of whether the pages are."""
        return self._fetcher.fetch(url, most_bytes, proves=False)

    def _unavailable(self, reason: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"The web source {self.name} cannot be looked at: {without_secrets(reason)}.",
            hint="What is indexed of it stays searchable. It is looked at again on schedule.",
            source=self.name,
        )

    def _unreadable(self, uri: str, reason: str) -> DocumentUnreadable:
        return DocumentUnreadable(
            f"{uri} in source {self.name} cannot be read: {reason}.",
            hint="It is looked at again on schedule.",
            source=self.name,
            uri=uri,
        )


def _may_be(uri: str) -> bool:
    return uri.startswith(("http://", "https://")) and may_be_kept(uri)
