"""A hand that works the ledger: what watchers and workers do, in the fewest steps, without an index."""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Sequence

from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.editions import NewEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import (
    Claim,
    Edition,
    EditionView,
    Horizon,
    Look,
    Pipelines,
    Placed,
    Published,
    Publishing,
    Staging,
)
from ingestion.records import Lane, Seen, Skipped
from tests.servers.postgres import clock_of

SOURCE = "notes"
OTHER = "wiki"
PIPELINE = "parser 1"


def made_by(pipeline: str) -> Pipelines:
    """A process whose every parser is this one."""
    return Pipelines(frozenset({pipeline}), pipeline)


LEASE_S = 60.0


class SetClock:
    """A clock that stands still until it is moved; on a server, the server's clock with it."""

    def __init__(self, database: Database) -> None:
        self._set_server = clock_of(database) if database.on_server else None
        self.at = 1_000_000.0

    @property
    def at(self) -> float:
        return self._at

    @at.setter
    def at(self, moment: float) -> None:
        self._at = moment
        if self._set_server is not None:
            microseconds = math.ceil(round(moment * 1e6, 1))  # as fine as a server's time is
            self._set_server("fixed", microseconds / 1e6)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Desk:
    """One ledger with two configured sources and a live edition."""

    def __init__(self, database: Database) -> None:
        self.clock = SetClock(database)
        self.ledger = Ledger(database, self.clock, lease_s=LEASE_S)
        self.documents = self.ledger.documents
        self.claims = self.ledger.claims
        self.publications = self.ledger.publications
        self.fence = self.ledger.fence
        self.views = self.ledger.views
        self.editions = self.ledger.editions
        self.ledger.sources.configure([SourceRow(name, "files", f"/{name}") for name in (SOURCE, OTHER)])
        self.edition = self.ledger.sources.edition("f" * 64, 8, "a model")
        self._looks = itertools.count(1)

    def seen(self, uri: str, *, identity: str | None = None, fingerprint: str | None = None) -> Seen:
        look = fingerprint or f"look {next(self._looks)}"
        return Seen(uri, look, identity, 10, self.clock.at, self.clock.at)

    def want(
        self,
        *uris: str,
        source: str = SOURCE,
        lane: Lane = Lane.FRESH,
        changed_at: float | None = None,
        sent: bool = False,
    ) -> list[int]:
        at = self.clock.at if changed_at is None else changed_at
        return self.documents.want(source, [Change(self.seen(uri), at) for uri in uris], lane, sent=sent)

    def claim(self, document_id: int, edition: Edition | None = None) -> Claim:
        (claim,) = self.claims.claim(edition or self.edition, [document_id])
        return claim

    def build(self, *, fingerprint: str = "a" * 64, keep_s: float = 3600.0) -> EditionView:
        """A second edition, with everything that is there pending in it."""
        new = NewEdition(fingerprint, 16, "another model", {"model": "another"}, keep_s=keep_s)
        made = self.editions.start(new)
        self.editions.fill(made.edition)
        return made

    def stage(self, claim: Claim, texts: Sequence[str]) -> list[Placed]:
        placed = [Placed(uuid.uuid4().hex, n, 10 * n, 10 * n + 9, ("Top",)) for n in range(len(texts))]
        assert not self.publications.stage(
            [Staging(claim, place, text) for place, text in zip(placed, texts, strict=True)]
        )
        return placed

    def publishing(
        self,
        claim: Claim,
        added: Sequence[Placed],
        *,
        kept: Sequence[str] = (),
        moved: Sequence[Placed] = (),
        digest: str = "digest",
        skipped: str | None = None,
        racy: bool = False,
    ) -> Publishing:
        look = Look(f"look {next(self._looks)}", f"id of {claim.uri}", 10, claim.changed_at, racy)
        return Publishing(claim, digest, PIPELINE, look, kept=kept, moved=moved, added=added, skipped=skipped)

    def publish(self, claim: Claim, texts: Sequence[str] = ("one",), *, digest: str = "digest") -> Published:
        """A revision of new chunks only; whatever was live dies."""
        placed = self.stage(claim, texts)
        (published,) = self.publications.publish([self.publishing(claim, placed, digest=digest)])
        return published

    def publish_stale(self, claim: Claim) -> bool:
        """Whether the ledger refuses to publish for this claim."""
        (published,) = self.publications.publish([self.publishing(claim, [])])
        return published.superseded

    def edit(self, document_id: int) -> Claim:
        """Another change of a document, observed and claimed."""
        view = self.views.document(document_id)
        assert view is not None
        self.want(view.uri, source=view.source)
        return self.claim(document_id)

    def live(self, uri: str, *, source: str = SOURCE, texts: Sequence[str] = ("one",)) -> int:
        """A document that is published and has nothing pending."""
        (document_id,) = self.want(uri, source=source)
        assert not self.publish(self.claim(document_id), texts).superseded
        return document_id

    def retire(self, document_id: int) -> None:
        assert self.documents.retire({document_id: "gone"}) == [document_id]

    def skip(self, uri: str, reason: str = "too large") -> None:
        self.documents.skip(SOURCE, [Skipped(uri, reason, self.clock.at, 99)])

    def state(self, document_id: int) -> str:
        view = self.views.document(document_id)
        assert view is not None
        return view.state

    def due(self, lane: Lane = Lane.FRESH, *, limit: int = 1000, batch: int = 100) -> list[tuple[int, ...]]:
        """What the dispatcher would send now, message by message."""
        batches = self.claims.take_due(self.edition, lane, limit=limit, batch=batch, resend_s=30.0)
        assert all(one.lane is lane for one in batches)
        return [one.document_ids for one in batches]

    def served(self, uri: str | None = None, *, horizon: Horizon | None = None) -> list[str]:
        """Digests of what a search (one that begins now, or began at the horizon) may serve, in order."""
        with self.ledger.database.read() as connection:
            known = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT id, digest FROM chunks")}
        admitted = self.fence.admit(list(known), horizon or self.fence.horizon()).values()
        in_order = sorted(admitted, key=lambda one: (one.source, one.uri, one.ordinal))
        return [known[one.chunk_id] for one in in_order if uri is None or one.uri == uri]

    def document_ids(self) -> list[int]:
        return [view.document_id for view in self.views.documents()]

    def known(self) -> list[str]:
        """Ids of every chunk that has a row, dead ones too."""
        with self.ledger.database.read() as connection:
            return [row[0] for row in connection.exec_driver_sql("SELECT id FROM chunks ORDER BY id")]

    def outcomes(self, document_id: int) -> list[str]:
        return [attempt.outcome for attempt in self.views.history(document_id)]
