"""The statements of ``ingestion.ledger.editions``, each within the caller's transaction."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion.ledger.sql import configured, inserting, live_edition
from ingestion.ledger.tables import chunks, documents, editions, is_pending, publications
from ingestion.ledger.values import Building, Edition, EditionState, EditionView, Gate
from ingestion.records import Lane, PublicationState, Standing

if TYPE_CHECKING:
    from ingestion.ledger.editions import NewEdition

SWITCHING = "switching"  # within one transaction: one of each state, at every moment

_there = documents.c.standing.in_((Standing.PRESENT, Standing.HELD))
_lives = publications.alias("live_publications")
_theirs = sa.and_(
    publications.c.document_id == documents.c.id, publications.c.edition_id == sa.bindparam("edition")
)
_COUNTED = (
    sa.select(
        sa.func.count(documents.c.id).label("total"),
        sa.func.sum(sa.case((publications.c.state == PublicationState.LIVE, 1), else_=0)).label("done"),
        sa.func.sum(sa.case((publications.c.state == PublicationState.FAILED, 1), else_=0)).label("failed"),
        sa.func.sum(sa.case((publications.c.document_id.is_(None), 1), else_=0)).label("unknown"),
    )
    .select_from(documents.outerjoin(publications, _theirs))
    .where(_there, configured)
)
_older = sa.or_(
    publications.c.live_generation.is_(None), publications.c.live_generation < _lives.c.live_generation
)
_other_reading = sa.and_(
    publications.c.live_generation == _lives.c.live_generation,
    publications.c.digest.is_distinct_from(_lives.c.digest),
)
_marked = publications.c.repair.is_(sa.true())  # the index lacks something of it
# The live attempt that is under way may show a change that this one read too early to see. One that only
# waits is not waited for: the switch has it read again, and where its index is lost it would wait for ever.
_ahead = sa.and_(
    publications.c.live_generation > _lives.c.live_generation,
    _lives.c.state == PublicationState.PENDING,
    _lives.c.lease_until.is_not(None),
)
_LACKING = (
    sa.select(documents.c.id)
    .select_from(
        _lives.join(documents, documents.c.id == _lives.c.document_id).outerjoin(publications, _theirs)
    )
    .where(
        _lives.c.edition_id == live_edition,
        _lives.c.live_generation.is_not(None),
        _there,
        configured,
        sa.or_(_older, _other_reading, _ahead, _marked),
    )
)
_LACKING_UNFAILED = _LACKING.where(publications.c.state.is_distinct_from(PublicationState.FAILED.value))
_WAITING = (
    sa.select(documents.c.id)
    .select_from(documents.outerjoin(publications, _theirs))
    .where(
        _there,
        configured,
        sa.or_(
            publications.c.document_id.is_(None),
            publications.c.state.not_in((PublicationState.LIVE, PublicationState.FAILED)),
        ),
    )
)
_UNKNOWN = _WAITING.where(publications.c.document_id.is_(None))
_NEXT = (
    sa.select(documents.c.id)
    .where(documents.c.id > sa.bindparam("after"), _there)
    .order_by(documents.c.id)
    .limit(sa.bindparam("at_most"))
)
_CATCH_UP = (
    sa.update(publications)
    .where(
        publications.c.edition_id == sa.bindparam("edition"),
        publications.c.state == PublicationState.LIVE,
        sa.exists().where(
            _lives.c.document_id == publications.c.document_id,
            _lives.c.edition_id == live_edition,
            sa.or_(_older, _other_reading),
        ),
    )
    .values(state=PublicationState.PENDING, lane=Lane.BULK, sent_at=0.0, not_before=0.0)
)
_of = publications.c.edition_id == sa.bindparam("edition")
# Live and settled are different things in the old edition and in the new one: read it again.
_SETTLE = (
    sa.update(publications)
    .where(
        _of,
        publications.c.state == PublicationState.LIVE,
        publications.c.document_id.in_(
            sa.select(documents.c.id).where(documents.c.pending_since.is_not(None))
        ),
    )
    .values(state=PublicationState.PENDING, lane=Lane.FRESH, sent_at=0.0, not_before=0.0)
)
_HURRY = (
    sa.update(publications)
    .where(
        _of,
        is_pending,
        publications.c.document_id.in_(
            sa.select(_lives.c.document_id).where(
                _lives.c.edition_id == sa.bindparam("old"),
                _lives.c.state == PublicationState.PENDING,
                _lives.c.lane == Lane.FRESH,
            )
        ),
    )
    .values(lane=Lane.FRESH, sent_at=0.0)
)
_FROM_NOW_ON_BULK = (
    sa.update(publications)
    .where(publications.c.edition_id == sa.bindparam("old"), is_pending)
    .values(lane=Lane.BULK, sent_at=0.0)
)


def views(connection: sa.Connection, condition: sa.ColumnElement[bool], now: float) -> list[EditionView]:
    query = sa.select(editions).where(condition).order_by(editions.c.id)
    return [_view(row, now) for row in connection.execute(query)]


def in_state(connection: sa.Connection, state: EditionState, now: float) -> EditionView | None:
    return next(iter(views(connection, editions.c.state == state, now)), None)


def insert(connection: sa.Connection, new: NewEdition, now: float) -> None:
    """A building edition, under a name that none ever had."""
    name = stem = f"e{new.fingerprint[:12]}"
    taken = set(connection.execute(sa.select(editions.c.name)).scalars())
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    values = {
        "name": name,
        "fingerprint": new.fingerprint,
        "description": new.description,
        "dimensions": new.dimensions,
        "state": EditionState.BUILDING,
        "created_at": now,
        "model": dict(new.model),
        "since": now,
        "keep_s": new.keep_s,
        "working_since": now,
        "gate": _kept(new.gate),
        "accept_failed": new.accept_failed,
    }
    connection.execute(sa.insert(editions).values(values))


def move(connection: sa.Connection, state: EditionState, to: EditionState, now: float) -> None:
    connection.execute(
        sa.update(editions)
        .where(editions.c.state == state)
        .values(state=to, since=now, kept_until=None, working_since=None)
    )


def stop_work(connection: sa.Connection, edition_id: int, now: float, fault: str | None) -> None:
    worked = sa.case(
        (editions.c.working_since.is_(None), editions.c.worked_s),
        else_=editions.c.worked_s + now - editions.c.working_since,
    )
    connection.execute(
        _building(edition_id).values(paused=True, worked_s=worked, working_since=None, fault=fault)
    )


def note_fault(connection: sa.Connection, edition_id: int, fault: str | None) -> None:
    connection.execute(_one(edition_id).where(editions.c.paused.is_(sa.false())).values(fault=fault))


def begin_work(
    connection: sa.Connection, edition_id: int, now: float, gate: Gate | None, accept_failed: bool
) -> None:
    values: dict[str, object] = {
        "paused": False,
        "working_since": sa.func.coalesce(editions.c.working_since, now),
        "fault": None,
    }
    if gate is not None:
        values["gate"] = _kept(gate)
    if accept_failed:
        values["accept_failed"] = True
    connection.execute(_building(edition_id).values(values))


def fill(connection: sa.Connection, edition_id: int, after: int, at_most: int) -> tuple[int, int]:
    """The next documents by id; returns the last of them, 0 at the end, and how many were added."""
    found = list(connection.execute(_NEXT, {"after": after, "at_most": at_most}).scalars())
    if not found:
        return 0, 0
    values = {"edition": edition_id, "first": found[0], "last": found[-1]}
    added = connection.execute(_fill(connection.dialect.name), values).all()
    return (found[-1] if len(found) == at_most else 0), len(added)


def catch_up(connection: sa.Connection, edition_id: int) -> int:
    return connection.execute(_CATCH_UP, {"edition": edition_id}).rowcount


def backlog(connection: sa.Connection, edition_id: int, accept_failed: bool) -> Building:
    total, done, failed, unknown = connection.execute(_COUNTED, {"edition": edition_id}).one()
    lacking = _number(connection, _lacking(accept_failed), edition_id)
    return Building(int(total), int(done or 0), int(failed or 0), lacking, int(unknown or 0))


def lacks(connection: sa.Connection, edition_id: int, accept_failed: bool) -> bool:
    """Whether any document lacks, or is unknown: while many are, the first one is soon found."""
    return any(_number(connection, one.limit(1), edition_id) for one in (_lacking(accept_failed), _UNKNOWN))


def behind(connection: sa.Connection, edition_id: int, accept_failed: bool, at_most: int) -> int:
    """Documents that wait or lack, each kind counted up to that number."""
    queries = (_WAITING, _lacking(accept_failed))
    return sum(_number(connection, one.limit(at_most), edition_id) for one in queries)


def switch(connection: sa.Connection, target: EditionView, now: float) -> None:
    """The one row, and what follows from it. Nothing else may be live in between, so it takes three steps."""
    old = in_state(connection, EditionState.LIVE, now)
    assert old is not None
    if target.state is EditionState.BUILDING:
        move(connection, EditionState.RETIRING, EditionState.RETIRED, now)
    connection.execute(_one(old.edition.edition_id).values(state=SWITCHING))
    connection.execute(
        _one(target.edition.edition_id).values(
            state=EditionState.LIVE, since=now, kept_until=None, working_since=None, fault=None, gate=None
        )
    )
    connection.execute(
        _one(old.edition.edition_id).values(
            state=EditionState.RETIRING, since=now, keep_s=target.keep_s, kept_until=now + target.keep_s
        )
    )
    values = {"edition": target.edition.edition_id, "old": old.edition.edition_id}
    connection.execute(_SETTLE, {"edition": values["edition"]})
    connection.execute(_HURRY, values)
    connection.execute(_FROM_NOW_ON_BULK, {"old": values["old"]})


def remove_some(connection: sa.Connection, edition_id: int, at_most: int) -> bool:
    """Remove some of a retired edition's rows; False when there were none."""
    retired = sa.exists().where(editions.c.id == edition_id, editions.c.state == EditionState.RETIRED)
    some = sa.select(chunks.c.id).where(chunks.c.edition_id == edition_id, retired).limit(at_most)
    if connection.execute(sa.delete(chunks).where(chunks.c.id.in_(some))).rowcount:
        return True
    documents_of = (
        sa.select(publications.c.document_id)
        .where(publications.c.edition_id == edition_id, retired)
        .limit(at_most)
    )
    removed = connection.execute(
        sa.delete(publications).where(
            publications.c.edition_id == edition_id, publications.c.document_id.in_(documents_of)
        )
    )
    return removed.rowcount > 0


