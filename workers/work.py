"""What the Celery tasks do: the flow, the dispatcher and the upkeep behind one object."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, Transient
from ingestion.ledger.ledger import Ledger
from ingestion.records import Lane
from ingestion.sources.port import SourcePort
from workers.audit import tell
from workers.building import NEARLY, Builder, MakeRefresher
from workers.comparing import is_fed
from workers.dispatch import Dispatcher
from workers.equipment import Equipment, Equipped
from workers.held import HeldAudit
from workers.reconcile import Listed, Reconciler
from workers.refresh import Refresher
from workers.tracing import UNTRACED, Tracing
from workers.upkeep import Upkeep

log = logging.getLogger("headwater.work")

SWEEP_FOR_S = 10.0  # at a time; half of what lies between two sweeps
Able = Callable[[], bool]


class PipelineWork:
    """Implements ``workers.app.Work``. Safe to call from several threads.

    While the embedder of an edition would not answer at once, nothing is claimed in it: a lease must not
    run out, nor a thread be taken, while a model is being loaded. ``able``: whether anything may be claimed
    at all. ``lost_messages`` says whether the broker has lost what it was sent. ``watches``: whether it is
    this process that sees the sources; where another one does, this one's audit does not judge by them.
    """

    def __init__(
        self,
        ledger: Ledger,
        equipment: Equipment,
        make_refresher: MakeRefresher,
        dispatcher: Dispatcher,
        builder: Builder,
        upkeep: Upkeep,
        reconciler: Reconciler,
        sources: Mapping[str, SourcePort],
        clock: Clock,
        *,
        able: Able = lambda: True,
        lost_messages: Callable[[], bool] = lambda: False,
        watches: bool = True,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._ledger = ledger
        self._equipment = equipment
        self._make_refresher = make_refresher
        self._dispatcher = dispatcher
        self._builder = builder
        self._upkeep = upkeep
        self._reconciler = reconciler
        self._sources = sources
        self._refreshers: dict[int, tuple[Equipped, Refresher]] = {}
        self._able = able
        self._lost_messages = lost_messages
        self._watches = watches
        self._tracing = tracing
        self._postponed = False
        self._lost = False
        self._lock = threading.Lock()
        self._clock = clock
        self._audit = HeldAudit(ledger, clock)
        self._sweeping, self._trimming, self._advancing = (threading.Lock() for _ in range(3))
        self._listing: set[str] = set()
        self._asked: set[str] = set()  # to be listed, again where that is under way
        self._unlisted: set[str] = set()
        self.listed: dict[str, Listed] = {}  # the last listing of each source by this process

    def refresh(self, document_ids: Sequence[int], lane: Lane, edition_id: int | None = None) -> None:
        try:
            one = self._wanted(edition_id)
            if one is None:  # it has ended, or its model is not here: what is left is sent again
                return
            if not (one.ready() and self._able()):
                # A message beside the live edition counts as lost soon enough. Its model may take long, and
                # meanwhile all messages would be forgotten time and again.
                self._postponed = self._postponed or one is self._equipment.live
                return
            leftover = self._refresher(one).refresh(one.edition, document_ids, lane)
        except Transient:  # nothing could be claimed, and the message is used up
            self._postponed = True
            raise
        if leftover.strange:  # whoever gives back what others are to do must not ask for more of it
            return
        if one is not self._equipment.live:
            self._builder.went_on(one.edition)
            return
        with self._tracing.under(None):  # work of its own: a trace of all that follows would never end
            self._dispatcher.send(leftover.fresh)
            if leftover.bulk or lane is Lane.BULK:
                self._dispatcher.dispatch(one.edition, Lane.BULK)
        if lane is Lane.FRESH:
            self._follow(document_ids)

    def tend(self) -> None:
        """What concerns this process alone, every few seconds: its editions, its claims, and what it could
        not do earlier because the ledger or the embedder was away."""
        self._keep_claims()
        self._equipment.look()
        for key, (one, _) in list(self._refreshers.items()):
            if self._equipment.of(key) is not one:
                del self._refreshers[key]  # and its model with it
        self._catch_up()

    def pass_on(self) -> None:
        """Have sent again what messages were used up for and could not be done."""
        if not self._postponed:
            return
        self._postponed = False
        try:
            self._ledger.claims.forget_messages()
        except BaseException:
            self._postponed = True
            raise

    def dispatch(self) -> None:
        """All that the schedule has done every other second, in turn: for a process that has no schedule."""
        self.tend()
        self.send_due()
        self.advance()

    def send_due(self) -> None:
        """Send what is due, and what the broker has lost.

        It has a thread of its own, and so does nothing that may take long: it asks the ledger only.
        """
        self._keep_claims()
        self._catch_up()
        self._upkeep.reap()
        self._lost = self._lost or self._lost_messages()
        if self._lost:
            self._ledger.claims.forget_messages()
            self._lost = False
        for lane in Lane:
            self._dispatcher.dispatch(self._equipment.live.edition, lane)

    def advance(self) -> None:
        """List what could not be listed, and bring on the editions that are being built.

        One thread at a time: a folder may be slow, and before a switch the whole index is looked through.
        """
        with _alone(self._advancing) as ours:
            if ours:
                self._advance()

    def sweep(self) -> None:
        """One thread at a time, and not for long: while there are many dead chunks, one message after the
        other would take a thread, until none was left for listings and audits."""
        ends = self._clock.monotonic() + SWEEP_FOR_S

        def enough() -> bool:
            return self._clock.monotonic() >= ends

        with _alone(self._sweeping) as ours:
            if ours:
                self._upkeep.sweep(enough)
                self._upkeep.sweep_bodies(enough)
                self._upkeep.remove_ended(enough)

    def trim(self) -> None:
        """One thread at a time."""
        with _alone(self._trimming) as ours:
            if ours:
                self._upkeep.trim()

    def audit(self) -> None:
        """Compare sources, ledger and index, and have mended what differs; not more often than is due.

        One at a time, in all processes: whoever comes while one is under way, as a message that is sent
        again, goes away. Sources only where this process watches them: elsewhere an empty folder may lie in
        the place of a mount, and whoever watches lists them anyway.
        """
        with self._audit.claimed() as ours:
            if ours:
                self._audit_what_is_due()

    def list_source(self, name: str) -> None:
        """Look at a whole source; if the ledger cannot be written now, at the next dispatch.

        One at a time: whoever asks while it is being looked at has it looked at once more after that, by
        the same thread. A folder that takes longer to list than the time between two asks would otherwise
        take one thread after the other, those of the edits.
        """
        with self._lock:
            self._asked.add(name)
            if name in self._listing:
                return
            self._listing.add(name)
        try:
            while self._is_asked(name):
                self._list(name)
        except BaseException:
            with self._lock:
                self._listing.discard(name)
                self._unlisted |= {name} & self._asked  # somebody else's ask is not lost
            raise

    def _keep_claims(self) -> None:
        for _, refresher in list(self._refreshers.values()):
            refresher.hand_back_again()
            refresher.keep_claims()
        self._audit.keep()

    def _catch_up(self) -> None:
        if self._postponed and self._equipment.live.ready() and self._able():
            self.pass_on()

    def _advance(self) -> None:
        live = self._equipment.live
        self.tend()
        for name in list(self._unlisted):
            self.list_source(name)
        self._builder.step()
        if self._equipment.live is not live:  # what waits was moved to the fresh lane of the new one
            self._dispatcher.dispatch(self._equipment.live.edition, Lane.FRESH)

    def _audit_what_is_due(self) -> None:
        sources = self._sources if self._watches else {}
        for one in [self._equipment.live, *self._equipment.others]:
            # What this process knows of editions may be a minute old, and the one before may take an hour.
            if is_fed(self._ledger, one.edition) and self._upkeep.audit_is_due(one.edition):
                auditor = self._upkeep.auditor(self._reconciler, sources, self.list_source)
                tell(*auditor.audit(one.edition, repair=True, cautious=True))

    def _wanted(self, edition_id: int | None) -> Equipped | None:
        one = self._equipment.of(edition_id)
        if one is None:  # begun since this process looked last
            self._equipment.look()
            one = self._equipment.of(edition_id)
        return one

    def _refresher(self, one: Equipped) -> Refresher:
        key = one.edition.edition_id
        with self._lock:
            if self._refreshers.get(key, (None, None))[0] is not one:
                self._refreshers[key] = one, self._make_refresher(one)
            return self._refreshers[key][1]

    def _follow(self, document_ids: Sequence[int]) -> None:
        """Near the end of a build, have edits published there at once: see ``workers.building``."""
        one = self._builder.following()
        if one is None or not one.ready() or len(document_ids) > NEARLY:
            return
        try:
            self._refresher(one).refresh(one.edition, document_ids, Lane.BULK)
            self._builder.followed()
        except Transient as fault:  # it is sent again with the rest of the build
            log.info("an edit was not followed in the edition %s: %s", one.edition.name, fault)

    def _is_asked(self, name: str) -> bool:
        with self._lock:
            asked = name in self._asked
            self._asked.discard(name)
            if not asked:
                self._listing.discard(name)
            return asked

    def _list(self, name: str) -> None:
        try:
            self.listed[name] = self._reconciler.list_source(self._sources[name], watched=True)
        except Exception as error:
            self._unlisted.add(name)
            unexpected = None if isinstance(error, HeadwaterError) else error
            log.warning("%s could not be listed and will be: %s", name, error, exc_info=unexpected)
        else:
            self._unlisted.discard(name)
            self._dispatcher.dispatch(self._equipment.live.edition, Lane.BULK)


@contextlib.contextmanager
def _alone(turn: threading.Lock) -> Iterator[bool]:
    """Whether the turn is ours for the block; it is not while another thread has it."""
    ours = turn.acquire(blocking=False)
    try:
        yield ours
    finally:
        if ours:
            turn.release()
