"""What has changed in a database since the last time: by the change column, and by the outbox.

The change column is asked from a moment before the latest change that was seen, so that what was committed
late is not passed over; of what that brings, only what differs from what is kept is told. A row of the outbox
stays until what it tells was looked at.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from ingestion.sources.polling import Polling
from ingestion.sources.port import Watch
from ingestion.sources.settling import Dirty, Touch
from ingestion.sources.sql.changes import cap, since, token
from ingestion.sources.sql.keys import BadKey
from ingestion.sources.sql.listening import Listening
from ingestion.sources.sql.outbox import MOST_TAKEN, Outbox, Told
from ingestion.sources.sql.table import Table
from ingestion.sources.unwatched import Unwatched

log = logging.getLogger("headwater.sql")

MOST_HINTS = 5000  # more that differ, and everything is listed
_EARLY = 0.8  # of a pause: it is drawn by lot a little
_EVERYTHING = Dirty({"": Touch.SETTLED})


class Asking:
    """Of one source; one thread asks, others list and look meanwhile."""

    def __init__(
        self, table: Table, outbox: Outbox | None, *, overlap_s: float, overlap: int, every_s: float
    ) -> None:
        """``outbox``: where there may be one."""
        self._table = table
        self._outbox = outbox
        self._overlap_s = overlap_s
        self._overlap = overlap
        self._every_s = every_s
        self._lock = threading.Lock()
        self._listed = False
        self._latest: object = None
        self._asked_at = float("-inf")
        self._places: frozenset[str] = frozenset()
        self._told: dict[str, list[Told]] = {}  # by URI, '' for everything
        self._done: list[Told] = []
        self._more = False
        self._polling: Polling | None = None

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        if not self._table.has_changes and self._outbox is None:
            return Unwatched()
        polling = Polling(
            self, on_dirty, every_s=self._every_s, name=self._table.name, clock=self._table.clock
        )
        self._polling = polling
        if self._outbox is None:
            return polling
        return Listening(polling, self._outbox, self._table.name, lambda: bool(self._places))

    def __call__(self) -> Dirty | None:
        """As ``polling.Ask``."""
        if not self._listed:
            return None
        touched: dict[str, Touch] = {}
        if self._outbox is not None:
            appeared = self._find(self._outbox)
            touched |= dict.fromkeys(self._read(self._outbox), Touch.SETTLED)
            if appeared:  # what was touched before it was there
                touched[""] = Touch.SETTLED
        if (
            self._table.has_changes
            and self._table.clock.monotonic() - self._asked_at >= _EARLY * self._every_s
        ):
            began = self._table.clock.monotonic()
            touched |= dict.fromkeys(self._differing(), Touch.SETTLED)
            self._asked_at = began
        if not self._table.has_changes and not self._places:
            return None
        return _EVERYTHING if "" in touched else Dirty(touched)

    @contextlib.contextmanager
    def listing(self, *, whole: bool) -> Iterator[None]:
        """Around the reading of everything: what changes after its beginning is asked for."""
        latest = self._newest() if whole and self._table.has_changes else None
        with self._lock:
            everything = self._told.get("", [])
        yield
        if not whole:
            return
        with self._lock:
            self._latest, self._listed = latest, True
            self._finish("", everything)

    @contextlib.contextmanager
    def looking(self, uris: Sequence[str]) -> Iterator[set[str]]:
        """Around the look at these; gives those of which the outbox tells that their rows were deleted."""
        with self._lock:
            told = {uri: self._told[uri] for uri in uris if uri in self._told}
        yield {uri for uri, several in told.items() if all(one.deleted for one in several)}
        with self._lock:
            for uri, several in told.items():
                self._finish(uri, several)
            goes_on = self._more and not self._told
        if goes_on and self._polling is not None:
            self._polling.wake()

    def close(self) -> None:
        if self._outbox is not None:
            self._outbox.close()

    def _finish(self, uri: str, several: Sequence[Told]) -> None:
        """What was told of this place before a look at it that is over now; what was told since stays."""
        self._done += several
        left = [one for one in self._told.pop(uri, []) if one not in several]
        if left:
            self._told[uri] = left

    def _find(self, outbox: Outbox) -> bool:
        """Look whether there is an outbox; true where it was not there the last time."""
        places = frozenset(outbox.places())
        appeared = bool(places - self._places)
        if appeared:
            log.info("%s: rows that are touched are told by %s", self._table.name, ", ".join(sorted(places)))
        self._places = places
        return appeared

    def _read(self, outbox: Outbox) -> Sequence[str]:
        """URIs that the outbox tells of."""
        if not self._places:
            return []
        with self._lock:
            done, self._done = self._done, []
        if done:
            outbox.drop(done)
        taken = outbox.take(sorted(self._places))
        told: dict[str, list[Told]] = {}
        for one in taken:
            told.setdefault(self._uri(one), []).append(one)
        with self._lock:
            self._told, self._more = told, len(taken) >= MOST_TAKEN
        return list(told)

    def _uri(self, one: Told) -> str:
        """'' where it cannot be told which: then everything is looked at."""
        try:
            return "" if one.key is None else self._table.uris.uri_of_texts(one.key)
        except (BadKey, ValueError, KeyError, ArithmeticError):
            return ""

    def _newest(self) -> object:
        """The latest change value that may be one, None of an empty table."""
        with self._table.database.reading() as connection, self._table.database.timed(connection):
            latest = connection.execute(self._table.statements.newest()).scalar()
            bound = cap(latest, self._table.clock.now())
            if bound is not None and latest > bound:
                latest = connection.execute(self._table.statements.newest(bound)).scalar()
        return latest

    def _differing(self) -> Sequence[str]:
        """URIs of rows that changed lately and are not kept as they are."""
        latest = self._newest()
        start = None if self._latest is None else since(self._latest, self._overlap_s, self._overlap)
        statement = self._table.statements.changes(start)
        found: dict[str, None] = {}
        with (
            self._table.database.reading() as connection,
            self._table.database.timed(connection) as anew,
            self._table.database.streamed(connection, statement) as result,
        ):
            for rows in result.partitions():
                found |= dict.fromkeys(self._not_kept(rows))
                if len(found) > MOST_HINTS:
                    return [""]  # the listing sets the latest
                anew()
        self._latest = latest
        return list(found)

    def _not_kept(self, rows: Sequence[Sequence[object]]) -> Iterator[str]:
        values: dict[str, str | None] = {}
        now = self._table.clock.now()
        for *key, value in rows:
            with contextlib.suppress(BadKey):  # which listings tell of
                values[self._table.uris.uri(tuple(key))] = token(value, now)
        known = self._table.kept.find(self._table.name, list(values))
        return (uri for uri, one in values.items() if not self._table.maker.is_kept(known.get(uri), one))
