"""The rows that are followed: where they are, how they are asked for, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.ledger.kept import Kept
from ingestion.sources.sql.database import RowDatabase
from ingestion.sources.sql.keys import KeyUris
from ingestion.sources.sql.rows import Maker
from ingestion.sources.sql.statements import Statements


@dataclass(frozen=True, slots=True)
class Table:
    """``name`` is the source's. ``has_changes``: whether there is a change column."""

    name: str
    database: RowDatabase
    statements: Statements
    uris: KeyUris
    maker: Maker
    kept: Kept
    clock: Clock
    has_changes: bool
