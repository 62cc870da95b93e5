"""The statements of ``publish``, each over a whole batch: chunks, publications, documents, history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ingestion.ledger.leases import Current
from ingestion.ledger.sql import among, slices, write_rows
from ingestion.ledger.tables import NO_TOKEN, chunks, documents, publications
from ingestion.ledger.values import Placed, Publishing
from ingestion.places import kept
from ingestion.records import PublicationState, Standing

_UNDEAD = sa.select(chunks.c.id, chunks.c.document_id, chunks.c.born).where(
    chunks.c.document_id.in_(among("ids")),
    chunks.c.edition_id == sa.bindparam("edition"),
    chunks.c.died.is_(None),
)
_KILL = (
    sa.update(chunks)
    .where(chunks.c.id.in_(among("ids")))
    .values(died=sa.bindparam("tick"), died_at=sa.bindparam("at"))
)
_PLACE = (
    sa.update(chunks)
    .where(chunks.c.id == sa.bindparam("key"))
    .values(
        ordinal=sa.bindparam("number"),
        start=sa.bindparam("first"),
        end=sa.bindparam("behind"),
        heading_path=sa.bindparam("path"),
    )
)
_BEAR = _PLACE.values(born=sa.bindparam("tick"))

_same = sa.and_(
    publications.c.digest == sa.bindparam("content"), publications.c.pipeline == sa.bindparam("made_by")
)
_PUBLISH = (
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
        changed_at=sa.case((_same, publications.c.changed_at), else_=sa.bindparam("changed")),
        published_at=sa.case((_same, publications.c.published_at), else_=sa.bindparam("at")),
        published_tick=sa.case((_same, publications.c.published_tick), else_=sa.bindparam("tick")),
        # Literals: a parameter more for each row of a batch is what the statement costs.
        token=sa.literal_column(str(NO_TOKEN)),
        attempts=sa.literal_column("0"),
        lease_until=sa.null(),
        sent_at=sa.literal_column("0"),
        alone=sa.false(),
        repair=sa.bindparam("mark"),
        error=sa.null(),
        failed_at=sa.null(),
    )
)
_held = documents.c.standing == Standing.HELD
_SETTLE = (
    sa.update(documents)
    .where(documents.c.id == sa.bindparam("key"))
    .values(
        fingerprint=sa.bindparam("look"),
        identity=sa.bindparam("published_identity"),
        size_bytes=sa.bindparam("size"),
        racy=sa.bindparam("raced"),
        standing=sa.case((_held, documents.c.standing), else_=sa.bindparam("stands")),
        reason=sa.case((_held, documents.c.reason), else_=sa.bindparam("why", type_=documents.c.reason.type)),
        pending_since=sa.null(),
    )
)
_WAIT = (
    sa.update(documents)
    .where(documents.c.id == sa.bindparam("key"))
    .values(identity=sa.bindparam("published_identity"), pending_since=sa.bindparam("since"))
)


def switch_chunks(
    connection: sa.Connection, revisions: Sequence[Publishing], tick: int, now: float
) -> dict[int, int]:
    """Staged to live, dropped to dead; returns the number of live chunks dropped by document."""
    wanted = {chunk_id for one in revisions for chunk_id in one.kept}
    wanted |= {placed.chunk_id for one in revisions for placed in one.added}
    unwanted: list[str] = []
    dropped: dict[int, int] = {}
    for some in slices(revisions):
        values = {"ids": [one.claim.document_id for one in some], "edition": some[0].claim.edition_id}
        for chunk_id, document_id, born in connection.execute(_UNDEAD, values):
            if chunk_id not in wanted:
                unwanted.append(chunk_id)
                dropped[document_id] = dropped.get(document_id, 0) + (born is not None)
    for ids in slices(unwanted):
        connection.execute(_KILL, {"ids": ids, "tick": tick, "at": now})
    moved = [_place(one) for revision in revisions for one in revision.moved]
    added = [_place(one) | {"tick": tick} for revision in revisions for one in revision.added]
    if moved:
        write_rows(connection, _PLACE, moved)
    if added:
        write_rows(connection, _BEAR, added)
    return dropped


def switch_publications(
    connection: sa.Connection,
    revisions: Sequence[Publishing],
    found: Mapping[int, Current],
    tick: int,
    now: float,
) -> None:
    """The revisions are what is live; what is newer than their claims leaves them pending."""
    rows = []
    for one in revisions:
        claim, now_there = one.claim, found[one.claim.document_id]
        pending = now_there.outdates(claim)
        rows.append(
            {
                "key": claim.document_id,
                "edition": claim.edition_id,
                "new_state": (PublicationState.PENDING if pending else PublicationState.LIVE).value,
                "generation": claim.wanted,
                "content": one.digest,
                "made_by": one.pipeline,
                "changed": one.look.changed_at,
                "mark": now_there.repair and not claim.repair,
                "tick": tick,
                "at": now,
            }
        )
    write_rows(connection, _PUBLISH, rows)


def settle_documents(
    connection: sa.Connection, revisions: Sequence[Publishing], found: Mapping[int, Current]
) -> None:
    """Note the published look, and since when there is something newer to publish.

    Where a newer edit waits, nothing unpublished is older than the claim: what was there at the claim
    has been read.
    """
    settled, waiting = [], []
    for one in revisions:
        key, look = one.claim.document_id, one.look
        if found[key].wanted > one.claim.wanted:
            since = one.claim.claimed_at
            waiting.append({"key": key, "published_identity": look.identity, "since": since})
            continue
        settled.append(
            {
                "key": key,
                "look": look.fingerprint,
                "published_identity": look.identity,
                "size": look.size_bytes,
                "raced": look.racy,
                "stands": (Standing.SKIPPED if one.skipped else Standing.PRESENT).value,
                "why": one.skipped or "",
            }
        )
    if settled:
        write_rows(connection, _SETTLE, settled)
    if waiting:
        write_rows(connection, _WAIT, waiting)


def history(revision: Publishing, now: float) -> dict[str, object]:
    """The line of history of a published revision."""
    claim, work = revision.claim, revision.work
    unchanged = revision.digest == claim.digest and not revision.added
    outcome = "skipped" if revision.skipped else "unchanged" if unchanged else "published"
    return {
        "document_id": claim.document_id,
        "edition_id": claim.edition_id,
        "generation": claim.wanted,
        "lane": claim.lane.value,
        "outcome": outcome,
        "changed_at": claim.pending_since,
        "observed_at": claim.observed_at,
        "claimed_at": claim.claimed_at,
        "staged_at": work.staged_at,
        "finished_at": now,
        "chunks": work.chunks,
        "embedded": work.embedded,
        "reused": work.reused,
        "detail": revision.skipped or "",
    }


def _place(placed: Placed) -> dict[str, object]:
    return {
        "key": placed.chunk_id,
        "number": placed.ordinal,
        "first": placed.start,
        "behind": placed.end,
        "path": kept(placed.heading_path, placed.place),
    }
