"""A look at the sources now, carried through: what ``headwater sync`` does.

Beside a daemon only the look is written into the ledger, and the daemon does the work; without one the
work is done here: one batch after the other, or with an endpoint as many together as the daemon would do.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ingestion.clock import SystemClock
from ingestion.errors import (
    Interrupted,
    Transient,
    WrongSettings,
)
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.views import DocumentView
from ingestion.records import Lane
from ops.kinds.base import Means
from ops.lock import running_daemon
from ops.opening import open_ledger
from ops.settings import Settings
from ops.wiring import (
    Parts,
    add_sources,
    bulk_threads,
    ensure_edition,
    make_pipeline,
    make_sources,
    open_or_make_ledger,
    open_parts,
)
from workers.outcomes import Listener, ignore
from workers.reconcile import Listed, Reconciler
from workers.sight import Sight, seen

log = logging.getLogger("headwater.sync")

POLL_S = 0.1
NO_PROGRESS_S = 60.0  # without a daemon: longer than a store or a disk is usually away
# With an endpoint: texts are tried for a minute, and then wait for as long again.
NO_PROGRESS_AT_ENDPOINT_S = 180.0

Queue = deque[tuple[Lane, Sequence[int], int | None]]
Refresh = Callable[[Sequence[int], Lane, int | None], None]
WorkOff = Callable[[Queue, Refresh, Callable[[], bool]], Iterator[None]]
Remaining = Callable[[int], None]
"""Told every now and then how many documents are still to be published."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What was found and carried out. ``waiting`` failed and will be tried again later, by a daemon or
    the next sync; ``dead`` are the dead letters of these sources; ``reason`` says why nothing more was
    done now; ``lost``: of how many held documents the index lacks something, by source."""

    listed: Sequence[Listed]
    dead: Sequence[DocumentView] = ()
    waiting: Sequence[DocumentView] = ()
    reason: str = ""
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        faults = any(listed.fault for listed in self.listed)
        return not (self.dead or self.waiting or self.reason or faults)


def sync(
    settings: Settings,
    names: Sequence[str],
    *,
    listener: Listener,
    remaining: Remaining,
    stopping: Callable[[], bool],
) -> Synced:
    """List these sources and wait until what was found is published. ``stopping`` ends it early."""
    if settings.broker.url is not None or running_daemon(settings.daemon.data) is not None:
        ledger = _opened_beside(settings)
        try:
            listed = _listed_for_daemon(ledger, settings, names)
            return _awaited(ledger, settings, listed, remaining, stopping)
        finally:
            ledger.database.close()
    parts = open_parts(settings)
    try:
        add_sources(parts.ledger, parts.settings, parts.sources)
        _tell_others(parts.ledger, settings)
        with _let_go(parts, stopping):
            return _carried_out_here(parts, names, listener, remaining, stopping)
    finally:
        parts.close()


@contextlib.contextmanager
def _let_go(parts: Parts, stopping: Callable[[], bool]) -> Iterator[None]:
    """Once it is to stop, wait for no endpoint: it may hold a call back for a minute.

    What computes here is let finish the texts that it has: that takes a moment, and they are kept.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_S):
            if stopping():
                parts.batcher.close()
                return

    watching = threading.Thread(target=watch, name="stopping", daemon=True)
    if parts.embedder.call_limits is not None:
        watching.start()
    try:
        yield
    finally:
        ended.set()


def _opened_beside(settings: Settings) -> Ledger:
    """The ledger; beside a shared broker no process may have named the sources yet. Once one has, those who
    watch decide what is in service."""
    if settings.broker.url is None:
        return open_ledger(settings)
    clock = SystemClock()
    ledger = open_or_make_ledger(settings, clock)
    ensure_edition(settings, ledger, clock)
    if not any(state.active for state in ledger.sources.all()):
        add_sources(ledger, settings, make_sources(settings, Means(clock, ledger, settings.daemon.data)))
    return ledger


