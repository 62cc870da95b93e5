"""The Celery application: queues, routing, schedule, tasks.

The tasks unpack ids, call, and hand back what is left over. State lives in the ledger; so results are
not kept, nothing is retried by Celery, and a message lost with its broker costs nothing but time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from celery import Celery
from kombu.entity import Queue

from ingestion.errors import HeadwaterError
from ingestion.records import Lane
from workers.tracing import HEADER, UNTRACED, Tracing

log = logging.getLogger("headwater.tasks")

IN_PROCESS = "memory://localhost/"
IN_PROCESS_TRANSPORT = "workers.in_memory:Transport"
DISPATCH_QUEUE = (
    "dispatch"  # apart from what may take long: a lost message, or a retry, waits for nothing else
)
UPKEEP_QUEUE = "upkeep"
DISPATCH_EVERY_S = 2.0
SWEEP_EVERY_S = 20.0
TRIM_EVERY_S = 3600.0
AUDIT_DUE_EVERY_S = 600.0  # how often it is asked whether one is due
# What waited in a queue that nobody served is thrown away, not worked off. Far longer than a clock may be
# wrong: a message that looked too old where it arrives would be thrown away, and sent again, and a job of the
# schedule would never run, for as long as that lasts.
EXPIRES_S = 6 * 3600.0
VISIBILITY_S = 600
SOCKET_S = 5.0  # longer than this no answer of a broker takes
RECONNECTING = "workers.reconnecting:AMQP"


class Work(Protocol):
    """What the tasks call. Every method may be called twice, late or never."""

    def refresh(self, document_ids: Sequence[int], lane: Lane, edition_id: int | None = None) -> None:
        """Bring these documents up to date, in this edition or in the live one."""

    def send_due(self) -> None:
        """Send what is due and not on its way. Takes a moment."""

    def advance(self) -> None:
        """List what could not be listed, and bring on the editions that are being built."""

    def sweep(self) -> None:
        """Remove what has been dead for long enough."""

    def trim(self) -> None:
        """Keep the history bounded."""

    def audit(self) -> None:
        """Compare sources, ledger and index, and have mended what differs, if that is due."""

    def list_source(self, name: str) -> None:
        """Look at a whole source."""


def make_app(
    work: Work,
    *,
    broker: str = IN_PROCESS,
    prefix: str = "headwater",
    tracing: Tracing = UNTRACED,
) -> Celery:
    """The application around ``work``.

    ``broker``: the address of a Redis, with its password, whose keys begin with ``prefix``.
    """
    app = Celery("headwater", broker=broker, set_as_current=False, amqp=RECONNECTING)
    app.conf.update(
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_queues=[Queue(name) for name in (*(lane.value for lane in Lane), DISPATCH_QUEUE, UPKEEP_QUEUE)],
        task_default_queue=UPKEEP_QUEUE,
        task_routes={"headwater.dispatch": {"queue": DISPATCH_QUEUE}},
        task_create_missing_queues=False,
        # Once more, for a connection that died unnoticed: whoever sends must not wait for a broker.
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever
        broker_transport=IN_PROCESS_TRANSPORT if broker == IN_PROCESS else None,
        broker_transport_options={} if broker == IN_PROCESS else _redis_options(prefix),
        beat_max_loop_interval=5,
        beat_schedule=_schedule(5.0 if broker == IN_PROCESS else EXPIRES_S),
    )
    _register(app, work, tracing)
    return app


def _redis_options(prefix: str) -> dict[str, object]:
    """A message that a dead worker holds comes back after the visibility timeout, if it was not sent again
    before that; one that is still worked on comes back too, and finds its documents claimed."""
    return {
        "global_keyprefix": f"{prefix}:",
        "visibility_timeout": VISIBILITY_S,
        "socket_timeout": SOCKET_S,
        "socket_connect_timeout": SOCKET_S,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_retries": 1,  # of a send; what consumes tries again for ever
    }


def send_refresh(
    app: Celery,
    lane: Lane,
    document_ids: Sequence[int],
    edition_id: int | None = None,
    *,
    tracing: Tracing = UNTRACED,
) -> None:
    """One message for these documents, to their lane's queue. The trace it belongs to goes into a header:
    a worker that knows nothing of traces does not see it."""
    traceparent = tracing.traceparent()
    edition = () if edition_id is None else (edition_id,)
    app.send_task(
        "headwater.refresh",
        (list(document_ids), lane.value, *edition),
        queue=lane.value,
        expires=None if app.conf.broker_transport == IN_PROCESS_TRANSPORT else EXPIRES_S,
        headers={} if traceparent is None else {HEADER: traceparent},
    )


def _schedule(expires_s: float) -> dict[str, dict[str, object]]:
    """``expires_s``: a message that waited longer than its period is pointless, as the next one is there; but
    whether it did is judged by the clocks of two machines, where beat and its worker are apart."""

    def every(task: str, seconds: float) -> dict[str, object]:
        expires = {"expires": max(expires_s, seconds)}
        return {"task": task, "schedule": seconds, "options": expires}

    return {
        "dispatch": every("headwater.dispatch", DISPATCH_EVERY_S),
        "advance": every("headwater.advance", DISPATCH_EVERY_S),
        "sweep": every("headwater.sweep", SWEEP_EVERY_S),
        "trim": every("headwater.trim", TRIM_EVERY_S),
        "audit": every("headwater.audit", AUDIT_DUE_EVERY_S),
    }


def _register(app: Celery, work: Work, tracing: Tracing) -> None:
    @app.task(name="headwater.refresh", throws=(HeadwaterError,), shared=False, bind=True)
    def refresh(task: Any, document_ids: list[int], lane: str, edition_id: int | None = None) -> None:
        with tracing.under(task.request.get(HEADER)):
            work.refresh(document_ids, Lane(lane), edition_id)

    @app.task(name="headwater.dispatch", throws=(HeadwaterError,), shared=False)
    def dispatch() -> None:
        work.send_due()

    @app.task(name="headwater.advance", throws=(HeadwaterError,), shared=False)
    def advance() -> None:
        work.advance()

    @app.task(name="headwater.sweep", throws=(HeadwaterError,), shared=False)
    def sweep() -> None:
        work.sweep()

    @app.task(name="headwater.trim", throws=(HeadwaterError,), shared=False)
    def trim() -> None:
        work.trim()

    @app.task(name="headwater.audit", throws=(HeadwaterError,), shared=False)
    def audit() -> None:
        work.audit()

    @app.task(name="headwater.list", throws=(HeadwaterError,), shared=False)
    def list_source(name: str) -> None:
        work.list_source(name)
