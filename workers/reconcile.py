"""Makes the ledger know what a source holds: survey, plan, write, tell the workers.

Listings and hints take the same way. New documents are wanted before absent ones are retired, so that
a document that moved in pieces has no gap.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, SourceUnavailable, Transient
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Entry
from ingestion.records import Lane, Skipped
from ingestion.sources.port import SourcePort
from ingestion.sources.settling import Batch
from workers.apart import Apart
from workers.outcomes import Listener, Outcome, Result
from workers.sight import Unseen, seen
from workers.surveying import Move, Plan, Surveyor, Want
from workers.tracing import UNTRACED, Tracing

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
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._surveyor = Surveyor(ledger, clock)
        self._listener = listener
        self._send = send
        self._missed = missed
        self._unseen = unseen
        self._tracing = tracing
        self._told: dict[str, set[str]] = {}  # what the ledger refused, by source

    def list_source(self, source: SourcePort, *, watched: bool = False) -> Listed:
        """Look at the whole source. Its fault, if it has one, is noted and returned, never raised.

        Raises Transient where the ledger is away; what else a listing failed with is noted, and raised.
        """
        try:
            return self._list(source, watched=watched)
        except Transient:
            raise
        except Exception as error:
            words = error if isinstance(error, HeadwaterError) else f"unexpected {type(error).__name__}"
            with contextlib.suppress(Exception):  # the first error is the one to be raised
                self._ledger.sources.set_fault(source.name, f"It could not be listed: {words}")
            raise

    def _list(self, source: SourcePort, *, watched: bool) -> Listed:
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
        refused = self._carry_out(plan, bulk=first)
        found = "; ".join([*listing.faults, *([refused] if refused else [])]) or None
        device = listing.root.device
        if plan.hold and state is not None:  # adopted only once nothing speaks against it
            device = state.devices.get(listing.root.machine, device)
        self._ledger.sources.finish_listing(
            source.name,
            generation,
            started_at=listing.started_at if listing.seen_until is None else listing.seen_until,
            device=device,
            machine=listing.root.machine,
            fault=found,
        )
        return self._listed(plan, self._ledger.fence.generation(), found)

    def look(self, source: SourcePort, batch: Batch, noticed_at: float | None = None) -> Listed:
        """Look at what hints named, the first of them at ``noticed_at`` (None: just now).

        Raises SourceUnavailable: then the source must be listed.
        """
        plan = self._surveyor.part(source, batch, self._clock.now() if noticed_at is None else noticed_at)
        refused = self._carry_out(plan, bulk=False)
        if refused:
            self._ledger.sources.set_fault(source.name, refused)
        return self._listed(plan, self._ledger.fence.generation(), refused)

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

    def _carry_out(self, plan: Plan, *, bulk: bool) -> str | None:
        """Returns which documents the ledger refused, or None."""
        if plan.empty:
            return None
        apart = Apart(plan.source, self._told.setdefault(plan.source, set()))
        for move in list(plan.moves):
            self._move(plan, apart, move)
        self._want(plan, apart, bulk=bulk)
        touch = self._ledger.documents.touch
        apart.write(lambda some: touch(dict(some)), list(plan.touches.items()), lambda one: one[1].uri)
        self._skip(plan, apart)
        self._judge_absences(plan)
        return apart.fault

    def _move(self, plan: Plan, apart: Apart, move: Move) -> None:
        def write(_: object) -> bool:
            return self._ledger.documents.move(move.entry.document_id, move.seen, was=move.entry.uri)

        for moved in apart.write(write, [move], lambda one: one.seen.uri):
            if moved:
                detail = f"was {move.entry.uri}"
                self._report(Result.RENAMED, move.entry, move.seen.uri, detail, move.seen.observed_at)
                continue
            # Retired or moved by somebody else since the survey: then it is a document of its own.
            plan.moves.remove(move)
            if all(want.change.seen.uri != move.seen.uri for want in plan.wants):
                plan.wants.append(
                    Want(Change(move.seen, move.seen.observed_at), None, "not a rename any more")
                )

    def _skip(self, plan: Plan, apart: Apart) -> None:
        def write(some: Sequence[Skipped]) -> list[Skipped]:
            return self._ledger.documents.skip(plan.source, some, observed_before=plan.observed_before)

        for skipped in apart.write(write, plan.skips, lambda one: one.uri):
            for one in skipped:
                at = self._clock.now()
                self._listener(
                    Outcome(Result.SKIPPED, plan.source, one.uri, 0, 0, Lane.FRESH, at, detail=one.reason)
                )

    def _want(self, plan: Plan, apart: Apart, *, bulk: bool) -> None:
        """Edits go to the fresh lane; the documents of a first listing or of a burst to the bulk lane."""
        new = [want for want in plan.wants if want.entry is None]
        edits = [want for want in plan.wants if want.entry is not None]
        if bulk or len(new) > BURST:
            self._want_in(apart, plan.source, edits, Lane.BULK if bulk else Lane.FRESH)
            self._want_in(apart, plan.source, new, Lane.BULK)
        else:
            self._want_in(apart, plan.source, plan.wants, Lane.FRESH)

    def _want_in(self, apart: Apart, source: str, wants: Sequence[Want], lane: Lane) -> None:
        # Bulk work is sent through the dispatcher's window, not as it is found.
        fresh = lane is Lane.FRESH

        def write(some: Sequence[Want]) -> list[int]:
            return self._ledger.documents.want(source, [want.change for want in some], lane, sent=fresh)

        for start in range(0, len(wants), WRITE_SLICE):
            some = wants[start : start + WRITE_SLICE]
            with self._detecting(source, some) if fresh else contextlib.nullcontext():
                for document_ids in apart.write(write, some, lambda want: want.change.seen.uri):
                    if fresh:
                        self._send(document_ids)

    def _detecting(self, source: str, wants: Sequence[Want]) -> contextlib.AbstractContextManager[None]:
        """Here the trace of an edit begins, at the change itself."""
        begun_at = min(want.change.changed_at for want in wants)
        return self._span("detect", begun_at, source, [want.change.seen.uri for want in wants])

    def _retiring(self, plan: Plan) -> contextlib.AbstractContextManager[None]:
        """The whole trace of a deletion, from when it was noticed."""
        return self._span("retire", plan.noticed_at, plan.source, [entry.uri for entry, _ in plan.retired])

    def _span(
        self, name: str, begun_at: float, source: str, uris: Sequence[str]
    ) -> contextlib.AbstractContextManager[None]:
        uri = {"uri": uris[0]} if len(uris) == 1 else {}
        return self._tracing.span(name, begun_at=begun_at, source=source, documents=len(uris), **uri)

    def _judge_absences(self, plan: Plan) -> None:
        entries = {entry.document_id: entry for entry, _ in plan.retired}
        evidence = {entry.document_id: why for entry, why in plan.retired}
        judged_at = self._clock.now()
        with self._retiring(plan) if evidence else contextlib.nullcontext():
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