def _tell_others(ledger: Ledger, settings: Settings) -> None:
    own = {source.name for source in settings.sources}
    states = [state for state in ledger.sources.all() if state.active and not state.is_own]
    if others := [state.name for state in states if state.name not in own]:
        log.warning(
            "in service, but not in these settings: %s. They stay, as they are, until headwater up is "
            "started with these settings",
            ", ".join(others),
        )


def require_kept(ledger: Ledger, settings: Settings, names: Sequence[str]) -> None:
    """Raises WrongSettings for a source that those who watch do not keep."""
    who = "The running daemon" if settings.broker.url is None else "Who watches (headwater watch)"
    kept = {state.name: state.location for state in ledger.sources.all() if state.active}
    for source in settings.sources:
        if source.name in names and kept.get(source.name) != source.place:
            raise WrongSettings(
                f"{who} does not keep {source.name} ({source.place}); nothing was looked at.",
                hint="Start it again with these settings, or use its own (--config).",
            )


def _listed_for_daemon(ledger: Ledger, settings: Settings, names: Sequence[str]) -> list[Listed]:
    require_kept(ledger, settings, names)
    clock = SystemClock()
    reconciler = Reconciler(
        ledger,
        clock,
        listener=ignore,
        send=lambda ids: None,
        missed=lambda source, number: None,
        unseen=seen if settings.broker.url is None else Sight(ledger).unseen,
    )
    means = Means(clock, ledger, settings.daemon.data)
    sources = {source.name: source for source in settings.sources}
    listed = [reconciler.list_source(sources[name].source(means)) for name in names]
    if any(one.wanted for one in listed):
        # Marked as sent by the listing; the daemon has heard of nothing, so it is to send them.
        ledger.claims.forget_messages()
    return listed


def _awaited(
    ledger: Ledger,
    settings: Settings,
    listed: Sequence[Listed],
    remaining: Remaining,
    stopping: Callable[[], bool],
) -> Synced:
    """Wait for the daemon: it never gives up, so only documents that fail by themselves end the wait.

    Of workers of their own nothing is known here but what they do.
    """
    shared, progress = settings.broker.url is not None, _Progress(NO_PROGRESS_AT_ENDPOINT_S)
    while not stopping():
        number = _unfinished(ledger, listed)
        remaining(number)
        if not number:
            return _synced(ledger, listed)
        waiting = _failing(ledger, listed, number)
        if len(waiting) == number:
            return _synced(ledger, listed, waiting)
        if shared and progress.stalled(number):
            for_s = f"{progress.longest_s:.0f} s"
            why = f"Nothing went on for {for_s}. Do workers for both lanes and a schedule run?"
            return _synced(ledger, listed, reason=why)
        if not shared and running_daemon(settings.daemon.data) is None:
            return _synced(ledger, listed, reason="The daemon ended meanwhile; start it, or sync, again.")
        time.sleep(POLL_S)
    return _synced(ledger, listed, reason="Interrupted: the daemon goes on with what was found.")


