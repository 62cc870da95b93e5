"""Turns a watch's hints into looks, and keeps the watch alive.

A hint that is due becomes one look at the places it names, in a thread of its own: a host that hangs keeps no
other source waiting, and no source is looked at twice at once from here. A heartbeat says
that everything before it has been looked at, so it stays behind the oldest hint that waits: a file that is
written all the time holds it back by seconds, not for ever. A watch that died, or never could be set, is set
again and followed by a complete listing, because events are hints and the listing is the truth.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, SourceUnavailable
from ingestion.joining import join_all
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import SourceState
from ingestion.sources.port import SourcePort, Watch
from ingestion.sources.settling import Batch, Dirty, Settling, Touch
from workers.reconcile import Reconciler

log = logging.getLogger("headwater.watcher")

HEARTBEAT_S = 2.0
# An event may take this long from the file system to a look: the heartbeat speaks for what was before.
EVENT_DELAY_S = 0.5
STOP_S = 1.0  # of the four that a program has for its end
# How often a folder is listed in which changes come without an event (network mounts, too few watches).
POLL_S = 10.0

ListSource = Callable[[str], None]
Overflowed = Callable[[str], None]


@dataclass(slots=True)
class _Watched:
    source: SourcePort
    watch: Watch
    settling: Settling = field(default_factory=Settling)
    overflows: int = 0
    told: str | None = None  # the last complaint, so that it is not repeated
    fault: str | None = None  # why the last look failed, likewise
    unlisted: bool = False  # a look failed: list as soon as possible
    asked_for: int | None = None  # the last listing that others asked for
    asked_at: float = 0.0  # when a listing was last asked for: only one begun later proves sight
    event_at: float | None = None  # when the system last told of a change, until the ledger knows
    looking: threading.Thread | None = None  # at what hints named
    since: float = 0.0  # and when the first of what those tell of was told, on the monotonic clock


class Watcher:
    """Watches sources. ``list_source`` is asked for a complete listing, and may do it later."""

    def __init__(
        self,
        ledger: Ledger,
        reconciler: Reconciler,
        sources: list[SourcePort],
        clock: Clock,
        *,
        list_source: ListSource,
        overflowed: Overflowed,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._clock = clock
        self._list_source = list_source
        self._overflowed = overflowed
        self._changed = threading.Condition()
        self._stopping = False
        self._watched = {source.name: self._watching(source) for source in sources}
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Set the watches, ask for a first listing of every source, then serve hints."""
        for watched in self._watched.values():
            watched.watch.start()
            self._list(watched)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        stopping = [
            threading.Thread(target=watched.watch.stop, daemon=True) for watched in self._watched.values()
        ]
        for one in stopping:
            one.start()
        looking = [watched.looking for watched in self._watched.values()]
        # What hangs is cut off, and listed at the next start.
        join_all([*stopping, *(one for one in looking if one is not None)], STOP_S)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def blind(self, name: str) -> str | None:
        """Why changes of a source may come without a hint, or None."""
        return self._watched[name].watch.blind_reason

    def doubt(self, name: str, uris: Sequence[str], since: float | None = None) -> None:
        """Somebody did not find these: look once it is clear whether they were only renamed.

        ``since``: when the hint came, on the monotonic clock, that a look has left open.
        """
        watched = self._watched[name]
        with self._changed:
            watched.settling.add(Dirty(dict.fromkeys(uris, Touch.GONE)), self._clock.monotonic(), since)
            self._changed.notify()

    def hint(self, name: str, places: Sequence[str]) -> None:
        """Somebody says that these have changed: look at once."""
        with self._changed:
            touched = dict.fromkeys(places, Touch.SETTLED)
            self._watched[name].settling.add(Dirty(touched), self._clock.monotonic())
            self._changed.notify()

    def _watching(self, source: SourcePort) -> _Watched:
        watched: _Watched

        def on_dirty(dirty: Dirty) -> None:
            with self._changed:
                watched.settling.add(dirty, self._clock.monotonic())
                watched.event_at = self._clock.now()
                self._changed.notify()

        watched = _Watched(source, source.watch(on_dirty))
        return watched

    def _run(self) -> None:
        next_heartbeat, told = self._clock.monotonic(), ""
        while True:
            with self._changed:
                if self._stopping:
                    return
                self._changed.wait(self._pause(next_heartbeat))
                if self._stopping:
                    return
            try:
                for watched in self._watched.values():
                    self._begin(watched)
                if self._clock.monotonic() >= next_heartbeat:
                    next_heartbeat = self._clock.monotonic() + HEARTBEAT_S
                    self._heartbeat()
                    told = ""
            except HeadwaterError as error:  # a full disk would fail each heartbeat: told once
                if str(error) != told:
                    log.warning("the watcher waits: %s", error)
                told = str(error)
            except Exception:
                log.exception("the watcher goes on after an error")

    def _pause(self, next_heartbeat: float) -> float:
        due = [one.settling.next_due() for one in self._watched.values() if one.looking is None]
        moments = [next_heartbeat, *(moment for moment in due if moment is not None)]
        return max(0.0, min(moments) - self._clock.monotonic())

    def _begin(self, watched: _Watched) -> None:
        """Look at what is due, unless the last look is still under way."""
        with self._changed:
            if watched.looking is not None:
                return
            now = self._clock.monotonic()
            batch = watched.settling.due(now)
            if batch is None:
                return
            name = f"look-{watched.source.name}"
            looking = threading.Thread(target=self._look, args=(watched, batch), name=name, daemon=True)
            try:
                looking.start()
            except RuntimeError:  # the system has no thread to give
                watched.unlisted = True
                raise
            watched.looking, watched.since = looking, now if batch.since is None else batch.since

    def _look(self, watched: _Watched, batch: Batch) -> None:
        try:
            self._serve(watched, batch)
        finally:
            with self._changed:
                watched.looking = None
                self._changed.notify()

    def _serve(self, watched: _Watched, batch: Batch) -> None:
        try:
            if batch.rescan:
                self._list(watched)
            else:
                waited_s = 0.0 if batch.since is None else self._clock.monotonic() - batch.since
                looked = self._reconciler.look(watched.source, batch, self._clock.now() - waited_s)
                if looked.doubts:
                    self.doubt(watched.source.name, looked.doubts, batch.since)
            watched.fault = None
        except SourceUnavailable:
            self._list(watched)
        except Exception as error:
            # What the hints named is not lost: a listing looks at everything once the cause is gone.
            watched.unlisted = True
            expected = isinstance(error, HeadwaterError)
            if not expected or str(error) != watched.fault:  # a burst of edits fails file by file: told once
                log.warning("%s: %s", watched.source.name, error, exc_info=None if expected else error)
            watched.fault = str(error)

    def _list(self, watched: _Watched) -> None:
        watched.unlisted = False
        watched.asked_at = self._clock.now()
        self._list_source(watched.source.name)

    def _heartbeat(self) -> None:
        for name, places in self._ledger.hints.take(list(self._watched)).items():
            self.hint(name, places)
        seen: dict[str, float] = {}
        states = {state.name: state for state in self._ledger.sources.all()}
        for name, watched in self._watched.items():
            if watched.watch.overflows > watched.overflows:
                watched.overflows = watched.watch.overflows
                self._overflowed(name)
            if not watched.watch.alive():
                self._revive(watched, states.get(name))
            elif watched.unlisted or self._must_poll(watched) or _is_asked_for(watched, states.get(name)):
                self._list(watched)
            elif (until := self._seen_until(watched, states.get(name))) is not None:
                seen[name] = until
            self._complain(watched)
        events = self._events()
        if seen or events:
            self._ledger.sources.heartbeat(seen, events)

    def _events(self) -> dict[str, float]:
        """When the system told of changes since this was last asked."""
        found: dict[str, float] = {}
        with self._changed:
            for name, watched in self._watched.items():
                if watched.event_at is not None:
                    found[name], watched.event_at = watched.event_at, None
        return found

    def _must_poll(self, watched: _Watched) -> bool:
        blind = watched.watch.blind_reason is not None
        return blind and not 0.0 <= self._clock.now() - watched.asked_at < POLL_S

    def _seen_until(self, watched: _Watched, state: SourceState | None) -> float | None:
        """Every change before this moment has been told and looked at: watched, and listed since. None where
        listings alone prove that.

        A hint, too, comes up to ``EVENT_DELAY_S`` after what it tells of.
        """
        listed_at = None if state is None else state.listed_at
        with (
            self._changed
        ):  # no hint comes, and no look ends, between the looks at what waits and at the clock
            if listed_at is None or listed_at < watched.asked_at or watched.unlisted:
                return None
            if watched.watch.blind_reason is not None:
                return None
            told = watched.watch.seen_until(self._clock.now())
            moment = self._clock.monotonic()
            under_way = moment if watched.looking is None else watched.since
            since = min(under_way, watched.settling.waiting_since() or moment)
            waited_s = moment - since
            return None if told is None else min(told, self._clock.now() - waited_s) - EVENT_DELAY_S

    def _revive(self, watched: _Watched, state: SourceState | None) -> None:
        """Set the watch again, and list whatever that brings: the source may be gone or be another."""
        came_back = watched.watch.restart()
        if came_back or (state is not None and state.fault is None):
            self._list(watched)

    def _complain(self, watched: _Watched) -> None:
        reason = watched.watch.blind_reason
        if reason != watched.told:
            watched.told = reason
            if reason:
                log.warning("%s is not watched (%s); it is listed instead", watched.source.name, reason)
            else:
                log.info("%s is watched again", watched.source.name)


def _is_asked_for(watched: _Watched, state: SourceState | None) -> bool:
    """Whether others want it listed, each time they do once: a listing may take longer than a heartbeat."""
    if state is None or not state.is_asked_for or state.asked_generation == watched.asked_for:
        return False
    watched.asked_for = state.asked_generation
    return True
