"""Editions: a second one is built beside the live one, one row switches, the old one is kept for a while.

The state machine of an edition::

    (none) ── the first start ──▶ LIVE
    (none) ── start ──▶ BUILDING ── switch ──▶ LIVE ── switch, back ──▶ RETIRING ── expire, start ──▶ RETIRED
                        BUILDING ── cancel ──▶ RETIRED            RETIRING ── back ──▶ LIVE
                                                         RETIRED, its chunks and publications removed

At most one is building, one live, one retiring; all three are *fed*. A retired one's row stays, so that no
name and no id comes back. Each arrow is one transaction that first takes the tick's row lock, as publishing
does; so no revision is published while one is decided.

What happens at once with them:

- *Edits.* ``want`` makes a document pending in every fed edition, the live one in the lane that was asked
  for, any other in the bulk lane. ``fill`` adds what was there before the edition; a crash in between is
  seen by ``backlog`` counting what lacks, not by a mark.
- *Documents.* Their columns speak of the live edition alone: only its publish notes the look and ends
  ``pending_since``, only its dead letters may be dropped. Lags, ``behind`` and ``unfinished`` count its
  publications alone. A building edition neither keeps a change waiting nor ends its wait.
- *Deletions, skips, renames* act on every edition at one tick and void every token.
- *Two readings of one generation.* Both editions read the source after their claims, so one may have read
  a change that nobody has observed. The live edition's reading is what the documents' look speaks of; so a
  publication of another edition with another digest for the same generation is read again.
- *The switch* needs that no document lacks: each that the live edition shows is published as new in the
  other, of the same digest for the same generation, and not marked for repair; and that the other knows
  every document, those too of which nothing is shown yet. So no answer goes back in time, and no document
  vanishes. A change that waits in both waits on. What the old edition had not settled is read again by the
  new one, in the fresh lane. So a new edition that is ahead of a waiting live one is no hindrance: an edit
  that the live one cannot publish, because its index is lost, keeps nobody from leaving it.
- *A search* that took its horizon before the switch reads the old edition to its end: nothing is removed
  from a retired edition before the longest search is over.
- *Workers* that do not know of the end of an edition claim, stage and publish nothing more in it: each of
  these looks at the edition's row. ``claim`` compares the model's fingerprint, too.
- *Going back* is the same switch, with the same condition: the old edition has been fed all the while.

Nothing here embeds, or talks to an index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.errors import Misconfigured
from ingestion.ledger import edition_rows as rows
from ingestion.ledger.sql import advance
from ingestion.ledger.tables import editions
from ingestion.ledger.values import Building, Edition, EditionState, EditionView, Gate

KEEP_S = 24 * 3600.0  # how long the edition before is fed after a switch, if nobody says otherwise
FILLED_AT_ONCE = 1000  # documents a transaction
REMOVED_AT_ONCE = 500  # rows a transaction


@dataclass(frozen=True, slots=True)
class NewEdition:
    """What a second edition is to be made with."""

    fingerprint: str
    dimensions: int
    description: str
    model: Mapping[str, Any]
    gate: Gate | None = None
    accept_failed: bool = False
    keep_s: float = KEEP_S


class Editions:
    """The ledger's book of editions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def fed(self) -> list[EditionView]:
        """Those that receive edits and tombstones, the live one first."""
        with self._database.read() as connection:
            found = rows.views(connection, editions.c.state != EditionState.RETIRED, self._now(connection))
        return sorted(found, key=lambda one: one.state is not EditionState.LIVE)

    def in_state(self, state: EditionState) -> EditionView | None:
        """The one in this state (for RETIRED, which has many, use ``ended``)."""
        return next((one for one in self.fed() if one.state is state), None)

    def start(self, new: NewEdition) -> EditionView:
        """Begin to build. What is kept for going back is given up. Raises Misconfigured while one is
        being built."""
        with self._database.write() as connection:
            advance(connection, "tick")
            now = self._now(connection)
            building = rows.in_state(connection, EditionState.BUILDING, now)
            if building is not None:
                raise Misconfigured(
                    f"An edition is being built already, with {building.edition.description}.",
                    hint="See how far it is: headwater rebuild --status. End it: headwater rebuild --cancel",
                )
            rows.move(connection, EditionState.RETIRING, EditionState.RETIRED, now)
            rows.insert(connection, new, now)
            made = rows.in_state(connection, EditionState.BUILDING, now)
        assert made is not None
        return made

    def fill(self, edition: Edition) -> int:
        """Make pending what is there and not known in a fed edition, or not as new as in the live one.

        Short transactions; repeatable. Returns how many documents that were.
        """
        after, filled = 0, 0
        while True:
            with self._database.write() as connection:
                after, number = rows.fill(connection, edition.edition_id, after, FILLED_AT_ONCE)
            filled += number
            if not after:
                break
        with self._database.write() as connection:
            return filled + rows.catch_up(connection, edition.edition_id)

    def backlog(self, view: EditionView) -> Building:
        """How far a building or retiring edition is. For reports: it counts all documents."""
        with self._database.read() as connection:
            return rows.backlog(connection, view.edition.edition_id, view.accept_failed)

    def lacks(self, view: EditionView) -> bool:
        """Whether something keeps searches from going to it: a document that lacks, or is unknown there."""
        with self._database.read() as connection:
            return rows.lacks(connection, view.edition.edition_id, view.accept_failed)

    def is_nearly_done(self, view: EditionView, few: int) -> bool:
        """Whether at most so many documents wait or lack in it."""
        with self._database.read() as connection:
            found = rows.behind(connection, view.edition.edition_id, view.accept_failed, few + 1)
        return found <= few

    def pause(self, edition: Edition, fault: str | None = None) -> None:
        """Build no more until ``resume``; edits are noted meanwhile. ``fault``: why, if nobody asked."""
        with self._database.write() as connection:
            advance(connection, "tick")
            rows.stop_work(connection, edition.edition_id, self._now(connection), fault)

    def resume(self, edition: Edition, gate: Gate | None = None, *, accept_failed: bool = False) -> None:
        """Go on building. A gate given here takes the place of the one before."""
        with self._database.write() as connection:
            advance(connection, "tick")
            rows.begin_work(connection, edition.edition_id, self._now(connection), gate, accept_failed)

    def note_fault(self, edition: Edition, fault: str | None) -> None:
        """Why it does not go on just now; None: it does. Writes only where that is news, and nothing over
        what a pause waits for."""
        known = next((one for one in self.fed() if one.edition == edition), None)
        if known is not None and not known.paused and known.fault != fault:
            with self._database.write() as connection:
                rows.note_fault(connection, edition.edition_id, fault)

    def cancel(self) -> Edition | None:
        """Give up the edition that is being built; returns it."""
        return self._retire(EditionState.BUILDING)

    def expire(self) -> Edition | None:
        """Retire the one that was kept for going back, once its time is over; returns it."""
        with self._database.read() as connection:
            now = self._now(connection)
            kept = rows.in_state(connection, EditionState.RETIRING, now)
        if kept is None or kept.kept_until is None or kept.kept_until > now:
            return None
        return self._retire(EditionState.RETIRING)

    def switch(self, view: EditionView) -> bool:
        """Let searches go to this edition, the building or the retiring one, from the next on.

        False where a document lacks in it, or is unknown to it, or it is not in that state, or paused, any
        more: nothing was changed then. One transaction.
        """
        with self._database.read() as connection:  # the usual answer takes no write lock
            if rows.lacks(connection, view.edition.edition_id, view.accept_failed):
                return False
        with self._database.write() as connection:
            advance(connection, "tick")
            now = self._now(connection)
            found = rows.in_state(connection, view.state, now)
            if found is None or found.edition != view.edition or found.paused:
                return False
            if rows.lacks(connection, view.edition.edition_id, found.accept_failed):
                return False
            rows.switch(connection, found, now)
        return True

    def ended(self, before: float) -> list[Edition]:
        """Retired before then, and not removed yet."""
        with self._database.read() as connection:
            condition = sa.and_(
                editions.c.state == EditionState.RETIRED,
                editions.c.removed_at.is_(None),
                editions.c.since < before,
            )
            return [view.edition for view in rows.views(connection, condition, self._now(connection))]

    def remove(self, edition: Edition) -> None:
        """Remove a retired edition's chunks and publications, after the index has dropped it.

        Short transactions: edits pass between them. Repeatable; its row stays.
        """
        while True:
            with self._database.write() as connection:
                if not rows.remove_some(connection, edition.edition_id, REMOVED_AT_ONCE):
                    break
        with self._database.read() as connection:
            now = self._now(connection)
        self._set(edition, removed_at=now)

    def _retire(self, state: EditionState) -> Edition | None:
        with self._database.write() as connection:
            advance(connection, "tick")
            now = self._now(connection)
            view = rows.in_state(connection, state, now)
            if view is None:
                return None
            rows.move(connection, state, EditionState.RETIRED, now)
        return view.edition

    def _now(self, connection: sa.Connection) -> float:
        return self._database.now(connection, self._clock)

    def _set(self, edition: Edition, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.update(editions).where(editions.c.id == edition.edition_id).values(**values)
            )
