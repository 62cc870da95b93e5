"""The switch: manifests, staged chunks, publish, sweep.

``publish`` is one transaction, and it is the only place where a revision becomes visible: tokens
compared, the next tick, staged to live, dropped to dead. Nothing here talks to an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.claims import renew
from ingestion.ledger.sql import advance, record_attempts, slices
from ingestion.ledger.tables import attempts, chunks, documents, editions, publications
from ingestion.ledger.values import Claim, Edition, ManifestChunk, Placed, Published, Publishing, Staging
from ingestion.records import PublicationState, Standing

HISTORY = 20  # attempts kept for each document


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
                query = (
                    sa.select(chunks)
                    .where(
                        chunks.c.document_id.in_([claim.document_id for claim in some]),
                        chunks.c.edition_id == some[0].edition_id,
                        chunks.c.died.is_(None),
                    )
                    .order_by(chunks.c.document_id, chunks.c.ordinal)
                )
                for row in connection.execute(query):
                    found.setdefault(row.document_id, []).append(
                        ManifestChunk(
                            row.id,
                            row.digest,
                            row.ordinal,
                            row.start,
                            row.end,
                            tuple(row.heading_path),
                            row.born,
                            row.repair,
                        )
                    )
        return found

    def stage(self, stagings: Sequence[Staging]) -> set[int]:
        """Write intents, before the index hears of the chunks, and renew the leases.

        Returns the documents whose token is no longer current: nothing was written for them.
        """
        if not stagings:
            return set()
        claims = list({staging.claim.document_id: staging.claim for staging in stagings}.values())
        with self._database.write() as connection:
            current = _current(connection, claims)
            rows = [
                {
                    "id": staging.placed.chunk_id,
                    "document_id": staging.claim.document_id,
                    "edition_id": staging.claim.edition_id,
                    "digest": staging.digest,
                    "ordinal": staging.placed.ordinal,
                    "start": staging.placed.start,
                    "end": staging.placed.end,
                    "heading_path": staging.placed.heading_path,
                }
                for staging in stagings
                if staging.claim.document_id in current
            ]
            if rows:
                connection.execute(sa.insert(chunks), rows)
                renew(connection, claims, self._clock.now() + self._lease_s)
        return {claim.document_id for claim in claims} - current.keys()

    def publish(self, revisions: Sequence[Publishing]) -> list[Published]:
        """Make these revisions the live ones, all at one tick. One result a revision, in order.

        The index must have acknowledged every added chunk. Only the token decides: a newer edit does
        not abort an attempt, it leaves the document pending again.
        """
        if not revisions:
            return []
        with self._database.write() as connection:
            now = self._clock.now()
            wanted = _current(connection, [revision.claim for revision in revisions])
            winners = [revision for revision in revisions if revision.claim.document_id in wanted]
            dropped: Mapping[int, int] = {}
            if winners:
                tick = advance(connection, "tick")
                dropped = _switch_chunks(connection, winners, tick, now)
                _switch_publications(connection, winners, wanted, tick, now)
                _settle_documents(connection, winners, wanted)
                record_attempts(connection, [_attempt(revision, now) for revision in winners])
        return [
            Published(
                claim=revision.claim,
                superseded=revision.claim.document_id not in wanted,
                pending=wanted.get(revision.claim.document_id, 0) > revision.claim.wanted,
                dropped=dropped.get(revision.claim.document_id, 0),
                published_at=now,
            )
            for revision in revisions
        ]

    def sweepable(self, died_before: float, limit: int = 2000) -> dict[str, list[str]]:
        """Chunk ids by edition name that nobody can be searching any more."""
        query = (
            sa.select(editions.c.name, chunks.c.id)
            .join(editions, editions.c.id == chunks.c.edition_id)
            .where(chunks.c.died.is_not(None), chunks.c.died_at < died_before)
            .limit(limit)
        )
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.name, []).append(row.id)
        return found

    def forget(self, chunk_ids: Sequence[str]) -> None:
        """Remove dead chunks' rows, after the index has deleted the chunks."""
        with self._database.write() as connection:
            for some in slices(chunk_ids):
                connection.execute(sa.delete(chunks).where(chunks.c.id.in_(some), chunks.c.died.is_not(None)))

    def trim_history(self) -> int:
        """Keep the last attempts of each document only."""
        rank = (
            sa.func.row_number()
            .over(partition_by=attempts.c.document_id, order_by=attempts.c.id.desc())
            .label("rank")
        )
        ranked = sa.select(attempts.c.id, rank).subquery()
        surplus = sa.select(ranked.c.id).where(ranked.c.rank > HISTORY)
        with self._database.write() as connection:
            return connection.execute(sa.delete(attempts).where(attempts.c.id.in_(surplus))).rowcount

    def known_chunks(self, edition: Edition, chunk_ids: Sequence[str]) -> set[str]:
        """Those of the ids that the ledger knows in this edition, dead ones too."""
        known: set[str] = set()
        with self._database.read() as connection:
            for some in slices(chunk_ids):
                query = sa.select(chunks.c.id).where(
                    chunks.c.id.in_(some), chunks.c.edition_id == edition.edition_id
                )
                known |= set(connection.execute(query).scalars())
        return known

    def live_chunks(self, edition: Edition) -> dict[str, int]:
        """Document id by chunk id of everything live."""
        query = sa.select(chunks.c.id, chunks.c.document_id).where(
            chunks.c.edition_id == edition.edition_id, chunks.c.born.is_not(None), chunks.c.died.is_(None)
        )
        with self._database.read() as connection:
            return {row.id: row.document_id for row in connection.execute(query)}

    def mark_missing(self, chunk_ids: Iterable[str]) -> set[int]:
        """Mark chunks that are still live and that the index lacks; returns their documents."""
        affected: set[int] = set()
        with self._database.write() as connection:
            for some in slices(list(chunk_ids)):
                live = (chunks.c.id.in_(some), chunks.c.born.is_not(None), chunks.c.died.is_(None))
                affected |= set(connection.execute(sa.select(chunks.c.document_id).where(*live)).scalars())
                connection.execute(sa.update(chunks).where(*live).values(repair=True))
        return affected


