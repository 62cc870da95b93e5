"""The switch: manifests, staged chunks, publish, sweep.

``publish`` is one transaction, and it is the only place where a revision becomes visible: tokens
compared, the next tick, staged to live, dropped to dead. Nothing here talks to an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger import leases
from ingestion.ledger.peers import agree, beside
from ingestion.ledger.punctuality import Finished, note
from ingestion.ledger.sql import advance, among, record_attempts, slices, write_rows
from ingestion.ledger.switch import history, settle_documents, switch_chunks, switch_publications
from ingestion.ledger.tables import attempts, chunks, editions, is_marked
from ingestion.ledger.values import Claim, Edition, ManifestChunk, Published, Publishing, Staging
from ingestion.objectives import Kind
from ingestion.places import kept, parted
from ingestion.records import Lane

HISTORY = 20  # attempts kept for each document

_MANIFEST = (
    sa.select(
        chunks.c.document_id,
        chunks.c.id,
        chunks.c.digest,
        chunks.c.ordinal,
        chunks.c.start,
        chunks.c.end,
        chunks.c.heading_path,
        chunks.c.born,
        chunks.c.repair,
    )
    .where(
        chunks.c.document_id.in_(among("ids")),
        chunks.c.edition_id == sa.bindparam("edition"),
        chunks.c.died.is_(None),
    )
    .order_by(chunks.c.document_id, chunks.c.ordinal)
)
_STAGE = sa.insert(chunks)
_SWEEPABLE = (
    sa.select(editions.c.name, chunks.c.id)
    .join(editions, editions.c.id == chunks.c.edition_id)
    .where(chunks.c.died.is_not(None), chunks.c.died_at < sa.bindparam("before"))
    .limit(sa.bindparam("at_most"))
)
_FORGET = sa.delete(chunks).where(chunks.c.id.in_(among("ids")), chunks.c.died.is_not(None))
_WORDY = sa.select(attempts.c.document_id).group_by(attempts.c.document_id).having(sa.func.count() > HISTORY)
_newest_first = sa.func.row_number().over(partition_by=attempts.c.document_id, order_by=attempts.c.id.desc())
_ranked = (
    sa.select(attempts.c.id, _newest_first.label("rank"))
    .where(attempts.c.document_id.in_(among("ids")))
    .subquery()
)
_TRIM = sa.delete(attempts).where(attempts.c.id.in_(sa.select(_ranked.c.id).where(_ranked.c.rank > HISTORY)))
_alive = sa.and_(chunks.c.born.is_not(None), chunks.c.died.is_(None))
_DISTRUSTED = sa.select(chunks.c.id).where(
    is_marked, chunks.c.edition_id == sa.bindparam("edition"), chunks.c.digest.in_(among("digests"))
)
_MARK = (
    sa.update(chunks)
    .where(chunks.c.id.in_(among("ids")), _alive)
    .values(repair=True)
    .returning(chunks.c.document_id)
)


class Publications:
    """The ledger's book of what is live."""

    def __init__(self, database: Database, clock: Clock, *, lease_s: float) -> None:
        self._database = database
        self._clock = clock
        self._lease_s = lease_s

    def manifests(self, claims: Sequence[Claim]) -> dict[int, list[ManifestChunk]]:
        """Live and staged chunks by document id, in order; a document without any has no key."""
        found: dict[int, list[ManifestChunk]] = {}
        with self._database.read() as connection:
            for some in slices(claims):
                values = {"ids": [claim.document_id for claim in some], "edition": some[0].edition_id}
                for document_id, key, digest, ordinal, start, end, path, born, repair in connection.execute(
                    _MANIFEST, values
                ):
                    headings, place = parted(path)
                    chunk = ManifestChunk(key, digest, ordinal, start, end, headings, born, repair, place)
                    found.setdefault(document_id, []).append(chunk)
        return found

    def stage(self, stagings: Sequence[Staging]) -> set[int]:
        """Write intents, before the index hears of the chunks, and renew the leases.

        Returns the documents whose token is no longer current: nothing was written for them.
        """
        if not stagings:
            return set()
        claims = list({staging.claim.document_id: staging.claim for staging in stagings}.values())
        with self._database.write() as connection:
            current = leases.current(connection, claims)
            rows = [
                {
                    "id": staging.placed.chunk_id,
                    "document_id": staging.claim.document_id,
                    "edition_id": staging.claim.edition_id,
                    "digest": staging.digest,
                    "ordinal": staging.placed.ordinal,
                    "start": staging.placed.start,
                    "end": staging.placed.end,
                    "heading_path": kept(staging.placed.heading_path, staging.placed.place),
                }
                for staging in stagings
                if staging.claim.document_id in current and not staging.known
            ]
            if rows:
                write_rows(connection, _STAGE, rows)
            if current:
                now = self._database.now(connection, self._clock)
                leases.renew(connection, claims, now + self._lease_s)
        return {claim.document_id for claim in claims} - current.keys()

    def publish(self, revisions: Sequence[Publishing]) -> list[Published]:
        """Make these revisions the live ones, all at one tick. One result a revision, in order.

        The index must have acknowledged every added chunk. Only the token decides: a newer edit does
        not abort an attempt, it leaves the document pending again.
        """
        if not revisions:
            return []
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            found = leases.current(connection, [revision.claim for revision in revisions])
            winners = [revision for revision in revisions if revision.claim.document_id in found]
            dropped: Mapping[int, int] = {}
            if winners:
                tick = advance(connection, "tick")
                around = beside(connection, winners[0].claim.edition_id)
                dropped = switch_chunks(connection, winners, tick, now)
                switch_publications(connection, winners, found, tick, now)
                agree(connection, winners, around, now)
                if around.live:  # the documents' columns speak of the live edition alone
                    settle_documents(connection, winners, found)
                record_attempts(connection, [history(revision, now) for revision in winners])
                if around.live:
                    note(connection, [_finished(revision, dropped, now) for revision in winners], now)
        return [_published(revision.claim, found, dropped, now) for revision in revisions]

    def sweepable(self, died_before: float, limit: int = 2000) -> dict[str, list[str]]:
        """Chunk ids by edition name that nobody can be searching any more."""
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for name, key in connection.execute(_SWEEPABLE, {"before": died_before, "at_most": limit}):
                found.setdefault(name, []).append(key)
        return found

    def forget(self, chunk_ids: Sequence[str]) -> None:
        """Remove dead chunks' rows, after the index has deleted the chunks."""
        if not chunk_ids:
            return
        with self._database.write() as connection:
            for some in slices(chunk_ids):
                connection.execute(_FORGET, {"ids": some})

    def trim_history(self) -> int:
        """Keep the last attempts of each document only. Short transactions: edits pass between them."""
        with self._database.read() as connection:
            wordy = list(connection.execute(_WORDY).scalars())
        trimmed = 0
        for some in slices(wordy):
            with self._database.write() as connection:
                trimmed += connection.execute(_TRIM, {"ids": some}).rowcount
        return trimmed

    def mark_missing(self, chunk_ids: Iterable[str]) -> set[int]:
        """Mark chunks that are still live, and that the index lacks or holds wrongly; returns their
        documents."""
        affected: set[int] = set()
        with self._database.write() as connection:
            for some in slices(list(chunk_ids)):
                affected |= set(connection.execute(_MARK, {"ids": some}).scalars())
        return affected

    def distrusted(self, edition: Edition, digests: Sequence[str]) -> list[str]:
        """Chunks with these texts, of whatever document, that were ever marked and are not swept yet."""
        found: list[str] = []
        with self._database.read() as connection:
            for some in slices(digests):
                values = {"edition": edition.edition_id, "digests": some}
                found += connection.execute(_DISTRUSTED, values).scalars()
        return found


def _finished(revision: Publishing, dropped: Mapping[int, int], now: float) -> Finished:
    """How a published revision counts against the objective of its source.

    Not at all, where nothing new is to be found, where no change was waiting, or as one of the many that a
    source holds at first.
    """
    claim = revision.claim
    is_first = claim.live_generation is None
    is_new = bool(revision.added or dropped.get(claim.document_id)) or is_first
    judged = is_new and not revision.skipped and not (is_first and claim.lane is Lane.BULK)
    in_bulk = claim.lane is Lane.BULK
    if claim.pending_since is None or not judged:
        return Finished(claim.source, Kind.BULK_UNJUDGED if in_bulk else Kind.UNJUDGED, 0.0)
    kind = Kind.BULK_CHANGE if in_bulk else Kind.CHANGE
    return Finished(claim.source, kind, max(0.0, now - claim.pending_since))


def _published(
    claim: Claim, found: Mapping[int, leases.Current], dropped: Mapping[int, int], now: float
) -> Published:
    current = found.get(claim.document_id)
    return Published(
        claim=claim,
        superseded=current is None,
        pending=current is not None and current.outdates(claim),
        dropped=dropped.get(claim.document_id, 0),
        published_at=now,
    )
