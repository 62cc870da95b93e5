"""How many changes and deletions of each source were finished, in which time, and how many of them in time.

Written by the transaction that finishes them, so that a crash loses none and counts none twice. Two spans:
minutes, by size of the time taken, for what is said of the last hour; days, for the error budget. The rows
are as many as the sources and the spans that are kept, however many documents change.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.ledger.sql import among, inserting
from ingestion.ledger.tables import punctuality, sources
from ingestion.objectives import LATELY_S, Kept, Kind, Objective, Pace, size_of

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
MINUTES_KEPT_S = 2 * HOUR_S
DAYS_KEPT_S = 92 * DAY_S  # an objective's window is 90 days at most, and begins within one
ANY_SIZE = 0  # of a day's row

OBJECTIVE = (
    sources.c.share,
    sources.c.within_s,
    sources.c.deletions_within_s,
    sources.c.over_days,
)
_OBJECTIVES = sa.select(sources.c.name, *OBJECTIVE).where(sources.c.name.in_(among("names")))
_number = punctuality.c.met + punctuality.c.missed


def _sum_of(*conditions: Any) -> Any:
    return sa.func.sum(sa.case((sa.and_(*conditions), _number), else_=0))


_judged = punctuality.c.kind.in_((Kind.CHANGE, Kind.BULK_CHANGE, Kind.DELETION))
_lately = punctuality.c.since >= sa.bindparam("lately")
_OF_PACE = (
    (Kind.CHANGE,),
    (Kind.CHANGE, Kind.UNJUDGED),
    (Kind.BULK_CHANGE, Kind.BULK_UNJUDGED),
)
_PACES = (
    sa.select(
        punctuality.c.source,
        _sum_of(_judged),
        *(_sum_of(_lately, punctuality.c.kind.in_(kinds)) for kinds in _OF_PACE),
    )
    .where(punctuality.c.span_s == MINUTE_S, punctuality.c.since >= sa.bindparam("begin"))
    .group_by(punctuality.c.source)
)
_KEPT = (
    sa.select(punctuality.c.source, sa.func.sum(punctuality.c.met), sa.func.sum(punctuality.c.missed))
    .join(sources, sources.c.name == punctuality.c.source)
    .where(
        punctuality.c.span_s == DAY_S,
        _judged,
        # The day in which the window begins counts whole: a window of one day is never empty at midnight.
        punctuality.c.since > sa.bindparam("now") - DAY_S * (sources.c.over_days + 1),
    )
    .group_by(punctuality.c.source)
)
_SIZES = (
    sa.select(punctuality.c.source, punctuality.c.kind, punctuality.c.took, sa.func.sum(_number))
    .where(punctuality.c.span_s == MINUTE_S, punctuality.c.since >= sa.bindparam("begin"), _judged)
    .group_by(punctuality.c.source, punctuality.c.kind, punctuality.c.took)
)
_FORGET = sa.delete(punctuality).where(
    punctuality.c.span_s == sa.bindparam("of_span"), punctuality.c.since < sa.bindparam("before")
)


@dataclass(frozen=True, slots=True)
class Finished:
    """One document came to where it was to be. ``seconds`` since its source changed."""

    source: str
    kind: Kind
    seconds: float


class Punctuality:
    """Reads, and forgets what no window reaches any more."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def paces(self) -> dict[str, Pace]:
        """By source; one of which nothing was finished lately is left out."""
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            lately = _begin(MINUTE_S, now - LATELY_S)
            rows = connection.execute(_PACES, {"begin": _begin(MINUTE_S, now - HOUR_S), "lately": lately})
            return {
                source: Pace(int(hour), int(changes), int(fresh), int(bulk), max(now - lately, 1.0))
                for source, hour, changes, fresh, bulk in rows
            }

    def kept(self) -> dict[str, Kept]:
        """By source; one of which nothing was finished is left out."""
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            rows = connection.execute(_KEPT, {"now": now})
            return {source: Kept(int(met), int(missed)) for source, met, missed in rows}

    def last_hour(self) -> dict[tuple[str, Kind], dict[int, int]]:
        """Numbers by size of the time they took, for each source and kind."""
        found: dict[tuple[str, Kind], dict[int, int]] = {}
        with self._database.read() as connection:
            now = self._database.now(connection, self._clock)
            rows = connection.execute(_SIZES, {"begin": _begin(MINUTE_S, now - HOUR_S)})
            for source, kind, took, number in rows:
                judged_as = Kind.CHANGE if kind == Kind.BULK_CHANGE else Kind(kind)
                sizes = found.setdefault((source, judged_as), {})
                sizes[took] = sizes.get(took, 0) + int(number)
        return found

    def forget(self) -> None:
        """Remove what no window reaches any more."""
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            for span_s, kept_s in ((MINUTE_S, MINUTES_KEPT_S), (DAY_S, DAYS_KEPT_S)):
                connection.execute(_FORGET, {"of_span": span_s, "before": now - kept_s})


def note(connection: sa.Connection, finished: Sequence[Finished], now: float) -> None:
    """Count what this transaction finishes."""
    if not finished:
        return
    names = {one.source for one in finished}
    objectives = {
        name: Objective(*promised)
        for name, *promised in connection.execute(_OBJECTIVES, {"names": sorted(names)})
    }
    rows: dict[tuple[int, int, str, str, int], list[int]] = {}
    for one, number in Counter(finished).items():  # a first index is many of the same
        is_met = objectives.get(one.source, Objective()).is_met(one.kind, one.seconds)
        for span_s, took in ((MINUTE_S, size_of(one.seconds)), (DAY_S, ANY_SIZE)):
            row = rows.setdefault((span_s, _begin(span_s, now), one.source, one.kind.value, took), [0, 0])
            row[0 if is_met else 1] += number
    connection.execute(_adding(connection.dialect.name), list(_as_rows(rows.items())))


def _as_rows(counted: Iterable[tuple[tuple[int, int, str, str, int], list[int]]]) -> Iterable[dict[str, Any]]:
    for (span_s, since, source, kind, took), (met, missed) in counted:
        yield {
            "span_s": span_s,
            "since": since,
            "source": source,
            "kind": kind,
            "took": took,
            "met": met,
            "missed": missed,
        }


def _begin(span_s: int, at: float) -> int:
    """The start of the span that a moment lies in."""
    return int(at // span_s) * span_s


@functools.cache
def _adding(dialect: str) -> sa.Executable:
    insert = inserting(dialect, punctuality)
    return insert.on_conflict_do_update(
        index_elements=["span_s", "since", "source", "kind", "took"],
        set_={
            "met": punctuality.c.met + insert.excluded.met,
            "missed": punctuality.c.missed + insert.excluded.missed,
        },
    )
