"""Documents that are not there: retired on evidence, held where the evidence must be approved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.ledger.entries import ENTRY, Entries, as_entries
from ingestion.ledger.punctuality import Finished, note
from ingestion.ledger.sql import advance, among, live_edition, record_attempts, slices
from ingestion.ledger.tables import chunks, documents, is_marked
from ingestion.ledger.tombstones import event, prune, retire
from ingestion.ledger.values import Entry
from ingestion.objectives import Kind
from ingestion.records import Standing

# Whoever was observed after the look that missed it is there.
_NOT_SEEN_SINCE = (
    documents.c.id.in_(among("ids")),
    documents.c.observed < sa.bindparam("observed_before"),
)
_RETIRABLE = sa.select(documents.c.id).where(*_NOT_SEEN_SINCE, documents.c.standing != Standing.RETIRED)
_HOLDABLE = sa.select(documents.c.id).where(*_NOT_SEEN_SINCE, documents.c.standing == Standing.PRESENT)
_HOLD = (
    sa.update(documents)
    .where(documents.c.id.in_(among("ids")))
    .values(standing=Standing.HELD, reason=sa.bindparam("why"), observed=sa.bindparam("generation"))
)
_HELD = sa.select(*ENTRY, documents.c.reason).where(
    documents.c.source == sa.bindparam("in_source"), documents.c.standing == Standing.HELD
)
_SHOWN = sa.select(documents.c.id, documents.c.reason).where(
    documents.c.source == sa.bindparam("in_source"),
    documents.c.standing == Standing.HELD,
    documents.c.observed <= sa.bindparam("shown"),
)
_HELD_LOST = (
    sa.select(sa.func.count(sa.distinct(chunks.c.document_id)))
    .select_from(chunks.join(documents))
    .where(
        chunks.c.edition_id == live_edition,
        chunks.c.born.is_not(None),
        chunks.c.died.is_(None),
        is_marked,
        documents.c.source == sa.bindparam("in_source"),
        documents.c.standing == Standing.HELD,
    )
)
_NEVER = 2**62  # above every generation


class Absences(Entries):
    """The part of the ledger's book of documents that judges nothing, and ends or holds what was judged."""

    def retire(
        self,
        evidence: Mapping[int, str],
        *,
        observed_before: int | None = None,
        noticed: tuple[str, float] | None = None,
    ) -> list[int]:
        """Tombstones: instant, in every edition. Returns the documents that were retired.

        ``observed_before``: a generation; documents observed at or after it are left alone, because
        somebody saw them after the look that missed them. ``noticed``: their source, and since when that
        was known to have lost something, which counts against its objective.
        """
        if not evidence:
            return []
        with self._database.write() as connection:
            retired = _among(connection, _RETIRABLE, evidence, observed_before)
            if retired:
                now = self._database.now(connection, self._clock)
                retire(connection, {key: evidence[key] for key in retired}, now, unasked=True)
                if noticed is not None:
                    source, since = noticed
                    one = Finished(source, Kind.DELETION, max(0.0, now - since))
                    note(connection, [one] * len(retired), now)
        return retired

    def hold(self, document_ids: Sequence[int], reason: str, *, observed_before: int | None = None) -> int:
        """Absences that need approval: the documents stay served. Returns how many are newly held."""
        if not document_ids:
            return 0
        with self._database.write() as connection:
            now = self._database.now(connection, self._clock)
            held = _among(connection, _HOLDABLE, document_ids, observed_before)
            if held:
                generation = advance(connection, "generation")
                for some in slices(held):
                    connection.execute(_HOLD, {"ids": some, "why": reason, "generation": generation})
                record_attempts(
                    connection, [event(key, generation, "held", now, reason, now) for key in held]
                )
        return len(held)

    def held(self, source: str) -> tuple[list[Entry], dict[int, str], int]:
        """The held documents, why each is, and the number that names this very set for ``approve``."""
        with self._database.read() as connection:
            rows = connection.execute(_HELD.order_by(documents.c.uri), {"in_source": source}).all()
        shown = max((row.observed for row in rows), default=0)
        return as_entries(row[:-1] for row in rows), {row.id: row.reason for row in rows}, shown

    def count_held_lost(self, source: str) -> int:
        """Held documents of which the index lacks something: there is no file to make it again from."""
        with self._database.read() as connection:
            return int(connection.execute(_HELD_LOST, {"in_source": source}).scalar_one())

    def approve(self, source: str, shown: int) -> list[int]:
        """Retire what was held when ``held`` returned ``shown``; documents held later stay held."""
        with self._database.write() as connection:
            rows = connection.execute(_SHOWN, {"in_source": source, "shown": shown}).all()
            approved = {row.id: f"approved: {row.reason}" for row in rows}
            if approved:
                now = self._database.now(connection, self._clock)
                retire(connection, approved, now, unasked=False)
        return list(approved)

    def prune(self, retired_before: float, *, at_most: int = 1000) -> int:
        """Forget tombstones from before a moment whose chunks are swept; returns how many."""
        with self._database.write() as connection:
            return prune(connection, retired_before, at_most)


def _among(
    connection: sa.Connection, query: sa.Select[Any], ids: Iterable[int], observed_before: int | None
) -> list[int]:
    before = _NEVER if observed_before is None else observed_before
    found: list[int] = []
    for some in slices(list(ids)):
        found += connection.execute(query, {"ids": some, "observed_before": before}).scalars()
    return found
