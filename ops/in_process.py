"""Celery inside one process: a worker for each lane and beat, in threads.

Nothing in the in-memory broker survives the process, and nothing has to: the ledger knows what is pending. A
role that has a process of its own is made of the same worker and the same beat, on a broker it shares.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService, Scheduler
from kombu.asynchronous import set_event_loop

from ingestion.records import Lane
from workers.app import DISPATCH_QUEUE, IN_PROCESS, UPKEEP_QUEUE, Work, make_app, send_refresh
from workers.in_memory import end_waits
from workers.tracing import UNTRACED, Tracing

log = logging.getLogger("headwater.in_process")


FRESH_THREADS = 4
DISPATCH_THREADS = 1
UPKEEP_THREADS = 2


@dataclass(frozen=True, slots=True)
class _Role:
    """A worker's queue and threads."""

    queue: str
    threads: int


# Each lane has threads of its own, so that bulk work, or the listing of a slow mount, never stands before
# an edit; nor a sweep or an audit before what sends edits again.
def _roles(bulk_threads: int) -> tuple[_Role, ...]:
    return (
        _Role(Lane.FRESH.value, threads=FRESH_THREADS),
        _Role(Lane.BULK.value, threads=bulk_threads),
        _Role(DISPATCH_QUEUE, threads=DISPATCH_THREADS),
        _Role(UPKEEP_QUEUE, threads=UPKEEP_THREADS),
    )


SET_BACK_S = 5.0
END_WAITS_S = 0.02


class Worker:
    """One worker of its own application: workers that share one would share their choice of queues.

    ``alone``: nobody watches it from another process, so it tells nobody that it is alive.
    """

    def __init__(self, app: Celery, queues: Sequence[str], threads: int, *, alone: bool = False) -> None:
        name = queues[-1]
        # Made without it, all workers of a process would share the loop that kombu remembers: each would
        # poll the others' sockets, and close them where it loses its own connection.
        set_event_loop(None)
        self._controller = app.WorkController(
            pool="threads",
            concurrency=threads,
            queues=list(queues),
            prefetch_multiplier=1,
            hostname=f"{name}@localhost" if alone else f"{name}-{os.getpid()}@{socket.gethostname()}",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=alone,
        )
        self._thread = threading.Thread(target=self._controller.start, name=f"worker-{name}", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the running tasks and take no more."""
        self._controller.stop()
        self._thread.join()


class SteadyScheduler(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Celery's own reckons with the time of day: a clock that is set back would stop it for as long."""

    _latest = 0.0

    def tick(self, *args: Any, **options: Any) -> Any:
        """Run what is due; returns the seconds until it is worth a look again."""
        now = self.app.now()
        if now.timestamp() < self._latest - SET_BACK_S:
            for entry in self.schedule.values():
                entry.last_run_at = now
            self._heap = None  # made again from the entries
        self._latest = now.timestamp()
        return super().tick(*args, **options)


class Beat:
    """Sends what the schedule says, from a thread."""

    def __init__(self, app: Celery) -> None:
        self._service: Any = EmbeddedService(app, thread=True, scheduler_cls=SteadyScheduler)
        self._service.daemon = True

    @property
    def alive(self) -> bool:
        alive: bool = self._service.is_alive()
        return alive

    def start(self) -> None:
        self._service.start()

    def stop(self) -> None:
        """Send no more. Its own stop() would wait for the next wake-up."""
        self._service.service.shutdown_requested = True


class InProcess:
    """Workers, beat and the way to send to them, for one ``Work``.

    ``bulk_threads``: one embeds while another reads, parses and writes; an embedder that takes several
    calls at once needs as many more. ``broker``: one that other processes share, with its password.
    """

    def __init__(
        self,
        work: Work,
        *,
        bulk_threads: int,
        broker: str = IN_PROCESS,
        prefix: str = "headwater",
        tracing: Tracing = UNTRACED,
    ) -> None:
        def app() -> Celery:
            return make_app(work, broker=broker, prefix=prefix, tracing=tracing)

        self._tracing = tracing
        self._sender = app()
        # Pool threads look tasks up in the process's default application, whoever received the message.
        self._sender.set_default()
        self._workers = [
            Worker(app(), [role.queue], role.threads, alone=broker == IN_PROCESS)
            for role in _roles(bulk_threads)
        ]
        self._beat = Beat(self._sender)

    def start(self) -> None:
        for worker in self._workers:
            worker.start()
        self._beat.start()

    def send_refresh(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        send_refresh(self._sender, lane, document_ids, edition_id, tracing=self._tracing)

    def dispatch(self) -> None:
        """Now, not only when it is due next."""
        self._sender.send_task("headwater.dispatch", queue=DISPATCH_QUEUE)
        self._sender.send_task("headwater.advance", queue=UPKEEP_QUEUE)

    def list_source(self, name: str) -> None:
        self._sender.send_task("headwater.list", (name,), queue=UPKEEP_QUEUE)

    def stop(self) -> None:
        """Stop beat and the workers side by side; returns when their running tasks have ended."""
        self._beat.stop()
        stopping = [threading.Thread(target=_quietly(worker.stop)) for worker in self._workers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            while thread.is_alive():
                end_waits()  # a consumer that sleeps does not see that its worker is closing
                thread.join(END_WAITS_S)


def _quietly(stop: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with contextlib.suppress(Exception):  # an end in the middle of a start has nothing to end
            stop()

    return run
