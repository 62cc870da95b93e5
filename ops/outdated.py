"""Ends a process under which a newer version has migrated the ledger.

What it knows of tables is not so any more: what it read could be wrong, and what it wrote too. Nothing is
handed back, as that would be written as well; leases end by themselves.
"""

from __future__ import annotations

import logging
import threading

from ingestion.errors import DataNewer, HeadwaterError
from ingestion.ledger.ledger import Ledger
from ops.ending import end_now

log = logging.getLogger("headwater.outdated")

LOOK_EVERY_S = 2.0


class SchemaWatch:
    """A thread that looks every other second, from ``start`` on."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schema", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Before the ledger is closed; a server that is away is not waited for long. Idempotent."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_EVERY_S)

    def _run(self) -> None:
        told = ""
        while not self._closed.wait(LOOK_EVERY_S):
            try:
                self._ledger.require_schema()
            except DataNewer as error:
                log.critical("%s", error)
                end_now(1)
            except HeadwaterError as error:  # the ledger is away, which is said elsewhere
                log.debug("the schema could not be looked at: %s", error)
            except Exception as error:
                if repr(error) != told:
                    log.exception("unexpected error while the schema was looked at")
                told = repr(error)
