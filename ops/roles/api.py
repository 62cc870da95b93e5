"""``headwater api``: answers questions, and shows the state of everything.

Ready once everything that the sources first held is indexed, while the ledger, the index and the embedder
answer. A broker that is away is no reason to send searches elsewhere: only edits wait for it.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ops.exporter import Metrics
from ops.hint_desk import make_hinting
from ops.keeping import Keeper
from ops.looking import looking
from ops.outdated import schema_watch
from ops.periodic import Periodic
from ops.roles.health import Health
from ops.roles.missing import Check, FirstListings, IndexHolds, Missing
from ops.roles.process import Waiting
from ops.settings import Settings
from ops.status import status_report
from ops.version import version
from ops.wiring import Parts, open_parts
from ops.workshop import Messenger, make_shared_app
from retrieval.api.app import Readiness, Service, make_api
from retrieval.search import Searcher
from workers.dispatch import Dispatcher
from workers.no_work import NoWork
from workers.outcomes import of_users
from workers.pushing import PushDesk
from workers.reconcile import Reconciler


class ApiRole:
    """Serves on ``daemon.host`` and ``daemon.port``."""

    name = "api"

    def __init__(self, settings: Settings, clock: Clock, *, host: str) -> None:
        self._settings = settings
        self._clock = clock
        self._host = host
        self._health: Health | None = None
        self._searcher: Searcher | None = None
        self.missing: Missing | None = None
        self._threads: list[Messenger | Periodic] = []

    def open(self, waiting: Waiting, health: Health, undo: contextlib.ExitStack) -> str:
        """Answers once the ledger and the index are there: until the model is loaded, by words alone."""
        app = make_shared_app(self._settings, NoWork())
        parts = waiting.until_made(lambda: open_parts(self._settings, clock=self._clock, parses=False))
        undo.callback(parts.close)
        messenger = Messenger(self._settings, app, parts.ledger, self._clock)
        messenger.start()
        undo.callback(messenger.close)
        self._health = health
        parts.batcher.start_loading()
        parts.fitter.hearing.load = True
        others: list[Periodic] = [
            looking(parts.equipment),
            schema_watch(parts.ledger),
            Keeper(parts.ledger, list(parts.sources), self._clock),
        ]
        for one in others:
            one.start()
            undo.callback(one.close)
        self._threads = [messenger, *others]
        health.replace(make_api(self._service(parts, messenger, undo)))
        return f"broker {messenger.broker.shown}, {parts.embedder.description}"

    def stopping(self) -> None:
        """Answers under way are given, before what they need is closed."""
        if self._searcher is not None:
            self._searcher.close()  # first: searches that wait would hold the server up
        if self._health is not None:
            self._health.stop()

    def alive(self) -> bool:
        return all(one.alive for one in self._threads)

    def tell(self) -> None:
        """Nothing: it has no end to come near to."""

    def _service(self, parts: Parts, messenger: Messenger, undo: contextlib.ExitStack) -> Service:
        metrics = Metrics(parts.ledger, self._clock, version=version(), states=False)
        checks: dict[str, Check] = {
            "ledger": parts.ledger.fence.generation,
            "index": IndexHolds(parts.ledger, parts.index, lambda: parts.edition, self._clock),
        }
        missing = self.missing = Missing(checks, self._clock)
        first = FirstListings(parts.ledger, [source.name for source in self._settings.sources])
        dispatcher = Dispatcher(parts.ledger, messenger.send)

        searcher = self._searcher = Searcher(
            parts.ledger,
            parts.index,
            parts.equipment.embed_query,
            self._clock,
            on_demand=dispatcher.send,
            observe=metrics,
        )
        undo.callback(searcher.close)
        return Service(
            searcher=searcher,
            ledger=parts.ledger,
            clock=self._clock,
            host=self._host,
            key_hashes=self._settings.api.keys,
            status=lambda: self._status(parts),
            ready=lambda: readiness(parts, messenger, missing, first),
            metrics=metrics.rendered,
            pushing=self._pushing(parts, dispatcher, metrics),
            hinting=make_hinting(self._settings, parts.ledger.hints.add),
        )

    def _pushing(self, parts: Parts, dispatcher: Dispatcher, metrics: Metrics) -> PushDesk:
        reconciler = Reconciler(
            parts.ledger,
            self._clock,
            listener=of_users(metrics.outcome),
            send=dispatcher.send,
            missed=metrics.scan_missed,
        )
        return PushDesk(parts.ledger, reconciler, parts.sources, self._clock)

    def _status(self, parts: Parts) -> dict[str, Any]:
        return status_report(self._settings, parts.ledger, self._clock)


def readiness(parts: Parts, messenger: Messenger, missing: Missing, first: FirstListings) -> Readiness:
    """What is missing, dependency by dependency; and what is worse than usual without being missed."""
    reasons = missing.reasons()
    if not reasons:
        try:
            reasons = first.reasons()
        except HeadwaterError as error:
            reasons = [f"ledger: {error}"]
    if not parts.batcher.ready:
        failure = parts.batcher.load_failure
        reasons.append(f"embedder: {failure or 'the embedding model is being loaded'}")
    worse = {"broker": messenger.away, "embedder": parts.equipment.missing()}
    degraded = [f"{name}: {why}" for name, why in worse.items() if why is not None]
    return Readiness(not reasons, reasons, degraded)
