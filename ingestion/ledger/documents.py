"""What exists: observations and renames; tombstones and held deletions come from its bases.

Every method is one short transaction. Nothing here decides: ``ingestion.plan`` did. What an observation
finds changed meanwhile by another process is settled by the conditions of each statement.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.ledger.absence import Absences
from ingestion.ledger.entries import SERVED
from ingestion.ledger.punctuality import Finished, note
from ingestion.ledger.sql import advance, among, inserting, next_token, record_attempts, slices, write_rows
from ingestion.ledger.tables import documents, editions, publications
from ingestion.ledger.tombstones import absorb, event, withdraw
from ingestion.objectives import Kind
from ingestion.records import Lane, PublicationState, Seen, Skipped, Standing

_OBSERVED = (
    sa.select(documents.c.id, documents.c.wanted)
    .where(documents.c.wanted.between(sa.bindparam("first"), sa.bindparam("last")))
    .order_by(documents.c.wanted)
)
_OBSERVED_SINCE = sa.select(documents.c.uri).where(
    documents.c.source == sa.bindparam("in_source"),
    documents.c.uri.in_(among("uris")),
    documents.c.observed >= sa.bindparam("generation"),
)
_is_live = editions.c.state == "live"
_NOW_PENDING = (
    sa.select(
        documents.c.id,
        editions.c.id,
        sa.literal(PublicationState.PENDING.value),
        # The caller's message is for the live edition; any other is fed in the bulk lane.
        sa.case((_is_live, sa.bindparam("in_lane", type_=sa.String)), else_=Lane.BULK.value),
        sa.case((_is_live, sa.bindparam("sent", type_=sa.Float)), else_=0.0),
    )
    .join(editions, editions.c.state != "retired")
    .where(documents.c.wanted.between(sa.bindparam("first"), sa.bindparam("last")))
)
_held = documents.c.standing == Standing.HELD
_TOUCH = (
    sa.update(documents)
    .where(documents.c.id == sa.bindparam("key"), documents.c.standing != Standing.RETIRED)
    .values(
        fingerprint=sa.bindparam("look"),
        observed_at=sa.bindparam("at"),
        racy=sa.bindparam("raced"),
        observed=sa.bindparam("generation"),
        standing=sa.case((_held, Standing.PRESENT), else_=documents.c.standing),
        reason=sa.case((_held, ""), else_=documents.c.reason),
    )
)
_MOVE = (
    sa.update(documents)
    .where(documents.c.id == sa.bindparam("key"))
    .values(
        uri=sa.bindparam("new_uri"),
        fingerprint=sa.bindparam("look"),
        # Another one where the content showed the rename.
        identity=sa.func.coalesce(sa.bindparam("look_identity"), documents.c.identity),
        size_bytes=sa.bindparam("size"),
        racy=sa.bindparam("raced"),
        standing=Standing.PRESENT,
        reason="",
        observed=sa.bindparam("generation"),
        observed_at=sa.bindparam("at"),
    )
)
_VOID = (
    sa.update(publications)
    .where(publications.c.document_id == sa.bindparam("key"))
    .values(token=sa.bindparam("new_token"), lease_until=None, sent_at=0.0)
)


# The columns that an observation writes.
_OBSERVATION = (
    "source",
    "uri",
    "fingerprint",
    "identity",
    "size_bytes",
    "racy",
    "standing",
    "reason",
    "wanted",
    "observed",
    "pending_since",
    "changed_at",
    "observed_at",
    "retired_at",
)


@dataclass(frozen=True, slots=True)
class Change:
    """A document to be read again. ``changed_at`` is already judged plausible."""

    seen: Seen
    changed_at: float


class Documents(Absences):
    """The ledger's book of what exists."""

    def want(self, source: str, changes: Sequence[Change], lane: Lane, *, sent: bool) -> list[int]:
        """Documents that are to be read again: each gets a generation and is pending in every edition.

        ``sent`` says that the caller sends the returned document ids to workers right after this. They
        come in the order of the changes. What waits in the fresh lane stays there.
        """
        if not changes:
            return []
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            last = advance(connection, "generation", len(changes))
            span = {"first": last - len(changes) + 1, "last": last}
            rows = [_changed(source, change, span["first"] + n) for n, change in enumerate(changes)]
            dialect = connection.dialect.name
            write_rows(connection, _upsert(dialect, newer=True), rows)
            message = {"in_lane": lane.value, "sent": now if sent else 0.0}
            connection.execute(_make_pending(dialect), {**span, **message})
            return [row.id for row in connection.execute(_OBSERVED, span)]

    def touch(self, looks: Mapping[int, Seen]) -> None:
        """Documents that are as they were: note the look, and release them if they were held."""
        if not looks:
            return
        with self._database.write() as connection:
            generation = advance(connection, "generation")
            connection.execute(
                _TOUCH,
                [
                    {
                        "key": document_id,
                        "look": seen.fingerprint,
                        "at": seen.observed_at,
                        "raced": seen.racy,
                        "generation": generation,
                    }
                    for document_id, seen in looks.items()
                ],
            )

    def skip(
        self, source: str, skipped: Sequence[Skipped], *, observed_before: int | None = None
    ) -> list[Skipped]:
        """Documents that are there and are not to be indexed: what was served of them is withdrawn.

        ``observed_before``: a generation; documents observed at or after it are left alone, because
        somebody looked later. Returns the others.
        """
        if not skipped:
            return []
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            later = _observed_since(connection, source, skipped, observed_before)
            skipped = [one for one in skipped if one.uri not in later]
            if not skipped:
                return []
            last = advance(connection, "generation", len(skipped))
            first = last - len(skipped) + 1
            rows = [_skipped(source, one, first + number) for number, one in enumerate(skipped)]
            connection.execute(_upsert(connection.dialect.name, newer=False), rows)
            found = connection.execute(_OBSERVED, {"first": first, "last": last}).all()
            withdraw(connection, [row.id for row in found], now)
            reasons = {first + number: one for number, one in enumerate(skipped)}
            record_attempts(
                connection,
                [
                    event(row.id, row.wanted, "skipped", now, one.reason, one.observed_at)
                    for row in found
                    for one in (reasons[row.wanted],)
                ],
            )
        return list(skipped)

    def move(self, document_id: int, seen: Seen, *, was: str | None = None) -> bool:
        """A rename: the same document at another URI. False if it is not served any more, if another
        document lives there, or if it is not at ``was`` any more: somebody saw a later rename.

        The token changes, so that an attempt under the old name publishes nothing. A tombstone at the
        new URI is absorbed.
        """
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            row = connection.execute(
                sa.select(
                    documents.c.source, documents.c.uri, documents.c.wanted, documents.c.standing
                ).where(documents.c.id == document_id)
            ).one_or_none()
            if row is None or row.standing not in SERVED or was not in (None, row.uri):
                return False
            if not absorb(connection, row.source, seen.uri, document_id):
                return False
            values = {
                "key": document_id,
                "new_uri": seen.uri,
                "look": seen.fingerprint,
                "look_identity": seen.identity,
                "size": seen.size_bytes,
                "raced": seen.racy,
                "at": seen.observed_at,
                "generation": advance(connection, "generation"),
            }
            connection.execute(_MOVE, values)
            connection.execute(_VOID, {"key": document_id, "new_token": next_token(connection)})
            detail = f"from {row.uri}"
            record_attempts(
                connection, [event(document_id, row.wanted, "renamed", now, detail, seen.observed_at)]
            )
            took_s = max(0.0, now - seen.observed_at)
            note(connection, [Finished(row.source, Kind.CHANGE, took_s)], now)
            return True


