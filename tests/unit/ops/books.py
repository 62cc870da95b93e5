"""Writes into a real ledger what sources and workers would: for tests of everything that shows one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.editions import NewEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Claim, Edition, EditionView, Look, Placed, Publishing, Staging, Work
from ingestion.records import Lane, Seen
from retrieval.embedding.hashing import HashingEmbedder

START = 1_700_000_000.0


@dataclass
class SetClock:
    """A clock that stands still until it is moved."""

    at: float = START

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Books:
    """Writes into a ledger what sources and workers would, without either."""

    def __init__(self, database: Database, clock: SetClock) -> None:
        self.clock = clock
        self.ledger = Ledger(database, clock)
        self.edition: Edition = self.ledger.sources.edition("f" * 64, 4, "hashing (4 dimensions)")

    def switch_to(self, embedder: HashingEmbedder, model: dict[str, str]) -> EditionView:
        """Another edition becomes live, with nothing in it."""
        new = NewEdition(
            embedder.fingerprint, embedder.dimensions, embedder.description, model, keep_s=3600.0
        )
        view = self.ledger.editions.start(new)
        assert self.ledger.editions.switch(view)
        return view

    def configure(self, **locations: Path | str) -> None:
        self.ledger.sources.configure(
            [SourceRow(name, "files", str(location)) for name, location in locations.items()]
        )

    def listed(self, source: str, *, fault: str | None = None) -> None:
        generation = self.ledger.sources.begin_listing()
        self.ledger.sources.finish_listing(
            source, generation, started_at=self.clock.now(), device=1, fault=fault
        )

    def want(self, source: str, *uris: str, lane: Lane = Lane.FRESH) -> list[int]:
        now = self.clock.now()
        changes = [Change(Seen(uri, f"look at {now}", None, 10, now, now), now) for uri in uris]
        return self.ledger.documents.want(source, changes, lane, sent=True)

    def claim(self, document_id: int) -> Claim:
        claims = self.ledger.claims.claim(self.edition, [document_id])
        assert len(claims) == 1
        return claims[0]

    def publish(self, document_id: int, texts: int = 1) -> list[str]:
        """A revision of that many chunks goes live; returns their ids."""
        claim = self.claim(document_id)
        placed = [
            Placed(f"c{document_id}-{claim.token}-{number}", number, number * 5, number * 5 + 5, ("Title",))
            for number in range(texts)
        ]
        self.ledger.publications.stage([Staging(claim, one, f"digest {one.chunk_id}") for one in placed])
        self.clock.at += 0.25
        look = Look(f"look at {claim.changed_at}", None, 10, claim.changed_at, racy=False)
        self.ledger.publications.publish(
            [
                Publishing(
                    claim,
                    f"content {claim.token}",
                    "pipeline",
                    look,
                    added=placed,
                    work=Work(texts, texts, 0, self.clock.now()),
                )
            ]
        )
        return [one.chunk_id for one in placed]

    def fail(self, document_id: int, message: str = "no text could be made of it.") -> None:
        assert self.ledger.claims.fail(self.claim(document_id), message, terminal=True)