def _current(connection: sa.Connection, claims: Sequence[Claim]) -> dict[int, int]:
    """``wanted`` of each document whose publication still has the claim's token, by document id."""
    tokens = {claim.document_id: claim.token for claim in claims}
    current: dict[int, int] = {}
    for some in slices(claims):
        query = (
            sa.select(publications.c.document_id, publications.c.token, documents.c.wanted)
            .join(documents, documents.c.id == publications.c.document_id)
            .where(
                publications.c.document_id.in_([claim.document_id for claim in some]),
                publications.c.edition_id == some[0].edition_id,
            )
        )
        for row in connection.execute(query):
            if row.token == tokens[row.document_id]:
                current[row.document_id] = row.wanted
    return current


def _switch_chunks(
    connection: sa.Connection, winners: Sequence[Publishing], tick: int, now: float
) -> dict[int, int]:
    """Staged to live, dropped to dead; returns the number of live chunks dropped by document."""
    wanted_ids = {chunk_id for one in winners for chunk_id in one.kept}
    wanted_ids |= {placed.chunk_id for one in winners for placed in one.added}
    unwanted: list[str] = []
    dropped: dict[int, int] = {}
    for some in slices(winners):
        query = sa.select(chunks.c.id, chunks.c.document_id, chunks.c.born).where(
            chunks.c.document_id.in_([one.claim.document_id for one in some]),
            chunks.c.edition_id == some[0].claim.edition_id,
            chunks.c.died.is_(None),
        )
        for row in connection.execute(query):
            if row.id not in wanted_ids:
                unwanted.append(row.id)
                dropped[row.document_id] = dropped.get(row.document_id, 0) + (row.born is not None)
    for ids in slices(unwanted):
        connection.execute(sa.update(chunks).where(chunks.c.id.in_(ids)).values(died=tick, died_at=now))
    _place(connection, [placed for one in winners for placed in one.moved], {})
    _place(connection, [placed for one in winners for placed in one.added], {"born": tick})
    return dropped


def _place(connection: sa.Connection, placed: Sequence[Placed], more: Mapping[str, object]) -> None:
    if not placed:
        return
    statement = (
        sa.update(chunks)
        .where(chunks.c.id == sa.bindparam("key"))
        .values(
            ordinal=sa.bindparam("number"),
            start=sa.bindparam("first"),
            end=sa.bindparam("behind"),
            heading_path=sa.bindparam("path"),
            **more,
        )
    )
    connection.execute(
        statement,
        [
            {
                "key": one.chunk_id,
                "number": one.ordinal,
                "first": one.start,
                "behind": one.end,
                "path": one.heading_path,
            }
            for one in placed
        ],
    )