def _changed(source: str, change: Change, generation: int) -> dict[str, Any]:
    seen = change.seen
    return {
        "source": source,
        "uri": seen.uri,
        "fingerprint": seen.fingerprint,
        "identity": None,
        "size_bytes": seen.size_bytes,
        "racy": seen.racy,
        "standing": Standing.PRESENT.value,
        "reason": "",
        "wanted": generation,
        "observed": generation,
        "pending_since": change.changed_at,
        "changed_at": change.changed_at,
        "observed_at": seen.observed_at,
        "retired_at": None,
    }


def _observed_since(
    connection: sa.Connection, source: str, skipped: Sequence[Skipped], generation: int | None
) -> set[str]:
    if generation is None:
        return set()
    found: set[str] = set()
    for some in slices(skipped):
        values = {"in_source": source, "uris": [one.uri for one in some], "generation": generation}
        found |= set(connection.execute(_OBSERVED_SINCE, values).scalars())
    return found


def _skipped(source: str, skipped: Skipped, generation: int) -> dict[str, Any]:
    return {
        "source": source,
        "uri": skipped.uri,
        "fingerprint": "",
        "identity": None,
        "size_bytes": skipped.size_bytes,
        "racy": False,
        "standing": Standing.SKIPPED.value,
        "reason": skipped.reason,
        "wanted": generation,
        "observed": generation,
        "pending_since": None,
        "changed_at": skipped.observed_at,
        "observed_at": skipped.observed_at,
        "retired_at": None,
    }


@functools.cache
def _upsert(dialect: str, *, newer: bool) -> sa.Insert:
    """Writes observations. ``newer`` ones leave the published look's identity, and the time since when
    there is something to publish, as they are: the old revision is still what is live."""
    insert = inserting(dialect, documents)
    new = insert.excluded
    updated: dict[str, Any] = {name: new[name] for name in _OBSERVATION if name not in ("source", "uri")}
    if newer:
        del updated["identity"]
        updated["pending_since"] = sa.func.coalesce(documents.c.pending_since, new.pending_since)
    return insert.on_conflict_do_update(index_elements=["source", "uri"], set_=updated)


@functools.cache
def _make_pending(dialect: str) -> sa.Executable:
    columns = ["document_id", "edition_id", "state", "lane", "sent_at"]
    insert = inserting(dialect, publications).from_select(columns, _NOW_PENDING)
    waits_fresh = sa.and_(publications.c.state == PublicationState.PENDING, publications.c.lane == Lane.FRESH)
    return insert.on_conflict_do_update(
        index_elements=["document_id", "edition_id"],
        set_={
            "state": PublicationState.PENDING,
            "lane": sa.case((waits_fresh, publications.c.lane), else_=insert.excluded.lane),
            "sent_at": insert.excluded.sent_at,
            "attempts": 0,
            "not_before": 0.0,
            "error": None,
            "failed_at": None,
        },
    )
