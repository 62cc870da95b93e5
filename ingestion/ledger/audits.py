"""The ledger's side of an audit: what it knows of chunks, page by page, and what audits found.

Nothing here holds all chunks at once: a ledger may know millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ingestion.buckets import Tally, tallied
from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import among, slices
from ingestion.ledger.tables import audits, chunks, documents, installation, is_marked
from ingestion.ledger.values import Edition
from ingestion.places import parted
from ingestion.records import Drift

PAGE = 5_000  # rows a transaction
KEPT = 100  # audits of an edition

_alive = sa.and_(chunks.c.born.is_not(None), chunks.c.died.is_(None))
_of_edition = chunks.c.edition_id == sa.bindparam("edition")
_AFTER = (
    sa.select(chunks.c.id, chunks.c.digest)
    .where(_of_edition, chunks.c.id > sa.bindparam("after"))
    .order_by(chunks.c.id)
    .limit(sa.bindparam("at_most"))
)
# In the order of LiveChunk's fields.
_LIVE_AFTER = _AFTER.with_only_columns(
    chunks.c.id, chunks.c.document_id, chunks.c.digest, chunks.c.heading_path
).where(_alive)
_COUNT_LIVE = sa.select(sa.func.count()).select_from(chunks).where(_of_edition, _alive)
_COUNT_MARKED = _COUNT_LIVE.where(is_marked)
_KNOWN = sa.select(chunks.c.id, chunks.c.document_id, chunks.c.digest, _alive).where(
    _of_edition, chunks.c.id.in_(among("ids"))
)
_NAMES = sa.select(documents.c.source, documents.c.uri).where(documents.c.id.in_(among("ids")))
_OF_NAME = audits.c.edition == sa.bindparam("name")
_LATEST = sa.select(audits).where(_OF_NAME).order_by(audits.c.id.desc()).limit(1)
_last_too_many = (
    sa.select(audits.c.id)
    .where(_OF_NAME)
    .order_by(audits.c.id.desc())
    .limit(1)
    .offset(KEPT)
    .scalar_subquery()
)
_begun_at = installation.c.audit_begun_at
_BEGIN = (
    sa.update(installation)
    .where(sa.or_(_begun_at.is_(None), ~_begun_at.between(sa.bindparam("since"), sa.bindparam("now"))))
    .values(audit_begun_at=sa.bindparam("now"))
)
_own = _begun_at == sa.bindparam("kept")
_KEEP = sa.update(installation).where(_own).values(audit_begun_at=sa.bindparam("now"))
_END = sa.update(installation).where(_own).values(audit_begun_at=None)
_TRIM = sa.delete(audits).where(_OF_NAME, audits.c.id <= _last_too_many)


@dataclass(frozen=True, slots=True)
class LiveChunk:
    """A chunk that searches may return."""

    chunk_id: str
    document_id: int
    digest: str
    heading_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownChunk:
    """A chunk that has a row: staged, live or dead."""

    document_id: int
    digest: str
    live: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """What one audit of an edition found, and what of it was mended or is on its way to be.

    ``chunks``: live ones, all compared by id and digest. ``contents_to``: texts and vectors were checked up
    to this chunk id; '' means up to the last one. ``faults``: what could not be looked at.
    """

    edition: str
    started_at: float
    finished_at: float
    chunks: int
    deep: bool
    repair: bool
    contents_to: str
    found: Mapping[Drift, int] = field(default_factory=dict)
    mended: Mapping[Drift, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything could be looked at and nothing differed."""
        return not (self.found or self.faults)


