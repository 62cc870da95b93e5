"""Which ledger this is: what a store that several may share tells them apart by."""

from __future__ import annotations

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.tables import installation

_ID = sa.select(installation.c.ledger_id)


def ledger_id(database: Database) -> str:
    """Random, and the same for ever: a copy or a backup of a ledger has it too."""
    with database.read() as connection:
        return str(connection.execute(_ID).scalar_one())