def as_edition(row: Any) -> Edition:
    return Edition(row.id, row.name, row.fingerprint, row.dimensions, row.description)


def _lacking(accept_failed: bool) -> sa.Select[Any]:
    return _LACKING_UNFAILED if accept_failed else _LACKING


def _number(connection: sa.Connection, query: sa.Select[Any], edition_id: int) -> int:
    counted = sa.select(sa.func.count()).select_from(query.subquery())
    return int(connection.execute(counted, {"edition": edition_id}).scalar_one())


def _one(edition_id: int) -> sa.Update:
    return sa.update(editions).where(editions.c.id == edition_id)


def _building(edition_id: int) -> sa.Update:
    return _one(edition_id).where(editions.c.state == EditionState.BUILDING)


@functools.cache
def _fill(dialect: str) -> sa.Executable:
    added = sa.select(
        documents.c.id,
        sa.bindparam("edition", type_=sa.BigInteger),
        sa.literal(PublicationState.PENDING.value),
        sa.literal(Lane.BULK.value),
        sa.literal(0.0),
    ).where(
        documents.c.id.between(sa.bindparam("first"), sa.bindparam("last")),
        _there,
        sa.exists().where(editions.c.id == sa.bindparam("edition"), editions.c.state != EditionState.RETIRED),
    )
    columns = ["document_id", "edition_id", "state", "lane", "sent_at"]
    return (
        inserting(dialect, publications)
        .from_select(columns, added)
        .on_conflict_do_nothing(index_elements=["document_id", "edition_id"])
        .returning(publications.c.document_id)
    )


def _view(row: Any, now: float) -> EditionView:
    working = 0.0 if row.working_since is None else max(0.0, now - row.working_since)
    return EditionView(
        edition=as_edition(row),
        state=EditionState(row.state),
        model=row.model,
        created_at=row.created_at,
        since=row.created_at if row.since is None else row.since,
        keep_s=row.keep_s,
        kept_until=row.kept_until,
        paused=row.paused,
        working_s=row.worked_s + working,
        fault=row.fault,
        gate=_gate(row.gate),
        accept_failed=row.accept_failed,
    )


def _kept(gate: Gate | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    questions = [[question, list(expected)] for question, expected in gate.questions]
    return {"min_recall": gate.min_recall, "questions": questions}


def _gate(kept: Any) -> Gate | None:
    if kept is None:
        return None
    return Gate(kept["min_recall"], [(question, tuple(expected)) for question, expected in kept["questions"]])
