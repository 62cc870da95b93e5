"""Whether a ledger that can be read takes writes, too: found out by one that is taken back."""

from __future__ import annotations

import os

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.tables import audits

# More than SQLite keeps in memory before it writes to the disk, and nothing that a server could compress.
SIZE_BYTES = 4 * 2**20


class _TakenBack(Exception):
    """Ends the transaction without a trace."""


def try_to_write(database: Database) -> None:
    """Raises LedgerUnavailable where nothing can be written; leaves nothing behind."""
    values = {
        "edition": "",
        "started_at": 0.0,
        "finished_at": 0.0,
        "chunks": 0,
        "deep": False,
        "repair": False,
        "contents_to": "",
        "found": {},
        "mended": {},
        "faults": [os.urandom(SIZE_BYTES // 2).hex()],
    }
    try:
        with database.write() as connection:
            connection.execute(sa.insert(audits).values(values))
            raise _TakenBack
    except _TakenBack:
        return
