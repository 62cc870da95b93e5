"""What a daemon hands its work to: threads of its own on the in-memory broker, or on one that it shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ingestion.clock import Clock
from ingestion.records import Lane
from ops.in_process import InProcess
from ops.listing import Lister
from ops.settings import Settings
from ops.stores import broker_url
from ops.turns import InTurn
from ops.wiring import Parts, bulk_threads, in_turn, schedules
from ops.workshop import Messenger, make_shared_app
from workers.no_work import NoWork
from workers.tracing import UNTRACED, Tracing
from workers.work import PipelineWork


class WorkSide(Protocol):
    """Workers and schedule, and the ways to them."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def send(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        """One message to a lane's workers."""

    def list_source(self, name: str) -> None:
        """Have a source listed soon."""

    def dispatch(self) -> None:
        """Have what is due sent sooner than it would be, where that keeps nobody waiting."""

    def waiting(self, lane: Lane) -> int:
        """Messages that nobody has taken yet, where that is known."""

    def lost_messages(self) -> bool:
        """Whether the broker has lost what it held since this was last asked."""


def make_work_side(
    settings: Settings, parts: Parts, work: PipelineWork, clock: Clock, *, tracing: Tracing = UNTRACED
) -> WorkSide:
    """Raises Misconfigured for a broker whose password cannot be read."""
    looks, note = schedules(settings), parts.ledger.sources.set_looks
    threads = bulk_threads(parts.embedder)
    url = broker_url(settings)
    if url is None:
        alone = InProcess(work, bulk_threads=threads, tracing=tracing)
        return _Alone(alone, Lister(alone.list_source, clock, schedules=looks, note=note))
    tasks = InProcess(work, bulk_threads=threads, broker=url, prefix=settings.broker.prefix, tracing=tracing)
    app = make_shared_app(settings, NoWork())
    messenger = Messenger(settings, app, parts.ledger, clock, tracing=tracing)
    turn = in_turn(settings, parts.ledger)
    lister = Lister(
        work.list_source,
        clock,
        schedules=looks,
        note=note,
        turn=turn,
        looked=turn.looked,
    )
    return _Shared(tasks, messenger, lister, turn)


class _Alone:
    """Nothing is ever lost or waits long: the queues are in this process."""

    def __init__(self, tasks: InProcess, lister: Lister) -> None:
        self._tasks, self._lister = tasks, lister
        self.send, self.list_source = tasks.send_refresh, tasks.list_source
        self.dispatch = tasks.dispatch

    def start(self) -> None:
        self._tasks.start()
        self._lister.start()

    def stop(self) -> None:
        self._lister.stop()
        self._tasks.stop()

    def waiting(self, lane: Lane) -> int:
        return 0

    def lost_messages(self) -> bool:
        return False


class _Shared:
    """Listings are of this process, so that a watcher waits for no broker."""

    def __init__(self, tasks: InProcess, messenger: Messenger, lister: Lister, turn: InTurn) -> None:
        self._tasks, self._messenger, self._lister, self._turn = tasks, messenger, lister, turn
        self.send, self.list_source = messenger.send, lister.ask
        self.waiting, self.lost_messages = messenger.waiting, messenger.lost_messages

    def dispatch(self) -> None:
        """Nothing: a broker that is away would hold the caller up, and it is done every two seconds."""

    def start(self) -> None:
        self._messenger.start()
        self._tasks.start()
        self._turn.start()
        self._lister.start()

    def stop(self) -> None:
        self._lister.stop()
        self._turn.close()
        self._tasks.stop()
        self._messenger.close()
