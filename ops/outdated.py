"""Ends a process under which a newer version has migrated the ledger.

What it knows of tables is not so any more: what it read could be wrong, and what it wrote too. Nothing is
handed back, as that would be written as well; leases end by themselves.
"""

from __future__ import annotations

import logging

from ingestion.errors import DataNewer
from ingestion.ledger.ledger import Ledger
from ops.ending import end_now
from ops.periodic import Periodic

log = logging.getLogger("headwater.outdated")

LOOK_EVERY_S = 2.0


def schema_watch(ledger: Ledger) -> Periodic:
    """To be closed before the ledger is."""

    def look() -> None:
        try:
            ledger.require_schema()
        except DataNewer as error:
            log.critical("%s", error)
            end_now(1)

    return Periodic(look, LOOK_EVERY_S, name="schema")