class Audits:
    """The ledger's book of audits. ``lease_s``: how long one that fell silent keeps others from auditing."""

    def __init__(self, database: Database, clock: Clock, *, lease_s: float) -> None:
        self._database = database
        self._clock = clock
        self.lease_s = lease_s

    def buckets(self, edition: Edition) -> dict[int, Tally]:
        """All chunks that have a row, by bucket: as the index would count them if it held just these."""
        return tallied((row[0], row[1]) for row in self._pages(_AFTER, edition))

    def live(self, edition: Edition, *, after: str = "") -> Iterator[LiveChunk]:
        """Everything live, in the order of ids, from behind an id."""
        for key, document_id, digest, path in self._pages(_LIVE_AFTER, edition, after):
            yield LiveChunk(key, document_id, digest, parted(path)[0])

    def known(self, edition: Edition, chunk_ids: Sequence[str]) -> dict[str, KnownChunk]:
        """Those of the chunks that have a row in this edition."""
        found: dict[str, KnownChunk] = {}
        with self._database.read() as connection:
            for some in slices(chunk_ids):
                rows = connection.execute(_KNOWN, {"edition": edition.edition_id, "ids": some})
                found |= {row[0]: KnownChunk(row[1], row[2], bool(row[3])) for row in rows}
        return found

    def count_live(self, edition: Edition) -> int:
        return self._count(_COUNT_LIVE, edition)

    def count_marked(self, edition: Edition) -> int:
        """Live chunks that are marked for repair, and not replaced yet."""
        return self._count(_COUNT_MARKED, edition)

    def names(self, document_ids: Sequence[int]) -> list[str]:
        """``source/uri`` of a few documents."""
        with self._database.read() as connection:
            rows = connection.execute(_NAMES, {"ids": list(document_ids)})
            return sorted(f"{source}/{uri}" for source, uri in rows)

    def begin(self) -> float | None:
        """Claim the audit of the schedule, for ``lease_s``; None while another process has it."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            claimed = connection.execute(_BEGIN, {"now": now, "since": now - self.lease_s}).rowcount
        return now if claimed else None

    def keep(self, claim: float) -> float | None:
        """Have it for ``lease_s`` from now. Returns the claim that stands from now on; None where what
        ``begin`` or ``keep`` returned is somebody else's by now."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            kept = connection.execute(_KEEP, {"now": now, "kept": claim}).rowcount
        return now if kept else None

    def end(self, claim: float) -> None:
        """Let go of what ``begin`` or ``keep`` returned, unless it is somebody else's by now."""
        with self._database.write() as connection:
            connection.execute(_END, {"kept": claim})

    def record(self, audit: Audit) -> None:
        """Keep what an audit found, for status and metrics; the oldest ones go."""
        values = {column.name: getattr(audit, column.name) for column in audits.c if column.name != "id"}
        for name in ("found", "mended"):
            values[name] = {kind.value: number for kind, number in values[name].items()}
        values["faults"] = list(audit.faults)
        with self._database.write() as connection:
            connection.execute(sa.insert(audits), values)
            connection.execute(_TRIM, {"name": audit.edition})

    def latest(self, edition: Edition) -> Audit | None:
        with self._database.read() as connection:
            row = connection.execute(_LATEST, {"name": edition.name}).one_or_none()
        return None if row is None else _audit(row)

    def _pages(self, query: sa.Select[Any], edition: Edition, after: str = "") -> Iterator[Any]:
        while True:
            with self._database.read() as connection:
                values = {"edition": edition.edition_id, "after": after, "at_most": PAGE}
                page = connection.execute(query, values).all()
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def _count(self, query: sa.Select[Any], edition: Edition) -> int:
        with self._database.read() as connection:
            return int(connection.execute(query, {"edition": edition.edition_id}).scalar_one())


def _audit(row: Any) -> Audit:
    """Kinds that this version does not know are left out."""
    known = {kind.value: kind for kind in Drift}
    return Audit(
        edition=row.edition,
        started_at=row.started_at,
        finished_at=row.finished_at,
        chunks=row.chunks,
        deep=row.deep,
        repair=row.repair,
        contents_to=row.contents_to,
        found={known[kind]: number for kind, number in row.found.items() if kind in known},
        mended={known[kind]: number for kind, number in row.mended.items() if kind in known},
        faults=tuple(row.faults),
    )
