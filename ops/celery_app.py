"""The wired Celery application, for ``celery -A ops.celery_app`` and for Flower.

``app`` is made when it is first asked for, from the settings file that HEADWATER_CONFIG names and the
environment. A plain ``celery -A ops.celery_app worker -Q fresh`` does what ``headwater worker`` does: its
parts are opened when the worker begins, and it consumes nothing before the model is loaded.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from typing import Any

from celery import Celery, signals

from ingestion.clock import SystemClock
from ingestion.errors import HeadwaterError, Transient
from ingestion.records import Lane
from ops.settings import Settings, load
from ops.workshop import Workshop, make_shared_app
from workers.outcomes import ignore

log = logging.getLogger("headwater.celery_app")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


def __getattr__(name: str) -> Any:
    if name in ("app", "celery"):
        return _made()
    raise AttributeError(name)


@functools.cache
def _made() -> Celery:
    try:
        settings = load()
        work = _LateWork(settings)
        app = make_shared_app(settings, work)
    except HeadwaterError as error:  # Celery would show where this was raised, and not what to do
        raise SystemExit(str(error)) from None
    app.conf.worker_pool = "threads"  # processes would each load the model, or hang with one loaded before
    signals.worker_init.connect(work.begin, weak=False)
    signals.worker_shutting_down.connect(work.end_attempts, weak=False)
    signals.worker_shutdown.connect(work.close, weak=False)
    app.set_default()
    return app


class _LateWork:
    """Implements ``workers.app.Work`` with parts that are opened by the process that works."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self._workshop: Workshop | None = None
        self._stopping = threading.Event()

    def begin(self, sender: Any = None, **_: object) -> None:
        """Open everything, and wait for what is missing."""
        if "prefork" in str(getattr(sender, "pool_cls", "")):
            raise SystemExit("Start this worker with -P threads: they share one model, and processes cannot.")
        try:
            self._shop(load_model=True)
        except HeadwaterError as error:
            raise SystemExit(str(error)) from None

    def end_attempts(self, *_: object, **__: object) -> None:
        self._stopping.set()
        if self._workshop is not None:
            self._workshop.end_attempts()

    def close(self, *_: object, **__: object) -> None:
        with self._turn:
            shop, self._workshop = self._workshop, None
        if shop is not None:
            shop.close()

    def refresh(self, document_ids: Sequence[int], lane: Lane, edition_id: int | None = None) -> None:
        self._shop(load_model=True).pipeline.work.refresh(document_ids, lane, edition_id)

    def dispatch(self) -> None:
        self._shop().pipeline.work.dispatch()

    def sweep(self) -> None:
        self._shop().pipeline.work.sweep()

    def trim(self) -> None:
        self._shop().pipeline.work.trim()

    def audit(self) -> None:
        self._shop().pipeline.work.audit()

    def list_source(self, name: str) -> None:
        self._shop().pipeline.work.list_source(name)

    def _shop(self, *, load_model: bool = False) -> Workshop:
        with self._turn:
            if self._workshop is None:
                self._workshop = self._patiently(self._opened)
            shop = self._workshop
        if load_model and not shop.parts.batcher.ready:
            self._patiently(shop.loaded)
        return shop

    def _opened(self) -> Workshop:
        shop = Workshop(self._settings, SystemClock(), listener=ignore)
        shop.start()
        return shop

    def _patiently(self, make: Any) -> Any:
        pause_s, told = FIRST_PAUSE_S, None
        while True:
            try:
                return make()
            except Transient as fault:
                if type(fault) is not told:  # its words may change from one try to the next
                    log.warning("waiting: %s", fault)
                told = type(fault)
                if self._stopping.wait(pause_s):
                    raise
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
