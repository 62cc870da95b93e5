"""The ledger: opens the database and hands out its books."""

from __future__ import annotations

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger import schema
from ingestion.ledger.audits import Audits
from ingestion.ledger.canaries import Canaries
from ingestion.ledger.claims import Claims
from ingestion.ledger.documents import Documents
from ingestion.ledger.editions import Editions
from ingestion.ledger.fence import Fence
from ingestion.ledger.hints import Hints
from ingestion.ledger.kept import Kept
from ingestion.ledger.publishing import Publications
from ingestion.ledger.punctuality import Punctuality
from ingestion.ledger.removing import Removing
from ingestion.ledger.rhythms import Rhythms
from ingestion.ledger.sources import Sources
from ingestion.ledger.turns import Turns
from ingestion.ledger.views import Views

LEASE_S = 60.0


class Ledger:
    """The state of every document. Opening migrates the schema; see the package for the state machine."""

    def __init__(self, database: Database, clock: Clock, *, lease_s: float = LEASE_S) -> None:
        self._schema = schema.ensure(database)
        self.database = database
        self._clock = clock
        self.sources = Sources(database, clock)
        self.editions = Editions(database, clock)
        self.documents = Documents(database, clock)
        self.claims = Claims(database, clock, lease_s=lease_s)
        self.publications = Publications(database, clock, lease_s=lease_s)
        self.fence = Fence(database)
        self.views = Views(database, clock)
        self.punctuality = Punctuality(database, clock)
        self.audits = Audits(database, clock, lease_s=lease_s)
        self.canaries = Canaries(database, clock)
        self.kept = Kept(database, clock)
        self.hints = Hints(database)
        self.rhythms = Rhythms(database)
        self.turns = Turns(database, clock)
        self.removing = Removing(database, clock)

    def now(self) -> float:
        """The time that its entries go by, for whoever compares them: one clock for all processes."""
        with self.database.read() as connection:
            return self.database.now(connection, self._clock)

    def require_schema(self) -> None:
        """Raises DataNewer where a newer version has migrated it since it was opened here."""
        schema.require(self.database, self._schema)
