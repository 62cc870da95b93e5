"""Work on the editions beside the live one: fed in the bulk lane, after it, and switched when nothing lacks.

A building edition yields: it is sent work only while no bulk work of the live one waits, and a batch under
way is handed back when some comes. It does not wait for what cannot be done: a live edition that the index
has lost is not made again here, as empty answers are worse than none; the build is a way out. Its batches
are small, so that a thread is free again soon. Once nearly all is built, edits are followed at once: what a
fresh message published in the live edition is published here right after it. Otherwise it would always be a
few edits behind, and never be switched.

``step`` is called every other second, by any number of processes: each thing it does is a condition and a
transaction in the ledger, so that twice does no harm and a crash in between leaves something to go on from.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingestion.clock import Clock
from ingestion.errors import EditionMissing, HeadwaterError, IndexUnavailable, Interrupted
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition, EditionState, EditionView
from ingestion.records import Lane
from retrieval.index.port import Index
from retrieval.recall import recall
from workers.dispatch import Dispatcher
from workers.equipment import Equipment, Equipped
from workers.outcomes import Listener, Outcome, Result
from workers.refresh import Refresher
from workers.wholeness import mark_missing

log = logging.getLogger("headwater.editions")

NEARLY = 64  # documents that wait: from here on edits are followed at once
YIELD_EVERY_S = 1.0
JUDGE_EVERY_S = 2.0
SWITCH_EVERY_S = 0.2  # a look at all documents costs some milliseconds
PASSED_FOR_S = 300.0  # the gate asks many questions, and the index is counted through

MakeRefresher = Callable[[Equipped], Refresher]


class Builder:
    """Feeds and switches editions. Safe to call from several threads."""

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        equipment: Equipment,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._equipment = equipment
        self._equipment.builds = True
        self._dispatcher = dispatcher
        self._clock = clock
        self._follows = False
        self._judged_at = -JUDGE_EVERY_S
        self._yield_at = 0.0
        self._yields = False
        self._tried_at = -SWITCH_EVERY_S
        self._switching = threading.Lock()
        self._passed: dict[int, float] = {}  # edition -> when its gate last let it pass
        self._whole: dict[int, float] = {}  # edition -> when the index last held all of it

    def following(self) -> Equipped | None:
        """The edition in which edits are to be published at once, after the live one."""
        one = next((one for one in self._equipment.others if self._is_building(one.edition)), None)
        view = None if one is None else self._equipment.view(one.edition)
        if one is None or view is None:
            return None
        now = self._clock.monotonic()
        if now - self._judged_at >= JUDGE_EVERY_S:
            self._judged_at = now
            self._follows = self._ledger.editions.is_nearly_done(view, NEARLY)
        return one if self._follows else None

    def step(self) -> None:
        """Send work, switch when it is time, end what has outlived its time."""
        ended = self._ledger.editions.expire()
        if ended is not None:
            log.info("the edition %s is given up: nobody went back to it", ended.name)
        self._equipment.look()
        for one in self._equipment.others:
            view = self._equipment.view(one.edition)
            if view is not None and not view.paused and (one.ready() or not self._equipment.loads):
                self._feed(one, view)

    def went_on(self, edition: Edition) -> None:
        """A message about this edition was carried out: the next may follow.

        Where another process, without this model, has said that it does not go on, that is not so.
        """
        self._ledger.editions.note_fault(edition, None)
        if self._live_bulk_waits() or not self._goes_on(edition):
            return
        sent = self._dispatcher.dispatch_beside(edition)
        if not sent and not self._ledger.claims.has_due(edition, Lane.BULK):
            self.followed()

    def followed(self) -> None:
        """An edit was published in both editions: this may be the moment at which nothing lacks."""
        now = self._clock.monotonic()
        if now - self._tried_at >= SWITCH_EVERY_S:
            self._tried_at = now
            self.try_switch()

    def may_go_on(self, edition: Edition) -> None:
        """Raises Interrupted where a batch of this edition is to be handed back now."""
        if edition == self._equipment.live.edition:
            return
        now = self._clock.monotonic()
        if now >= self._yield_at:
            self._yield_at = now + YIELD_EVERY_S
            self._yields = self._live_bulk_waits() or not self._goes_on(edition)
        if self._yields:
            raise Interrupted("Other work goes first.")

    def try_switch(self) -> bool:
        """Switch to the building edition if nothing lacks in it and its gate lets it pass.

        One thread at a time: it may have to look through the whole edition first.
        """
        if not self._switching.acquire(blocking=False):
            return False
        try:
            return self._try_switch()
        finally:
            self._switching.release()

    def _try_switch(self) -> bool:
        view = self._ledger.editions.in_state(EditionState.BUILDING)
        one = None if view is None else self._equipment.of(view.edition.edition_id)
        if view is None or one is None or view.paused:
            return False
        if self._ledger.editions.lacks(view) or not self._is_whole(view.edition):
            return False
        if not self._passes(view, one):
            return False
        switched = self._ledger.editions.switch(view)
        if switched:
            log.warning(
                "searches go to the edition %s now (%s); the one before is kept for %.0f hours",
                view.edition.name,
                view.edition.description,
                view.keep_s / 3600,
            )
            self._equipment.look()
        return switched

    def _feed(self, one: Equipped, view: EditionView) -> None:
        self._make_again(one.edition)
        lacks = self._ledger.editions.lacks(view)
        if lacks and not self._ledger.claims.has_due(one.edition, Lane.BULK):
            self._ledger.editions.fill(one.edition)
        if not self._live_bulk_waits():
            self._dispatcher.dispatch_beside(one.edition)
        if view.state is EditionState.BUILDING and not lacks:
            self._let_switch(one, view)

    def _make_again(self, edition: Edition) -> None:
        """No search reads it: room for it may be made anew. What was in it is missed before a switch."""
        if self._holds(edition):
            return
        try:
            self._index.create(edition.name, edition.dimensions)
        except HeadwaterError as error:  # it is away by now, or the room is another ledger's
            log.debug("there is no room for the edition %s: %s", edition.name, error)
        else:
            log.warning("the index had lost the edition %s: it is made again", edition.name)

    def _let_switch(self, one: Equipped, view: EditionView) -> None:
        if view.gate is None or self._equipment.loads:
            self.try_switch()
        else:  # the gate asks questions of a model
            self._dispatcher.ask_to_switch(one.edition)

    def _is_whole(self, edition: Edition) -> bool:
        """Whether the index holds all of it; if not, that is made again, and lacks until then."""
        key, now = edition.edition_id, self._clock.monotonic()
        if now - self._whole.get(key, -PASSED_FOR_S) < PASSED_FOR_S:
            return True
        try:
            missing = mark_missing(self._ledger, self._index, edition)
        except HeadwaterError as error:
            log.warning("the edition %s could not be looked through: %s", edition.name, error)
            return False
        if not missing:
            self._whole[key] = now
        return not missing

    def _passes(self, view: EditionView, one: Equipped) -> bool:
        """Whether the gate lets it pass; if not, it waits for a person, with the reason."""
        gate, now = view.gate, self._clock.monotonic()
        passed_at = self._passed.get(view.edition.edition_id)
        if gate is not None and not one.ready():
            return False
        if gate is None or (passed_at is not None and now - passed_at < PASSED_FOR_S):
            return True
        try:
            found = recall(self._ledger, self._index, one.embed_query, view.edition, gate.questions)
        except HeadwaterError as error:
            log.warning("the edition %s could not be tried: %s", view.edition.name, error)
            return False
        if found >= gate.min_recall:
            self._passed[view.edition.edition_id] = now
            return True
        reason = (
            f"Its recall is {found:.3f}, below {gate.min_recall:g}: searches stay where they are. Look "
            "at the questions, then: headwater rebuild --resume, with another --min-recall; or --cancel"
        )
        log.warning("the edition %s is not switched to. %s", view.edition.name, reason)
        self._ledger.editions.pause(view.edition, reason)
        return False

    def _live_bulk_waits(self) -> bool:
        live = self._equipment.live.edition
        return self._ledger.claims.has_due(live, Lane.BULK) and self._holds(live)

    def _holds(self, edition: Edition) -> bool:
        """Whether the index has room for it; so, too, while the whole index is away."""
        try:
            self._index.count(edition.name)
        except IndexUnavailable as error:
            return not isinstance(error, EditionMissing)
        return True

    def _goes_on(self, edition: Edition) -> bool:
        return any(one.edition == edition and not one.paused for one in self._ledger.editions.fed())

    def _is_building(self, edition: Edition) -> bool:
        view = self._equipment.view(edition)
        return view is not None and view.state is EditionState.BUILDING and not view.paused


def telling(one: Equipped, equipment: Equipment, listener: Listener) -> Listener:
    """The listener of an edition's refresher: users hear of what becomes searchable, and of nothing else."""

    def told(outcome: Outcome) -> None:
        if one.edition == equipment.live.edition:
            listener(outcome)
        elif outcome.result is Result.DEAD:
            log.warning("dead letter in the edition %s: %s", one.edition.name, outcome.detail)

    return told
