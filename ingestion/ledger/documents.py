"""What exists: observations, renames, tombstones and held deletions.

Every method is one short transaction. Nothing here decides: ``ingestion.plan`` did. What an observation
finds changed meanwhile by another process is settled by the conditions of each statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import advance, inserting, record_attempts, slices
from ingestion.ledger.tables import attempts, chunks, documents, editions, publications
from ingestion.ledger.values import Entry
from ingestion.records import Lane, PublicationState, Seen, Skipped, Standing

_ENTRY = (
    documents.c.id,
    documents.c.source,
    documents.c.uri,
    documents.c.fingerprint,
    documents.c.identity,
    documents.c.size_bytes,
    documents.c.racy,
    documents.c.standing,
    documents.c.wanted,
    documents.c.observed,
    documents.c.observed_at,
)
_SERVED = (Standing.PRESENT, Standing.HELD)


@dataclass(frozen=True, slots=True)
class Change:
    """A document to be read again. ``changed_at`` is already judged plausible."""

    seen: Seen
    changed_at: float


class Documents:
    """The ledger's book of what exists."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def entries(self, source: str) -> dict[str, Entry]:
        """Every entry of a source by URI, tombstones included (a path that comes back revives one)."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*_ENTRY).where(documents.c.source == source))
            return {row.uri: _entry(row) for row in rows}

    def find(self, source: str, uris: Sequence[str]) -> dict[str, Entry]:
        """The entries at these URIs; unknown ones are left out."""
        found: dict[str, Entry] = {}
        with self._database.read() as connection:
            for some in slices(uris):
                query = sa.select(*_ENTRY).where(documents.c.source == source, documents.c.uri.in_(some))
                found |= {row.uri: _entry(row) for row in connection.execute(query)}
        return found

    def below(self, source: str, prefix: str) -> list[Entry]:
        """Entries whose URI starts with the prefix ('' for all) and that are not retired."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else None
        query = sa.select(*_ENTRY).where(
            documents.c.source == source, documents.c.standing != Standing.RETIRED
        )
        if end is not None:
            query = query.where(documents.c.uri >= prefix, documents.c.uri < end)
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def with_identity(self, source: str, identities: Sequence[str]) -> list[Entry]:
        """Served entries whose published look had one of these identities."""
        found: list[Entry] = []
        with self._database.read() as connection:
            for some in slices(identities):
                query = sa.select(*_ENTRY).where(
                    documents.c.source == source,
                    documents.c.identity.in_(some),
                    documents.c.standing.in_(_SERVED),
                )
                found += [_entry(row) for row in connection.execute(query)]
        return found

    def digests(self, document_ids: Sequence[int]) -> dict[int, str]:
        """Content digest of documents whose newest revision is live."""
        found: dict[int, str] = {}
        with self._database.read() as connection:
            for some in slices(document_ids):
                query = sa.select(publications.c.document_id, publications.c.digest).where(
                    publications.c.document_id.in_(some),
                    publications.c.state == PublicationState.LIVE,
                    publications.c.digest.is_not(None),
                )
                found |= {row.document_id: row.digest for row in connection.execute(query)}
        return found

    def count_served(self, source: str) -> int:
        """How many documents the source holds, as far as the ledger knows."""
        query = (
            sa.select(sa.func.count())
            .select_from(documents)
            .where(documents.c.source == source, documents.c.standing.in_((*_SERVED, Standing.SKIPPED)))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def count_retired_since(self, source: str, moment: float) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(documents)
            .where(
                documents.c.source == source,
                documents.c.standing == Standing.RETIRED,
                documents.c.retired_at >= moment,
            )
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def want(self, source: str, changes: Sequence[Change], lane: Lane, *, sent: bool) -> list[int]:
        """Documents that are to be read again: each gets a generation and is pending in every edition.

        ``sent`` says that the caller sends the returned document ids to workers right after this.
        """
        if not changes:
            return []
        now = self._clock.now()
        with self._database.write() as connection:
            last = advance(connection, "generation", len(changes))
            first = last - len(changes) + 1
            _write_changes(connection, source, changes, first)
            _make_pending(connection, first, last, lane, now if sent else None)
            query = sa.select(documents.c.id).where(documents.c.wanted.between(first, last))
            return list(connection.execute(query.order_by(documents.c.wanted)).scalars())

    def touch(self, looks: Mapping[int, Seen]) -> None:
        """Documents that are as they were: note the look, and release them if they were held."""
        if not looks:
            return
        statement = (
            sa.update(documents)
            .where(documents.c.id == sa.bindparam("key"))
            .values(
                fingerprint=sa.bindparam("look"),
                observed_at=sa.bindparam("at"),
                racy=sa.bindparam("raced"),
                observed=sa.bindparam("generation"),
                standing=sa.case(
                    (documents.c.standing == Standing.HELD, Standing.PRESENT), else_=documents.c.standing
                ),
                reason="",
            )
        )
        with self._database.write() as connection:
            generation = advance(connection, "generation")
            connection.execute(
                statement,
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

    def skip(self, source: str, skipped: Sequence[Skipped]) -> None:
        """Documents that are there and are not to be indexed: what was served of them is withdrawn."""
        if not skipped:
            return
        now = self._clock.now()
        with self._database.write() as connection:
            last = advance(connection, "generation", len(skipped))
            first = last - len(skipped) + 1
            rows = [
                {
                    "source": source,
                    "uri": one.uri,
                    "fingerprint": "",
                    "identity": None,
                    "size_bytes": one.size_bytes,
                    "racy": False,
                    "standing": Standing.SKIPPED,
                    "reason": one.reason,
                    "wanted": first + number,
                    "observed": first + number,
                    "pending_since": None,
                    "changed_at": one.observed_at,
                    "observed_at": one.observed_at,
                    "retired_at": None,
                }
                for number, one in enumerate(skipped)
            ]
            _upsert(connection, rows, keep_pending_since=False)
            query = sa.select(documents.c.id).where(documents.c.wanted.between(first, last))
            _withdraw(connection, list(connection.execute(query).scalars()), now)

    def move(self, document_id: int, seen: Seen) -> bool:
        """A rename: the same document at another URI. False if it was retired or moved meanwhile.

        The token changes, so that an attempt under the old name publishes nothing. A tombstone at the
        new URI is absorbed: its dead chunks still wait to be swept, so they change hands.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(
                    documents.c.source, documents.c.uri, documents.c.wanted, documents.c.standing
                ).where(documents.c.id == document_id)
            ).one()
            if row.standing not in _SERVED or not _absorb_tombstone(
                connection, row.source, seen.uri, document_id
            ):
                return False
            connection.execute(
                sa.update(documents)
                .where(documents.c.id == document_id)
                .values(
                    uri=seen.uri,
                    fingerprint=seen.fingerprint,
                    size_bytes=seen.size_bytes,
                    racy=seen.racy,
                    standing=Standing.PRESENT,
                    reason="",
                    observed=advance(connection, "generation"),
                    observed_at=seen.observed_at,
                )
            )
            connection.execute(
                sa.update(publications)
                .where(publications.c.document_id == document_id)
                .values(token=advance(connection, "token"), lease_until=None, sent_at=None)
            )
            record_attempts(
                connection,
                [_event(document_id, row.wanted, "renamed", now, f"from {row.uri}", seen.observed_at)],
            )
            return True

    def retire(self, evidence: Mapping[int, str], *, observed_before: int | None = None) -> list[int]:
        """Tombstones: instant, in every edition. Returns the documents that were retired.

        ``observed_before``: a generation; documents observed at or after it are left alone, because
        somebody saw them after the look that missed them.
        """
        now = self._clock.now()
        retired: list[int] = []
        with self._database.write() as connection:
            for some in slices(list(evidence)):
                condition = [documents.c.id.in_(some), documents.c.standing != Standing.RETIRED]
                if observed_before is not None:
                    condition.append(documents.c.observed < observed_before)
                retired += connection.execute(sa.select(documents.c.id).where(*condition)).scalars()
            if retired:
                _retire(connection, {key: evidence[key] for key in retired}, now)
        return retired

    def hold(self, document_ids: Sequence[int], reason: str, *, observed_before: int | None = None) -> int:
        """Absences that need approval: the documents stay served. Returns how many are newly held."""
        if not document_ids:
            return 0
        held = 0
        with self._database.write() as connection:
            generation = advance(connection, "generation")
            for some in slices(document_ids):
                condition = [documents.c.id.in_(some), documents.c.standing == Standing.PRESENT]
                if observed_before is not None:
                    condition.append(documents.c.observed < observed_before)
                held += connection.execute(
                    sa.update(documents)
                    .where(*condition)
                    .values(standing=Standing.HELD, reason=reason, observed=generation)
                ).rowcount
        return held

    def held(self, source: str) -> tuple[list[Entry], dict[int, str], int]:
        """The held documents, why each is, and the number that names this very set for ``approve``."""
        query = sa.select(*_ENTRY, documents.c.reason).where(
            documents.c.source == source, documents.c.standing == Standing.HELD
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(documents.c.uri)).all()
        shown = max((row.observed for row in rows), default=0)
        return [_entry(row) for row in rows], {row.id: row.reason for row in rows}, shown

    def approve(self, source: str, shown: int) -> list[int]:
        """Retire what was held when ``held`` returned ``shown``; documents held later stay held."""
        now = self._clock.now()
        with self._database.write() as connection:
            query = sa.select(documents.c.id, documents.c.reason).where(
                documents.c.source == source,
                documents.c.standing == Standing.HELD,
                documents.c.observed <= shown,
            )
            approved = {row.id: f"approved: {row.reason}" for row in connection.execute(query)}
            if approved:
                _retire(connection, approved, now)
            return list(approved)


def _entry(row: Any) -> Entry:
    return Entry(
        row.id,
        row.source,
        row.uri,
        row.fingerprint,
        row.identity,
        row.size_bytes,
        row.racy,
        Standing(row.standing),
        row.wanted,
        row.observed,
        row.observed_at,
    )


def _write_changes(connection: sa.Connection, source: str, changes: Sequence[Change], first: int) -> None:
    rows = [
        {
            "source": source,
            "uri": change.seen.uri,
            "fingerprint": change.seen.fingerprint,
            "identity": None,
            "size_bytes": change.seen.size_bytes,
            "racy": change.seen.racy,
            "standing": Standing.PRESENT,
            "reason": "",
            "wanted": first + number,
            "observed": first + number,
            "pending_since": change.changed_at,
            "changed_at": change.changed_at,
            "observed_at": change.seen.observed_at,
            "retired_at": None,
        }
        for number, change in enumerate(changes)
    ]
    _upsert(connection, rows, keep_pending_since=True)


def _upsert(connection: sa.Connection, rows: list[dict[str, Any]], *, keep_pending_since: bool) -> None:
    insert = inserting(connection, documents)
    new = insert.excluded
    updated: dict[str, Any] = {
        name: new[name] for name in rows[0] if name not in ("source", "uri", "identity")
    }
    if keep_pending_since:
        # Lag counts from the oldest change that is not published yet.
        updated["pending_since"] = sa.func.coalesce(documents.c.pending_since, new.pending_since)
    connection.execute(insert.on_conflict_do_update(index_elements=["source", "uri"], set_=updated), rows)


def _make_pending(
    connection: sa.Connection, first: int, last: int, lane: Lane, sent_at: float | None
) -> None:
    insert = inserting(connection, publications)
    wanted = (
        sa.select(
            documents.c.id,
            editions.c.id,
            sa.literal(PublicationState.PENDING.value),
            sa.literal(lane.value),
            sa.literal(sent_at, sa.Float),
        )
        .join(editions, editions.c.state != "retired")
        .where(documents.c.wanted.between(first, last))
    )
    statement = insert.from_select(["document_id", "edition_id", "state", "lane", "sent_at"], wanted)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["document_id", "edition_id"],
            set_={
                "state": PublicationState.PENDING,
                "lane": statement.excluded.lane,
                "sent_at": statement.excluded.sent_at,
                "attempts": 0,
                "not_before": 0.0,
                "error": None,
                "failed_at": None,
            },
        )
    )


def _absorb_tombstone(connection: sa.Connection, source: str, uri: str, document_id: int) -> bool:
    other = connection.execute(
        sa.select(documents.c.id, documents.c.standing).where(
            documents.c.source == source, documents.c.uri == uri, documents.c.id != document_id
        )
    ).one_or_none()
    if other is None:
        return True
    if other.standing != Standing.RETIRED:
        return False
    for table in (chunks, attempts):
        connection.execute(
            sa.update(table).where(table.c.document_id == other.id).values(document_id=document_id)
        )
    connection.execute(sa.delete(publications).where(publications.c.document_id == other.id))
    connection.execute(sa.delete(documents).where(documents.c.id == other.id))
    return True


def _retire(connection: sa.Connection, evidence: Mapping[int, str], now: float) -> None:
    last = advance(connection, "generation", len(evidence))
    generations = dict(zip(evidence, range(last - len(evidence) + 1, last + 1), strict=True))
    statement = (
        sa.update(documents)
        .where(documents.c.id == sa.bindparam("key"))
        .values(
            standing=Standing.RETIRED,
            reason=sa.bindparam("why"),
            wanted=sa.bindparam("generation"),
            observed=sa.bindparam("generation"),
            identity=None,
            pending_since=None,
            retired_at=now,
        )
    )
    connection.execute(
        statement,
        [{"key": key, "why": why, "generation": generations[key]} for key, why in evidence.items()],
    )
    _withdraw(connection, list(evidence), now)
    record_attempts(
        connection,
        [_event(key, generations[key], "retired", now, why, now) for key, why in evidence.items()],
    )


def _withdraw(connection: sa.Connection, document_ids: Iterable[int], now: float) -> None:
    """End everything that is served or under way of these documents, in every edition, at one tick."""
    tick = advance(connection, "tick")
    token = advance(connection, "token")
    for some in slices(list(document_ids)):
        connection.execute(
            sa.update(chunks)
            .where(chunks.c.document_id.in_(some), chunks.c.died.is_(None))
            .values(died=tick, died_at=now)
        )
        connection.execute(
            sa.update(publications)
            .where(publications.c.document_id.in_(some))
            .values(
                state=PublicationState.WITHDRAWN,
                live_generation=None,
                digest=None,
                pipeline=None,
                token=token,
                lease_until=None,
                error=None,
                failed_at=None,
            )
        )


def _event(
    document_id: int, generation: int, outcome: str, now: float, detail: str, observed_at: float
) -> dict[str, Any]:
    return {
        "document_id": document_id,
        "generation": generation,
        "lane": Lane.FRESH,
        "outcome": outcome,
        "observed_at": observed_at,
        "finished_at": now,
        "detail": detail,
    }
