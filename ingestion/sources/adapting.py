"""A source whose documents are looked at one by one, so many an hour, where looks find the most change.

It stands before another one, which knows what there is and how to look. Between two listings a watch spends
the budget (``ingestion.adaptive`` says where), and tells only of what has changed. A listing asks what there
is and looks at what is new. One at everything, which alone sees what moved, comes when a tenth of the budget
has paid for it.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ingestion.clock import Clock
from ingestion.ledger.kept import KeptLook
from ingestion.ledger.ledger import Ledger
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped, Standing
from ingestion.sources.polling import Polling
from ingestion.sources.port import Read, SourcePort, Watch
from ingestion.sources.read_ahead import may_be_kept
from ingestion.sources.rhythm import Rhythmic
from ingestion.sources.settling import Dirty, Touch

ROUND_S = 10.0
BURST_S = 60.0  # what was not spent, while nobody ran, is lost: looks missed are not caught up with
WHOLE_SHARE = 0.1
JUST_S = 60.0  # a listing has asked what there is


class OneByOne(SourcePort, Protocol):
    """A source that keeps its documents in the ledger and can say what there is without looking at it."""

    def wanted(self, age_s: float = 0.0) -> Collection[str]:
        """URIs of all that there is, as of so many seconds ago or later. Raises SourceUnavailable."""


class AdaptiveSource:
    """Safe to call from several threads: they look one after the other, and what was just found, or is known,
    is told while another one looks."""

    def __init__(self, inner: OneByOne, ledger: Ledger, *, looks_per_hour: float, clock: Clock) -> None:
        self.name, self.kind, self.location = inner.name, inner.kind, inner.location
        self._inner = inner
        self._ledger = ledger
        self._looks_per_s = looks_per_hour / 3600.0
        self._clock = clock
        self._looking = threading.Lock()
        self._known = threading.Lock()  # of all below; held for no look
        self._rhythm = Rhythmic(self.name, ledger.rhythms)
        self._just: dict[str, Observation] = {}  # found by the last round, and not asked for since
        self._failing: dict[str, None] = {}
        self._purse = 0.0  # looks that may be spent
        self._filled_at = clock.monotonic()
        self._mine = False

    def root(self) -> Root:
        return self._inner.root()

    def list(self) -> Listing:
        with self._looking:
            with self._known:
                all_are_due = self._all_are_due()
            return self._list_all() if all_are_due else self._list_new()

    def list_below(self, prefix: str) -> Listing:
        """What is known there. Unless a round has just told of it, the document of that name is looked at,
        and what is new below: somebody has hinted at them."""
        if not prefix:
            return self.list()
        with self._known:
            is_told = any(uri.startswith(prefix) for uri in self._just)
        found = {} if is_told else self._look_below(prefix)
        at = self._clock.now()
        kept = self._ledger.kept.below(self.name, prefix)
        with self._known:
            sightings = self._sightings(kept, found)
            below = [uri for uri in self._rhythm.uris() if uri.startswith(prefix)]
            unseen = {uri for uri in below if uri not in sightings and uri not in self._just}
        return Listing(
            builtins.list(sightings.values()), self.root(), unseen=unseen, started_at=at, finished_at=at
        )

    def look(self, uri: str) -> Observation:
        with self._known:
            if uri in self._just:
                return _singly(self._just.pop(uri))
        with self._looking:
            before = self._kept([uri])
            with self._known:
                self._purse -= 1
            found = self._inner.look(uri)
            self._learn({uri: found}, before)
        return _singly(found)

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        with self._known:
            found = {uri: self._just.pop(uri) for uri in uris if uri in self._just}
        if rest := [uri for uri in uris if uri not in found]:
            with self._looking:
                found.update(self._looked(rest, self._kept(rest)))
        return {uri: _singly(one) for uri, one in found.items()}

    def read(self, uri: str) -> Content:
        return self._inner.read(uri)

    def reading(self, uris: Sequence[str]) -> Read:
        return self._inner.reading(uris)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return _Paced(self.spend, on_dirty, every_s=ROUND_S, name=self.name, clock=self._clock)

    def spend(self) -> Dirty | None:
        """A round of looks, as many as there is budget for by now; what has changed. None where another
        process looks. Raises SourceUnavailable."""
        if not self._is_mine():
            return None
        with self._looking:
            with self._known:
                self._fill()
                number = max(0, int(self._purse))
                chosen = self._rhythm.next(number, self._clock.now()) if number else ()
            if not chosen:
                return Dirty()
            before = self._kept(chosen)
            found = self._looked(chosen, before)
            news = {uri: found[uri] for uri, is_news in self._news(found, before).items() if is_news}
            with self._known:
                failing = [uri for uri in (*self._failing, *chosen) if uri not in found]
                self._failing = {uri: None for uri in failing if uri in self._rhythm}
                self._just = dict(news)
        return Dirty(dict.fromkeys(news, Touch.SETTLED))

    def _is_mine(self) -> bool:
        mine = self._ledger.turns.take(self.name)
        with self._known:
            if mine and not self._mine:  # whoever looked before knows more than was loaded here
                self._rhythm.reload()
            if not mine:
                self._filled_at = self._clock.monotonic()
            self._mine = mine
        return mine

    def _fill(self) -> None:
        now = self._clock.monotonic()
        pace = self._looks_per_s * (1 - WHOLE_SHARE)
        self._purse = min(self._purse + (now - self._filled_at) * pace, max(1.0, BURST_S * pace))
        self._filled_at = now

    def _looked(self, uris: Sequence[str], before: Mapping[str, KeptLook]) -> Mapping[str, Observation]:
        with self._known:
            self._purse -= len(uris)
            self._rhythm.tried(uris, self._clock.now())
        found = self._inner.looks(uris)
        self._learn(found, before)
        return found

    def _news(self, found: Mapping[str, Observation], before: Mapping[str, KeptLook]) -> Mapping[str, bool]:
        """Whether each is another than before. What is not taken, or missing and held, is so at every look:
        that is news once."""
        not_there = [uri for uri, one in found.items() if not isinstance(one, Seen) and uri in before]
        entries = self._ledger.documents.find(self.name, not_there) if not_there else {}
        known = {uri for uri, one in entries.items() if one.standing is not Standing.PRESENT}
        return {uri: uri not in known and _is_news(one, before.get(uri)) for uri, one in found.items()}

    def _learn(self, found: Mapping[str, Observation], before: Mapping[str, KeptLook]) -> None:
        changed = self._news(found, before)
        with self._known:
            known = {uri: news for uri, news in changed.items() if uri in self._rhythm}
            self._rhythm.looked(known, self._clock.now())

    def _all_are_due(self) -> bool:
        number, last = len(self._rhythm), self._rhythm.whole_at
        paid_for_s = number / (self._looks_per_s * WHOLE_SHARE)
        return last is None or not 0.0 <= self._clock.now() - last < paid_for_s

    def _list_all(self) -> Listing:
        before = {look.uri: look for look in self._ledger.kept.below(self.name, "")}
        listing = self._inner.list()
        news = {one.uri: _is_news(one, before.get(one.uri)) for one in listing.sightings}
        there = {**dict.fromkeys(self._inner.wanted(JUST_S), False), **news}
        with self._known:
            self._rhythm.only(there)
            unseen = [uri for uri in there if uri in listing.unseen]
            failing = {uri: None for uri in unseen if uri in self._rhythm}
            looked = {uri: changed for uri, changed in there.items() if uri not in failing}
            self._rhythm.looked(looked, listing.started_at, whole=True)
            self._rhythm.tried(failing, listing.started_at)
            self._failing = dict.fromkeys(unseen)
        return listing

    def _look_below(self, prefix: str) -> Mapping[str, Observation]:
        with self._looking:
            wanted = [uri for uri in self._inner.wanted() if uri.startswith(prefix)]
            with self._known:
                asked = [uri for uri in wanted if uri == prefix or uri not in self._rhythm]
            found = self._looked(asked, self._kept(asked)) if asked else {}
            with self._known:
                new = {uri: False for uri in found if uri not in self._rhythm}
                self._rhythm.looked(new, self._clock.now())
                self._just.update({uri: one for uri, one in found.items() if not isinstance(one, Seen)})
        return found

    def _list_new(self) -> Listing:
        started_at = self._clock.now()
        wanted = self._inner.wanted()
        with self._known:
            new = [uri for uri in wanted if uri not in self._rhythm]
        found = self._inner.looks(new) if new else {}
        kept = self._ledger.kept.below(self.name, "")
        with self._known:
            self._rhythm.only(wanted)
            self._rhythm.looked(dict.fromkeys(found, False), started_at)
            sightings = self._sightings(kept, found)
            failing = [*self._failing, *(uri for uri in new if uri not in found)]
            seen_until = self._rhythm.oldest()
        return Listing(
            builtins.list(sightings.values()),
            self.root(),
            unseen={uri for uri in wanted if uri not in sightings},
            faults=builtins.list(_told(failing)),
            started_at=started_at,
            finished_at=self._clock.now(),
            seen_until=seen_until,
        )

    def _sightings(
        self, kept: Sequence[KeptLook], found: Mapping[str, Observation]
    ) -> dict[str, Seen | Skipped]:
        """What is kept, and what was just found not to be taken."""
        seen: dict[str, Seen | Skipped] = {
            look.uri: self._seen(look) for look in kept if look.is_there and self._may_be_told(look.uri)
        }
        return seen | {uri: one for uri, one in found.items() if isinstance(one, Skipped)}

    def _may_be_told(self, uri: str) -> bool:
        """As it was at the last look, if that has not just found it gone."""
        just = self._just.get(uri)
        return uri in self._rhythm and (just is None or isinstance(just, Seen))

    def _kept(self, uris: Sequence[str]) -> Mapping[str, KeptLook]:
        found = self._ledger.kept.find(self.name, [uri for uri in uris if may_be_kept(uri)])
        return {uri: look for uri, look in found.items() if look.is_there}

    def _seen(self, look: KeptLook) -> Seen:
        """As it was at the last look."""
        return Seen(look.uri, look.fingerprint, None, look.size_bytes, None, self._clock.now())


class _Paced(Polling):
    """Asks by looking: that nothing is told says nothing of what was not looked at."""

    def seen_until(self, now: float) -> float | None:
        return None


def _singly(found: Observation) -> Observation:
    return replace(found, singly=True) if isinstance(found, Gone) else found


def _is_news(found: Observation, before: KeptLook | None) -> bool:
    if before is None:
        return isinstance(found, Seen)
    return not isinstance(found, Seen) or found.fingerprint != before.fingerprint


def _told(failing: Sequence[str]) -> Iterable[str]:
    if failing:
        more = f", nor could {len(failing) - 1:,} more" if len(failing) > 1 else ""
        yield f"{failing[0]} could not be looked at{more}"
