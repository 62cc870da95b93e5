"""Makes the ledger know what a source holds: survey, plan, write, tell the workers.

Listings and hints take the same way. New documents are wanted before absent ones are retired, so that
a document that moved in pieces has no gap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import SourceUnavailable
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Entry
from ingestion.records import Lane
from ingestion.sources.port import SourcePort
from ingestion.sources.settling import Batch
from workers.outcomes import Listener, Outcome, Result
from workers.sight import Unseen, seen
from workers.surveying import Plan, Surveyor, Want

log = logging.getLogger("headwater.reconcile")

BURST = 64  # this many new documents at once are bulk work: edits go before them
WRITE_SLICE = 1000  # documents a transaction
JUST_NOW_S = 1.0  # a change this young may still be on its way as an event

Send = Callable[[Sequence[int]], None]
Missed = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Listed:
    """What a look found. ``generation``: once everything up to it is published, the look is searchable.
    ``doubts``: URIs that were not there, to be looked at again once their absence is confirmed."""

    source: str
    generation: int
    wanted: int = 0
    moved: int = 0
    retired: int = 0
    held: int = 0
    skipped: int = 0
    unchanged: int = 0
    fault: str | None = None
    doubts: tuple[str, ...] = ()


class Reconciler:
    """Carries plans out. Safe to call from several threads and processes: what a plan did not know is
    settled by the conditions of the ledger's statements.

    ``send`` is given documents that were just made pending in the fresh lane; ``missed`` counts what a
    listing of a watched source found without any event; ``unseen`` says of which sources nothing that this
    process finds, or does not, is evidence.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        listener: Listener,
        send: Send,
        missed: Missed,
        unseen: Unseen = seen,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._surveyor = Surveyor(ledger, clock)
        self._listener = listener
        self._send = send
        self._missed = missed
        self._unseen = unseen

    def list_source(self, source: SourcePort, *, watched: bool = False) -> Listed:
        """Look at the whole source. Its fault, if it has one, is noted and returned, never raised."""
        if (unseen := self._unseen(source)) is not None:
            return Listed(source.name, self._ledger.fence.generation(), fault=str(unseen))
        generation = self._ledger.sources.begin_listing()
        state = self._ledger.sources.state(source.name)
        try:
            plan, listing = self._surveyor.whole(source, generation)
        except SourceUnavailable as fault:
            return self._unavailable(source, generation, fault)
        first = state is None or state.listed_at is None
        if watched and not first:
            self._count_missed(plan)
        self._carry_out(plan, bulk=first)
        device = listing.root.device
        if plan.hold and state is not None:  # adopted only once nothing speaks against it
            device = state.devices.get(listing.root.machine, device)
        self._ledger.sources.finish_listing(
            source.name,
            generation,
            started_at=listing.started_at,
            device=device,
            machine=listing.root.machine,
            fault="; ".join(listing.faults) or None,
        )
        return self._listed(plan, self._ledger.fence.generation(), "; ".join(listing.faults) or None)

    def look(self, source: SourcePort, batch: Batch, noticed_at: float | None = None) -> Listed:
        """Look at what hints named, the first of them at ``noticed_at`` (None: just now).

        Raises SourceUnavailable: then the source must be listed.
        """
        plan = self._surveyor.part(source, batch, self._clock.now() if noticed_at is None else noticed_at)
        self._carry_out(plan, bulk=False)
        return self._listed(plan, self._ledger.fence.generation(), None)

    def absent(self, source: SourcePort, uris: Sequence[str]) -> None:
        """A worker did not find these: judge them by the source's own evidence."""
        if self._unseen(source) is not None:
            return
        try:
            self.look(source, Batch(tuple(uris), (), {}))
        except SourceUnavailable as fault:
            self._unavailable(source, self._ledger.sources.begin_listing(), fault)

    def preview(self, source: SourcePort) -> Plan:
        """What a listing would do now. Raises SourceUnavailable."""
        if (unseen := self._unseen(source)) is not None:
            raise unseen
        return self._surveyor.whole(source, self._ledger.fence.generation() + 1)[0]

    def _unavailable(self, source: SourcePort, generation: int, fault: SourceUnavailable) -> Listed:
        self._ledger.sources.set_fault(source.name, str(fault))
        plan = Plan(source.name, generation, self._clock.now())
        if not source.root().present:
            plan = self._surveyor.everything_missing(source, generation)
            self._judge_absences(plan)
        return self._listed(plan, generation, str(fault))

    def _carry_out(self, plan: Plan, *, bulk: bool) -> None:
        if plan.empty:
            return
        for move in list(plan.moves):
            if not self._ledger.documents.move(move.entry.document_id, move.seen, was=move.entry.uri):
                # Retired or moved by somebody else since the survey: then it is a document of its own.
                plan.moves.remove(move)
                if all(want.change.seen.uri != move.seen.uri for want in plan.wants):
                    plan.wants.append(
                        Want(Change(move.seen, move.seen.observed_at), None, "not a rename any more")
                    )
                continue
            detail = f"was {move.entry.uri}"
            self._report(Result.RENAMED, move.entry, move.seen.uri, detail, move.seen.observed_at)
        self._want(plan, bulk=bulk)
        self._ledger.documents.touch(plan.touches)
        for one in self._ledger.documents.skip(plan.source, plan.skips, observed_before=plan.observed_before):
            self._listener(
                Outcome(
                    Result.SKIPPED,
                    plan.source,
                    one.uri,
                    0,
                    0,
                    Lane.FRESH,
                    self._clock.now(),
                    detail=one.reason,
                )
            )
        self._judge_absences(plan)

    def _want(self, plan: Plan, *, bulk: bool) -> None:
        """Edits go to the fresh lane; the documents of a first listing or of a burst to the bulk lane."""
        new = [want for want in plan.wants if want.entry is None]
        edits = [want for want in plan.wants if want.entry is not None]
        if bulk or len(new) > BURST:
            self._want_in(plan.source, edits, Lane.BULK if bulk else Lane.FRESH)
            self._want_in(plan.source, new, Lane.BULK)
        else:
            self._want_in(plan.source, plan.wants, Lane.FRESH)

    def _want_in(self, source: str, wants: Sequence[Want], lane: Lane) -> None:
        for start in range(0, len(wants), WRITE_SLICE):
            changes = [want.change for want in wants[start : start + WRITE_SLICE]]
            # Bulk work is sent through the dispatcher's window, not as it is found.
            fresh = lane is Lane.FRESH
            document_ids = self._ledger.documents.want(source, changes, lane, sent=fresh)
            if fresh:
                self._send(document_ids)

    def _judge_absences(self, plan: Plan) -> None:
        entries = {entry.document_id: entry for entry, _ in plan.retired}
        evidence = {entry.document_id: why for entry, why in plan.retired}
        judged_at = self._clock.now()
        retired = self._ledger.documents.retire(
            evidence, observed_before=plan.observed_before, noticed=(plan.source, plan.noticed_at)
        )
        for document_id in retired:
            entry = entries[document_id]
            detail, noticed_at = evidence[document_id], plan.noticed_at
            self._report(Result.RETIRED, entry, entry.uri, detail, noticed_at, max(noticed_at, judged_at))
        newly = self._ledger.documents.hold(
            [entry.document_id for entry, _ in plan.held],
            plan.hold or "",
            observed_before=plan.observed_before,
        )
        if newly:
            self._report_held(plan, newly)

    def _report_held(self, plan: Plan, newly: int) -> None:
        are_not = "document is not there" if newly == 1 else "documents are not there"
        detail = (
            f"{newly} {are_not}, and {plan.hold}. What is held stays searchable. If it is really gone, run: "
            f"headwater approve {plan.source}"
        )
        log.warning("%s: %s", plan.source, detail)
        self._listener(
            Outcome(Result.HELD, plan.source, "", 0, 0, Lane.FRESH, self._clock.now(), detail=detail)
        )

    def _report(
        self,
        result: Result,
        entry: Entry,
        uri: str,
        detail: str,
        noticed: float,
        judged: float | None = None,
    ) -> None:
        now = self._clock.now()
        self._listener(
            Outcome(
                result,
                entry.source,
                uri,
                entry.document_id,
                entry.wanted,
                Lane.FRESH,
                now,
                changed_at=noticed,
                observed_at=noticed if judged is None else judged,
                detail=detail,
            )
        )

    def _count_missed(self, plan: Plan) -> None:
        """Changes the watcher should have told of. Deletions count once they are retired."""
        overdue = [
            want
            for want in plan.wants
            if want.change.changed_at < want.change.seen.observed_at - JUST_NOW_S
            and not (want.entry is not None and want.entry.racy)
        ]
        number = len(overdue) + len(plan.moves) + len(plan.retired)
        if number:
            self._missed(plan.source, number)

    def _listed(self, plan: Plan, generation: int, fault: str | None) -> Listed:
        return Listed(
            plan.source,
            generation,
            wanted=len(plan.wants),
            moved=len(plan.moves),
            retired=len(plan.retired),
            held=len(plan.held),
            skipped=len(plan.skips),
            unchanged=plan.unchanged,
            fault=fault,
            doubts=tuple(plan.doubts),
        )
