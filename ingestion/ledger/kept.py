"""The ledger's book of kept documents: bodies that their source may not hand out again.

A body is kept once, compressed, however many documents have it, and goes when none has it any more. What is
kept is durable before anybody is told of it: the document is wanted only after that, and a listing of the
source finds what was kept and then not told.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import among, inserting, slices, write_rows
from ingestion.ledger.tables import attempts, bodies, documents, kept, sources
from ingestion.records import Standing

LEFT = "left"  # in the notes of what is not there any more: where it went
PLAUSIBLE_S = 3600.0  # so long before its receipt a change may have been, to be reckoned from then
_LEVEL = 6

_LOOK = (
    kept.c.uri,
    kept.c.digest,
    kept.c.media_type,
    kept.c.title,
    kept.c.changed_at,
    kept.c.received_at,
    kept.c.notes,
    sa.func.coalesce(bodies.c.size_bytes, 0).label("size_bytes"),
)
_OF_SOURCE = (
    sa.select(*_LOOK)
    .select_from(kept.outerjoin(bodies, bodies.c.digest == kept.c.digest))
    .where(kept.c.source == sa.bindparam("in_source"))
)
_AT_URIS = _OF_SOURCE.where(kept.c.uri.in_(among("uris")))
_PACKED = (
    sa.select(*_LOOK, bodies.c.packed)
    .select_from(kept.join(bodies, bodies.c.digest == kept.c.digest))
    .where(kept.c.source == sa.bindparam("in_source"), kept.c.uri.in_(among("uris")))
)
_unused = ~sa.exists().where(kept.c.digest == bodies.c.digest)
_SWEEPABLE = (
    sa.select(bodies.c.digest)
    .where(_unused, bodies.c.kept_at < sa.bindparam("before"))
    .limit(sa.bindparam("at_most"))
)
_was_retired = (
    sa.select(sa.func.max(attempts.c.finished_at))
    .where(attempts.c.document_id == documents.c.id, attempts.c.outcome == "retired")
    .scalar_subquery()
)
_RETIRED = (
    sa.select(kept.c.source, kept.c.uri)
    .select_from(
        documents.join(kept, sa.and_(kept.c.source == documents.c.source, kept.c.uri == documents.c.uri))
    )
    .where(
        documents.c.source.in_(sa.select(sources.c.name)),  # for the index
        documents.c.standing == Standing.RETIRED,
        kept.c.digest.is_not(None),
        kept.c.received_at < _was_retired,
        _was_retired < sa.bindparam("before"),
    )
    .limit(sa.bindparam("at_most"))
)
_OF_NONE = sa.select(kept.c.source, kept.c.uri, kept.c.notes).where(
    kept.c.digest.is_not(None),
    kept.c.received_at < sa.bindparam("before"),
    ~sa.exists().where(documents.c.source == kept.c.source, documents.c.uri == kept.c.uri),
)
_FORGET = sa.delete(kept).where(
    kept.c.source == sa.bindparam("in_source"), kept.c.uri == sa.bindparam("at_uri")
)


@dataclass(frozen=True, slots=True)
class KeptLook:
    """What a document last was. ``digest`` is None for one that was deleted."""

    uri: str
    digest: str | None
    media_type: str | None
    title: str | None
    changed_at: float
    received_at: float
    notes: Mapping[str, Any]
    size_bytes: int

    @property
    def is_there(self) -> bool:
        """Whether it is there. What has left is kept, with a note, for as long as it may be held: then it is
        served, and read for other editions."""
        return self.digest is not None and LEFT not in self.notes

    @property
    def fingerprint(self) -> str:
        """Another one for whatever is a reason to read it again."""
        told = "\0".join((self.digest or "", self.media_type or "", self.title or ""))
        return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Keep:
    """A document as it is given. ``changed_at``: what its giver says, plausible or not. ``body`` None: it is
    deleted there."""

    uri: str
    body: bytes | None
    media_type: str | None = None
    title: str | None = None
    changed_at: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


Known = Mapping[str, KeptLook]
KeptBody = tuple[KeptLook, bytes]
Check = Callable[[Known], None]


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Kept:
    """Every method is one short transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def keep(
        self, source: str, given: Sequence[Keep], check: Check | None = None
    ) -> tuple[list[KeptLook], set[str]]:
        """Keep what is given, all of it or nothing: each URI at most once.

        Returns what each is now, in order, and which URIs that changed; one that was never known and is to
        be deleted is left out.
        What is the same as before stays as it was. ``check`` sees what is known of them, and may raise.
        """
        uris = [one.uri for one in given]
        digests = [None if one.body is None else digest_of(one.body) for one in given]
        with self._database.read() as connection:
            before = _known(connection, source, uris)
            looks = _looks(given, digests, before, self._database.now(connection, self._clock))
        if check is None and all(before.get(look.uri) is look for look in looks):
            return looks, set()
        bodies_given = {
            digest: one.body
            for one, digest in zip(given, digests, strict=True)
            if digest is not None and one.body is not None
        }
        # Before the transaction, as it takes time; what others change meanwhile is packed within.
        packed = {digest: _pack(bodies_given[digest]) for digest in _new_bodies(looks, before)}
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            known = _known(connection, source, uris)
            if check is not None:
                check(known)
            if known != before:
                before, looks = known, _looks(given, digests, known, now)
            changed = [look for look in looks if before.get(look.uri) is not look]
            rows = [
                {
                    "digest": digest,
                    "size_bytes": len(bodies_given[digest]),
                    "packed": packed.get(digest) or _pack(bodies_given[digest]),
                    "kept_at": now,
                }
                for digest in sorted(_new_bodies(looks, known))
            ]
            if rows:
                write_rows(connection, _keep_body(connection.dialect.name), rows)
            if changed:
                write = _keep_look(connection.dialect.name)
                write_rows(connection, write, [_row(source, look) for look in changed])
        return looks, {look.uri for look in changed}

    def has_any(self, source: str) -> bool:
        """Whether anything was ever kept of it."""
        query = sa.select(kept.c.uri).where(kept.c.source == source).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def note(self, source: str, uri: str, notes: Mapping[str, Any], *, of: str | None) -> None:
        """What the source will want to know of a document at its next look; nothing where that is another
        one by now than ``of``, its digest."""
        at = sa.and_(kept.c.source == source, kept.c.uri == uri, kept.c.digest == of)
        with self._database.write() as connection:
            connection.execute(sa.update(kept).where(at).values(notes=dict(notes)))

    def find(self, source: str, uris: Sequence[str]) -> dict[str, KeptLook]:
        """What is known of these, deleted ones included; unknown ones are left out."""
        with self._database.read() as connection:
            return _known(connection, source, uris)

    def below(self, source: str, prefix: str) -> list[KeptLook]:
        """Those that are there and whose URI begins with the prefix ('' for all)."""
        query = _OF_SOURCE.where(kept.c.digest.is_not(None))
        if prefix:
            end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            query = query.where(kept.c.uri >= prefix, kept.c.uri < end)
        with self._database.read() as connection:
            return [KeptLook(*row) for row in connection.execute(query, {"in_source": source})]

    def in_several(self, sources: Sequence[str]) -> list[str]:
        """The URIs that more than one of these sources have."""
        query = (
            sa.select(kept.c.uri)
            .where(kept.c.source.in_(sources), kept.c.digest.is_not(None))
            .group_by(kept.c.uri)
            .having(sa.func.count() > 1)
            .order_by(kept.c.uri)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def body(self, source: str, uri: str) -> KeptBody | None:
        """A document whole, or None if it is not there."""
        return self.bodies(source, [uri], 0)[uri]

    def bodies(self, source: str, uris: Sequence[str], most_bytes: int) -> dict[str, KeptBody | None]:
        """The first of these documents, None for those that are not there: at least one, and as many as have
        no more than so many bytes together."""
        with self._database.read() as connection:
            known = _known(connection, source, uris) if len(uris) > 1 else {}
            some = list(_first(uris, known, most_bytes))
            rows = connection.execute(_PACKED, {"in_source": source, "uris": some})
            found = {row.uri: (KeptLook(*row[:-1]), row.packed) for row in rows}
        opened = {uri: (look, zlib.decompress(packed)) for uri, (look, packed) in found.items()}
        return {uri: opened.get(uri) for uri in some}

    def sweep(self, before: float, *, at_most: int = 500) -> int:
        """Forget bodies that no document has and that nobody gave since this moment; returns how many."""
        with self._database.write() as connection:
            values = {"before": before, "at_most": at_most}
            old = list(connection.execute(_SWEEPABLE, values).scalars())
            for some in slices(old):
                connection.execute(sa.delete(bodies).where(bodies.c.digest.in_(some)))
        return len(old)

    def forget_retired(self, before: float, *, at_most: int = 500) -> int:
        """Forget documents that were retired before this moment and not given since; returns how many.

        A document that is given again is kept before it is wanted: until then its tombstone speaks of what it
        was before. What is held is not retired: it is served, and read for other editions.
        """
        with self._database.write() as connection:
            rows = connection.execute(_RETIRED, {"before": before, "at_most": at_most}).all()
            for row in rows:
                connection.execute(_FORGET, {"in_source": row.source, "at_uri": row.uri})
        return len(rows)

    def forget_deleted(self, before: float) -> int:
        """Forget that documents were deleted before this moment, and what was kept by then of names that a
        document has left; returns how many were deleted."""
        with self._database.write() as connection:
            for row in connection.execute(_OF_NONE, {"before": before}).all():
                if LEFT in row.notes:
                    connection.execute(_FORGET, {"in_source": row.source, "at_uri": row.uri})
            query = sa.delete(kept).where(kept.c.digest.is_(None), kept.c.received_at < before)
            return connection.execute(query).rowcount


def _pack(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL)


def _first(uris: Sequence[str], known: Known, most_bytes: int) -> Iterator[str]:
    size_bytes = 0
    for number, uri in enumerate(uris):
        size_bytes += known[uri].size_bytes if uri in known else 0
        if number and size_bytes > most_bytes:
            return
        yield uri


def _known(connection: sa.Connection, source: str, uris: Sequence[str]) -> dict[str, KeptLook]:
    found: dict[str, KeptLook] = {}
    for some in slices(uris):
        rows = connection.execute(_AT_URIS, {"in_source": source, "uris": some})
        found |= {row.uri: KeptLook(*row) for row in rows}
    return found


def _looks(given: Sequence[Keep], digests: Sequence[str | None], known: Known, now: float) -> list[KeptLook]:
    pairs = zip(given, digests, strict=True)
    looks = [_look(one, digest, known.get(one.uri), now) for one, digest in pairs]
    return [look for look in looks if look is not None]


def _new_bodies(looks: Sequence[KeptLook], known: Known) -> set[str]:
    """Digests of bodies that their documents did not have before."""
    had = {look.uri: look.digest for look in known.values()}
    return {look.digest for look in looks if look.digest is not None and had.get(look.uri) != look.digest}


def _look(given: Keep, digest: str | None, before: KeptLook | None, now: float) -> KeptLook | None:
    """What a document is now; the very look before where nothing changes. None: it is and was not there."""
    if given.body is None or digest is None:
        if before is None or before.digest is None:
            return before
        return KeptLook(given.uri, None, None, None, now, now, given.notes, 0)
    same = before is not None and (digest, given.media_type, given.title) == (
        before.digest,
        before.media_type,
        before.title,
    )
    if same and before is not None:
        return before if given.notes == before.notes else replace(before, notes=given.notes)
    at = _plausible(given.changed_at, before, now)
    return KeptLook(given.uri, digest, given.media_type, given.title, at, now, given.notes, len(given.body))


def _plausible(says: float | None, before: KeptLook | None, now: float) -> float:
    """When it changed: what its giver says, if that is lately, and since it was given the last time."""
    last = now - PLAUSIBLE_S if before is None else max(before.received_at, now - PLAUSIBLE_S)
    return says if says is not None and last <= says <= now else now


def _row(source: str, look: KeptLook) -> dict[str, Any]:
    return {
        "source": source,
        "uri": look.uri,
        "digest": look.digest,
        "media_type": look.media_type,
        "title": look.title,
        "changed_at": look.changed_at,
        "received_at": look.received_at,
        "notes": dict(look.notes),
    }


@functools.cache
def _keep_body(dialect: str) -> sa.Insert:
    insert = inserting(dialect, bodies)
    return insert.on_conflict_do_update(index_elements=["digest"], set_={"kept_at": insert.excluded.kept_at})


@functools.cache
def _keep_look(dialect: str) -> sa.Insert:
    insert = inserting(dialect, kept)
    new = insert.excluded
    names = ("digest", "media_type", "title", "changed_at", "received_at", "notes")
    return insert.on_conflict_do_update(
        index_elements=["source", "uri"], set_={name: new[name] for name in names}
    )