def _switch_publications(
    connection: sa.Connection, winners: Sequence[Publishing], wanted: Mapping[int, int], tick: int, now: float
) -> None:
    same = sa.and_(
        publications.c.digest == sa.bindparam("content"), publications.c.pipeline == sa.bindparam("made_by")
    )
    statement = (
        sa.update(publications)
        .where(
            publications.c.document_id == sa.bindparam("key"),
            publications.c.edition_id == sa.bindparam("edition"),
        )
        .values(
            state=sa.bindparam("new_state"),
            live_generation=sa.bindparam("generation"),
            digest=sa.bindparam("content"),
            pipeline=sa.bindparam("made_by"),
            # Read again and found the same: it became searchable when it was first published.
            changed_at=sa.case((same, publications.c.changed_at), else_=sa.bindparam("changed")),
            published_at=sa.case((same, publications.c.published_at), else_=now),
            published_tick=sa.case((same, publications.c.published_tick), else_=tick),
            attempts=0,
            lease_until=None,
            sent_at=None,
            alone=False,
            repair=False,
            error=None,
            failed_at=None,
        )
    )
    connection.execute(
        statement,
        [
            {
                "key": one.claim.document_id,
                "edition": one.claim.edition_id,
                "new_state": PublicationState.PENDING
                if wanted[one.claim.document_id] > one.claim.wanted
                else PublicationState.LIVE,
                "generation": one.claim.wanted,
                "content": one.digest,
                "made_by": one.pipeline,
                "changed": one.look.changed_at,
            }
            for one in winners
        ],
    )


def _settle_documents(
    connection: sa.Connection, winners: Sequence[Publishing], wanted: Mapping[int, int]
) -> None:
    """Note the published look, and since when there is something newer to publish.

    Where a newer edit waits, nothing unpublished is older than the claim: what was there at the claim
    has been read.
    """
    settled = [
        {
            "key": one.claim.document_id,
            "look": one.look.fingerprint,
            "published_identity": one.look.identity,
            "size": one.look.size_bytes,
            "raced": one.look.racy,
            "stands": Standing.SKIPPED if one.skipped else Standing.PRESENT,
            "why": one.skipped or "",
        }
        for one in winners
        if wanted[one.claim.document_id] <= one.claim.wanted
    ]
    if settled:
        connection.execute(
            sa.update(documents)
            .where(documents.c.id == sa.bindparam("key"))
            .values(
                fingerprint=sa.bindparam("look"),
                identity=sa.bindparam("published_identity"),
                size_bytes=sa.bindparam("size"),
                racy=sa.bindparam("raced"),
                standing=sa.case(
                    (documents.c.standing == Standing.HELD, Standing.HELD), else_=sa.bindparam("stands")
                ),
                reason=sa.case(
                    (documents.c.standing == Standing.HELD, documents.c.reason), else_=sa.bindparam("why")
                ),
                pending_since=None,
            ),
            settled,
        )
    waiting = [
        {"key": one.claim.document_id, "published_identity": one.look.identity, "since": one.claim.claimed_at}
        for one in winners
        if wanted[one.claim.document_id] > one.claim.wanted
    ]
    if waiting:
        connection.execute(
            sa.update(documents)
            .where(documents.c.id == sa.bindparam("key"))
            .values(identity=sa.bindparam("published_identity"), pending_since=sa.bindparam("since")),
            waiting,
        )


def _attempt(revision: Publishing, now: float) -> dict[str, object]:
    claim, work = revision.claim, revision.work
    unchanged = revision.digest == claim.digest and not revision.added
    return {
        "document_id": claim.document_id,
        "edition_id": claim.edition_id,
        "generation": claim.wanted,
        "lane": claim.lane,
        "outcome": "skipped" if revision.skipped else "unchanged" if unchanged else "published",
        "changed_at": claim.pending_since if claim.pending_since is not None else claim.changed_at,
        "observed_at": claim.observed_at,
        "claimed_at": claim.claimed_at,
        "staged_at": work.staged_at,
        "finished_at": now,
        "chunks": work.chunks,
        "embedded": work.embedded,
        "reused": work.reused,
        "detail": revision.skipped or "",
    }
