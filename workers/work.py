"""What the Celery tasks do: the flow, the dispatcher and the upkeep behind one object."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from ingestion.errors import HeadwaterError, Transient
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.records import Lane
from ingestion.sources.port import SourcePort
from workers.audit import tell
from workers.dispatch import Dispatcher
from workers.reconcile import Listed, Reconciler
from workers.refresh import Refresher
from workers.upkeep import Upkeep

log = logging.getLogger("headwater.work")


Able = Callable[[], bool]


class PipelineWork:
    """Implements ``workers.app.Work``. Safe to call from several threads.

    ``able`` says whether the embedder would answer at once. Until then nothing is claimed: a lease must
    not run out, nor a thread be taken, while a model is being loaded. ``lost_messages`` says whether the
    broker has lost what it was sent.
    """

    def __init__(
        self,
        ledger: Ledger,
        edition: Edition,
        refresher: Refresher,
        dispatcher: Dispatcher,
        upkeep: Upkeep,
        reconciler: Reconciler,
        sources: Mapping[str, SourcePort],
        *,
        able: Able = lambda: True,
        lost_messages: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ledger = ledger
        self._edition = edition
        self._refresher = refresher
        self._dispatcher = dispatcher
        self._upkeep = upkeep
        self._reconciler = reconciler
        self._sources = sources
        self._able = able
        self._lost_messages = lost_messages
        self._postponed = False
        self._lost = False
        self._lock = threading.Lock()
        self._listing: set[str] = set()
        self._asked: set[str] = set()  # to be listed, again where that is under way
        self._unlisted: set[str] = set()
        self.listed: dict[str, Listed] = {}  # the last listing of each source by this process

    def refresh(self, document_ids: Sequence[int], lane: Lane) -> None:
        if not self._able():
            self._postponed = True
            return
        try:
            leftover = self._refresher.refresh(self._edition, document_ids, lane)
        except Transient:  # nothing could be claimed, and the message is used up
            self._postponed = True
            raise
        self._dispatcher.send(leftover.fresh)
        if leftover.bulk or lane is Lane.BULK:
            self._dispatcher.dispatch(self._edition, Lane.BULK)

    def tend(self) -> None:
        """What concerns this process alone, every few seconds: its claims, and what it could not do earlier
        because the ledger or the embedder was away."""
        self._refresher.hand_back_again()
        self._refresher.keep_claims()
        if self._postponed and self._able():
            self.pass_on()

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
        """Send what is due, and what the broker has lost."""
        self.tend()
        self._upkeep.reap()
        self._lost = self._lost or self._lost_messages()
        if self._lost:
            self._ledger.claims.forget_messages()
            self._lost = False
        for lane in Lane:
            self._dispatcher.dispatch(self._edition, lane)
        for name in list(self._unlisted):
            self.list_source(name)

    def sweep(self) -> None:
        self._upkeep.sweep()

    def trim(self) -> None:
        self._upkeep.trim()

    def audit(self) -> None:
        """Compare sources, ledger and index, and have mended what differs; not more often than is due."""
        if self._upkeep.audit_is_due(self._edition):
            auditor = self._upkeep.auditor(self._reconciler, self._sources, self.list_source)
            tell(*auditor.audit(self._edition, repair=True))

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
            self._dispatcher.dispatch(self._edition, Lane.BULK)
