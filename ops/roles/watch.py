"""``headwater watch``: sees what changes in the sources, and says so to the ledger and the workers.

It reads no document and needs neither index nor model. Two that watch one source find the same twice: the
second finds nothing new in the ledger.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.ledger.ledger import Ledger
from ingestion.sources.port import SourcePort
from ops.canary_sources import prepare_perches
from ops.exporter import Metrics
from ops.keeping import Keeper
from ops.kinds.base import Means
from ops.listing import Lister
from ops.outdated import schema_watch
from ops.periodic import Periodic
from ops.roles.health import Health
from ops.roles.missing import Missing
from ops.roles.process import Waiting
from ops.settings import Settings
from ops.showing import counted
from ops.version import version
from ops.wiring import (
    add_sources,
    ensure_edition,
    in_turn,
    make_sources,
    objectives,
    open_or_make_ledger,
    schedules,
)
from ops.workshop import Messenger, make_shared_app
from workers.dispatch import Dispatcher
from workers.no_work import NoWork
from workers.outcomes import Listener, Outcome, of_users
from workers.reconcile import Reconciler
from workers.tracing import UNTRACED, Tracing
from workers.watcher import Watcher


@dataclass(frozen=True, slots=True)
class _Seeing:
    ledger: Ledger
    sources: dict[str, SourcePort]
    messenger: Messenger


class WatchRole:
    """Watches and lists every source of the settings."""

    name = "watch"

    def __init__(
        self, settings: Settings, clock: Clock, *, listener: Listener, tracing: Tracing = UNTRACED
    ) -> None:
        self._settings = settings
        self._tracing = tracing
        self._clock = clock
        self._listener = listener
        self._threads: list[Watcher | Lister | Messenger | Periodic] = []
        self.missing: Missing | None = None

    def open(self, waiting: Waiting, health: Health, undo: contextlib.ExitStack) -> str:
        """A broker that is away is no reason to wait: what changed is noted in the ledger."""
        seeing = waiting.until_made(self._seeing)
        undo.callback(seeing.ledger.database.close)
        seeing.messenger.start()
        undo.callback(seeing.messenger.close)
        metrics = Metrics(
            seeing.ledger,
            self._clock,
            version=version(),
            sources=objectives(self._settings),
            states=False,
        )
        checks = {"ledger": seeing.ledger.fence.generation, "broker": seeing.messenger.check}
        self.missing = Missing(checks, self._clock)
        health.serve(self.missing.reasons, lambda accept: metrics.rendered(accept))
        self._start(seeing, metrics, undo)
        return f"{counted(len(self._settings.sources), 'source')}, broker {seeing.messenger.broker.shown}"

    def stopping(self) -> None:
        """Whatever is being looked at is looked at again by the next one."""

    def alive(self) -> bool:
        return all(one.alive for one in self._threads)

    def tell(self) -> None:
        """Nothing: it has no end to come near to."""

    def _seeing(self) -> _Seeing:
        app = make_shared_app(self._settings, NoWork())
        ledger = open_or_make_ledger(self._settings, self._clock)
        try:
            ensure_edition(self._settings, ledger, self._clock)
            sources = make_sources(self._settings, Means(self._clock, ledger, self._settings.daemon.data))
            add_sources(ledger, self._settings, sources)
            messenger = Messenger(self._settings, app, ledger, self._clock, tracing=self._tracing)
            return _Seeing(ledger, sources, messenger)
        except BaseException:
            ledger.database.close()
            raise

    def _start(self, seeing: _Seeing, metrics: Metrics, undo: contextlib.ExitStack) -> None:
        def outcome(one: Outcome) -> None:
            metrics.outcome(one)
            self._listener(one)

        dispatcher = Dispatcher(seeing.ledger, seeing.messenger.send)
        reconciler = Reconciler(
            seeing.ledger,
            self._clock,
            listener=of_users(outcome),
            send=dispatcher.send,
            missed=metrics.scan_missed,
            tracing=self._tracing,
        )
        turn = in_turn(self._settings, seeing.ledger)
        turn.start()
        undo.callback(turn.close)
        lister = Lister(
            lambda name: _listed(reconciler, seeing.sources[name]),
            self._clock,
            schedules=schedules(self._settings),
            note=seeing.ledger.sources.set_looks,
            turn=turn,
            looked=turn.looked,
        )
        prepare_perches(self._settings)
        watcher = Watcher(
            seeing.ledger,
            reconciler,
            list(seeing.sources.values()),
            self._clock,
            list_source=lister.ask,
            overflowed=metrics.overflow,
        )
        keeper = Keeper(seeing.ledger, list(seeing.sources), self._clock, watches=True)
        keeper.start()
        undo.callback(keeper.close)
        lister.start()
        undo.callback(lister.stop)
        watcher.start()
        undo.callback(watcher.stop)
        schema = schema_watch(seeing.ledger)
        schema.start()
        undo.callback(schema.close)
        self._threads = [watcher, lister, seeing.messenger, schema, keeper]


def _listed(reconciler: Reconciler, source: SourcePort) -> None:
    reconciler.list_source(source, watched=True)
