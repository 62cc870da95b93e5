"""``headwater exporter``: shows monitors the states of everything, computed from the ledger when they ask.

One is enough, and one is meant: two would show the same numbers twice. It changes nothing, and needs neither
folders nor index nor model.
"""

from __future__ import annotations

import contextlib

from ingestion.clock import Clock
from ops.exporter import Metrics
from ops.outdated import schema_watch
from ops.periodic import Periodic
from ops.roles.health import Health
from ops.roles.missing import Missing
from ops.roles.process import Waiting
from ops.settings import Settings
from ops.stores import make_broker
from ops.version import version
from ops.wiring import open_or_make_ledger


class ExporterRole:
    """Serves ``/metrics`` on ``daemon.host`` and ``daemon.port``, or where it is told to."""

    name = "exporter"

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._schema: Periodic | None = None
        self.missing: Missing | None = None

    def open(self, waiting: Waiting, health: Health, undo: contextlib.ExitStack) -> str:
        """A broker that is away is a state, and no reason to wait."""
        ledger = waiting.until_made(lambda: open_or_make_ledger(self._settings, self._clock))
        undo.callback(ledger.database.close)
        broker = None if self._settings.broker.url is None else make_broker(self._settings)
        if broker is not None:
            undo.callback(broker.close)
        metrics = Metrics(ledger, self._clock, version=version(), broker=broker)
        self.missing = Missing({"ledger": ledger.fence.generation}, self._clock)
        health.serve(self.missing.reasons, lambda accept: metrics.rendered(accept))
        schema = self._schema = schema_watch(ledger)
        schema.start()
        undo.callback(schema.close)
        return "no broker" if broker is None else f"broker {broker.shown}"

    def stopping(self) -> None:
        """Nothing is under way but answers, which the server gives before it ends."""

    def alive(self) -> bool:
        return self._schema is not None and self._schema.alive

    def tell(self) -> None:
        """Nothing: it has no end to come near to."""