def _carried_out_here(
    parts: Parts,
    names: Sequence[str],
    listener: Listener,
    remaining: Remaining,
    stopping: Callable[[], bool],
) -> Synced:
    ledger = parts.ledger
    queue: Queue = deque()

    def send(lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        queue.append((lane, document_ids, edition_id))

    def stop_early() -> None:
        if stopping():
            raise Interrupted("It was interrupted.")

    pipeline = make_pipeline(
        parts,
        send_message=send,
        listener=listener,
        missed=lambda source, number: None,
        stopping=stop_early,
    )
    listed = [pipeline.reconciler.list_source(parts.sources[name]) for name in names]
    away_s = NO_PROGRESS_S if parts.embedder.call_limits is None else NO_PROGRESS_AT_ENDPOINT_S
    progress = _Progress(away_s)
    work_off = _one_by_one if parts.embedder.call_limits is None else _together(bulk_threads(parts.embedder))
    remaining(_unfinished(ledger, listed))
    if _unfinished(ledger, listed):
        parts.batcher.start_loading()  # nothing is claimed before
    while not stopping():
        _check_model(parts)
        for _ in work_off(queue, pipeline.work.refresh, stopping):
            remaining(_unfinished(ledger, listed))
        pipeline.work.dispatch()
        number = _unfinished(ledger, listed)
        remaining(number)
        if not number:
            return _synced(ledger, listed)
        waiting = _failing(ledger, listed, number)
        if len(waiting) == number:
            return _synced(ledger, listed, waiting)
        if progress.stalled(number):
            return _synced(ledger, listed, reason=_why(parts, listed, away_s))
        if not queue:
            time.sleep(POLL_S)
    return _synced(
        ledger, listed, reason="Interrupted: what is done stays, the rest is found again by the next sync."
    )


def _one_by_one(queue: Queue, refresh: Refresh, stopping: Callable[[], bool]) -> Iterator[None]:
    """Empty the queue, also of what is added meanwhile; yields after each of it."""
    while queue and not stopping():
        lane, document_ids, edition_id = queue.popleft()
        refresh(document_ids, lane, edition_id)
        yield


def _together(threads: int) -> WorkOff:
    """The same by so many threads, for an endpoint: here it is waited for, not computed.

    Once it is to stop, those under way are waited for; they hand back what they have not done.
    """

    def work_off(queue: Queue, refresh: Refresh, stopping: Callable[[], bool]) -> Iterator[None]:
        under_way: set[Future[None]] = set()
        with ThreadPoolExecutor(threads, thread_name_prefix="refresh") as pool:
            while (queue or under_way) and not stopping():
                while queue and len(under_way) < threads:
                    lane, document_ids, edition_id = queue.popleft()
                    under_way.add(pool.submit(refresh, document_ids, lane, edition_id))
                done, under_way = wait(under_way, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
                    yield

    return work_off


def _synced(
    ledger: Ledger, listed: Sequence[Listed], waiting: Sequence[DocumentView] = (), *, reason: str = ""
) -> Synced:
    dead = [
        view
        for one in listed
        for view in ledger.views.documents(source=one.source, state="failed", limit=1000)
    ]
    lost = {one.source: ledger.documents.count_held_lost(one.source) for one in listed}
    return Synced(listed, dead, waiting, reason, lost)


@dataclass(slots=True)
class _Progress:
    """Whether the number of open documents stood still for too long."""

    longest_s: float
    number: int = -1
    since: float = field(default_factory=time.monotonic)

    def stalled(self, number: int) -> bool:
        if number != self.number:
            self.number, self.since = number, time.monotonic()
        return time.monotonic() - self.since > self.longest_s


def _unfinished(ledger: Ledger, listed: Sequence[Listed]) -> int:
    return sum(ledger.views.unfinished(one.source, one.generation) for one in listed)


def _pending(ledger: Ledger, listed: Sequence[Listed]) -> Iterator[DocumentView]:
    for one in listed:
        for view in ledger.views.documents(source=one.source, state="pending", limit=1000):
            if view.wanted <= one.generation:
                yield view


def _failing(ledger: Ledger, listed: Sequence[Listed], number: int) -> list[DocumentView]:
    """Documents between two attempts of their own; not asked for while much is open."""
    if number > 100:
        return []
    now = ledger.now()  # which not_before was reckoned from
    return [view for view in _pending(ledger, listed) if view.attempts and view.not_before > now]


def _check_model(parts: Parts) -> None:
    """Raises what keeps the model from being loaded, unless it may be gone in a moment."""
    failure = parts.batcher.load_failure
    if failure is not None and not isinstance(failure, Transient):
        raise failure


def _why(parts: Parts, listed: Sequence[Listed], away_s: float) -> str:
    errors = (view.error for view in _pending(parts.ledger, listed) if view.error)
    reason = next(errors, "") or parts.batcher.load_failure or ""
    return f"Nothing went on for {away_s:.0f} s. {reason}".strip()
