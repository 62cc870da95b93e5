"""When a hint of a change is worth a look: at once, after some quiet, or after a while of absence.

Pure: time is an argument. Hints say only that something may have happened; a look decides.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

QUIET_S = 0.1
PATIENCE_S = 2.0
CONFIRM_S = 0.2


class Touch(enum.StrEnum):
    """What an event says of a place."""

    SETTLED = "settled"  # complete now: closed after writing, or renamed into place
    WRITING = "writing"  # perhaps still being written
    ATTRIBUTES = "attributes"  # permissions, times or links changed, and perhaps nothing else
    GONE = "gone"  # deleted or moved away; perhaps about to be written anew


@dataclass(frozen=True, slots=True)
class Dirty:
    """Hints, all from one instant. A place is a URI, a prefix ending with '/' (a folder and all below
    it), or '' (everything: events were lost, or the root itself changed).

    ``moved`` maps the old place of a rename inside the source to the new one, for files and folders.
    ``touched`` says what happened to a place last, after any move.
    """

    touched: Mapping[str, Touch] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What to look at now. No URI lies below one of the subtrees, and no subtree below another, except
    the ends of moves. Both ends of a move are in one batch; the old end is a URI or subtree like any
    other."""

    uris: tuple[str, ...]
    subtrees: tuple[str, ...]
    moved: Mapping[str, str]
    since: float | None = field(default=None, compare=False)
    """When the first of what its hints tell of was told, on the clock that ``Settling`` is given."""
    unconfirmed: frozenset[str] = field(default=frozenset(), compare=False)
    """Places whose last hint was not of absence: what is missing there has just gone, perhaps by a rename
    that is still to be told."""

    @property
    def rescan(self) -> bool:
        """Whether everything must be listed."""
        return "" in self.subtrees


@dataclass(slots=True)
class _Waiting:
    first: float
    due: float
    gone: bool
    since: float  # what is told of happened no later: before ``first`` where a look left it in doubt


class Settling:
    """Turns a stream of hints into batches that are due. Not safe to share between threads."""

    def __init__(
        self, *, quiet_s: float = QUIET_S, patience_s: float = PATIENCE_S, confirm_s: float = CONFIRM_S
    ) -> None:
        """A place being written is due ``quiet_s`` after its last hint, an absent one ``confirm_s``
        after it, and neither later than ``patience_s`` after its first hint. Changed attributes are
        due after ``quiet_s`` and put nothing off: many programs set them once a file is complete."""
        self._quiet_s = quiet_s
        self._patience_s = patience_s
        self._confirm_s = confirm_s
        self._waiting: dict[str, _Waiting] = {}
        self._order: list[tuple[float, str]] = []  # heap; entries that no longer agree are dropped
        self._moved: dict[str, str] = {}

    def add(self, hint: Dirty, now: float, since: float | None = None) -> None:
        """``since``: when it was told of first, if a look has left it open."""
        since = now if since is None else since
        for old, new in hint.moved.items():
            self._moved[old] = new
            self._schedule(old, now, now, since)
            self._schedule(new, now, now, since)
        arrived = set(self._moved.values())
        for place, touch in hint.touched.items():
            if touch is not Touch.GONE:
                self._moved.pop(place, None)  # there again: its rename is not a rename any more
            # The new end of a move waits for nothing, or the old one would be looked at without it.
            at_once = touch is Touch.SETTLED or place in arrived or place in self._moved
            due = now if at_once else self._later(place, touch, now)
            self._schedule(place, now, due, since, gone=touch is Touch.GONE and not at_once)

    def due(self, now: float) -> Batch | None:
        """Everything whose time has come, removed; None if nothing."""
        ready: dict[str, _Waiting] = {}
        while (next_due := self.next_due()) is not None and next_due <= now:
            _, place = heapq.heappop(self._order)
            ready[place] = self._waiting.pop(place)
        self._keep_deletions_together(ready, now)
        if not ready:
            return None
        moved = {old: new for old, new in self._moved.items() if old in ready or new in ready}
        for old in moved:
            del self._moved[old]
        return _batch(ready, moved)

    def _keep_deletions_together(self, ready: dict[str, _Waiting], now: float) -> None:
        """While more places are still disappearing, those that are gone wait for them: a tree that is being
        removed must be judged as one."""
        last = max((waiting.due for waiting in self._waiting.values() if waiting.gone), default=None)
        if last is None:
            return
        for place, waiting in list(ready.items()):
            patient_until = waiting.first + self._patience_s
            if waiting.gone and patient_until > now:
                del ready[place]
                self._put(place, replace(waiting, due=min(last, patient_until)))

    def next_due(self) -> float | None:
        """When ``due`` will next have something, or None while nothing waits."""
        while self._order:
            due, place = self._order[0]
            waiting = self._waiting.get(place)
            if waiting is not None and waiting.due == due:
                return due
            heapq.heappop(self._order)
        return None

    def waiting_since(self) -> float | None:
        """When the oldest of what waits was told, or None while nothing waits."""
        return min((waiting.since for waiting in self._waiting.values()), default=None)

    def _later(self, place: str, touch: Touch, now: float) -> float:
        known = self._waiting.get(place)
        if known is not None and touch is Touch.ATTRIBUTES:
            return known.due
        first = known.first if known else now
        return min(
            now + (self._confirm_s if touch is Touch.GONE else self._quiet_s), first + self._patience_s
        )

    def _schedule(self, place: str, now: float, due: float, since: float, *, gone: bool = False) -> None:
        known = self._waiting.get(place)
        if known is None:
            self._put(place, _Waiting(now, due, gone, since))
        elif known.due != due or known.gone != gone or since < known.since:
            self._put(place, _Waiting(known.first, due, gone, min(since, known.since)))

    def _put(self, place: str, waiting: _Waiting) -> None:
        self._waiting[place] = waiting
        heapq.heappush(self._order, (waiting.due, place))


def _batch(places: dict[str, _Waiting], moved: dict[str, str]) -> Batch:
    ends = {*moved, *moved.values()}
    subtrees = {place for place in places if not place or place.endswith("/")}

    def alone(place: str) -> bool:
        return place in ends or not any(above in subtrees for above in places_above(place))

    uris = tuple(place for place in places if place not in subtrees and alone(place))
    return Batch(
        uris,
        tuple(sorted(place for place in subtrees if alone(place))),
        moved,
        min(waiting.since for waiting in places.values()),
        frozenset(place for place, waiting in places.items() if not waiting.gone),
    )


def places_above(place: str) -> Iterable[str]:
    """Every prefix that speaks of ``place``, without itself."""
    if place:
        yield ""
    end = place.find("/")
    while 0 <= end < len(place) - 1:
        yield place[: end + 1]
        end = place.find("/", end + 1)
