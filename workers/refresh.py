"""The central flow: what happens to a changed document.

``claim → read → parse → chunk → diff → embed and stage, slice by slice → publish``; the sweep follows
later, in ``workers.upkeep``. A crash after any step leaves a claim that runs out and staged chunks that
the next attempt adopts. No transaction is open while a file is read or a text embedded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import (
    DocumentGone,
    EmbedderUnavailable,
    FolderUnseen,
    HeadwaterError,
    Interrupted,
    SourceUnavailable,
    Superseded,
    Terminal,
    Transient,
)
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Claim, Edition, ManifestChunk, Published
from ingestion.parsing.sandbox import TakesLong
from ingestion.records import Lane
from ingestion.sources.port import Read, SourcePort
from retrieval.index.port import Index
from workers.diffing import Diff, diff
from workers.drafting import Draft, Drafter
from workers.held import HeldClaims
from workers.outcomes import Listener, Outcome, Result
from workers.sight import Strange, Unseen, seen
from workers.staging import SLICE_TEXTS, Embed, Revision, Stager
from workers.tracing import UNTRACED, Tracing, drafting, follow_claims

log = logging.getLogger("headwater.refresh")

GROUP_TEXTS = 128  # embedded between two publishes of a batch: how long a first index stays silent
FRESH_TEXTS = 64  # a document with more to embed goes on in the bulk lane
FAULT_DELAY_S = 2.0
SLOW_DELAY_S = 5.0  # for what may be parsed only when nothing else that is slow is
LONGEST_FAULT_DELAY_S = 60.0  # what stood in the way may be gone sooner than it said

Absent = Callable[[str, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Documents that need another message at once: newer edits, and those that changed lanes.

    ``strange``: none of what was claimed lies in a source that this process has.
    """

    fresh: Sequence[int] = ()
    bulk: Sequence[int] = ()
    strange: bool = False


class Refresher:
    """Brings documents up to date. Safe to call from several threads, for the same documents too.

    ``absent`` is told which URIs of a source were not there: a worker never retires. ``unseen`` says where
    that may be for want of sight. ``slice_texts`` are
    embedded between two commits, for each thread: what a crash may cost.
    """

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        embed: Embed,
        drafter: Drafter,
        sources: Mapping[str, SourcePort],
        clock: Clock,
        *,
        listener: Listener,
        absent: Absent,
        unseen: Unseen = seen,
        slice_texts: int = SLICE_TEXTS,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._ledger = ledger
        self._drafter = drafter
        self._stager = Stager(ledger, index, embed, slice_texts)
        self._sources = sources
        self._clock = clock
        self._listener = listener
        self._absent = absent
        self._unseen = unseen
        self._tracing = tracing
        self._unreleased: list[Claim] = []
        self._under_way: set[HeldClaims] = set()
        self._strange = Strange()

    def refresh(self, edition: Edition, document_ids: Sequence[int], lane: Lane) -> Leftover:
        """Claim what is due of these documents and publish what their sources now hold."""
        begins = self._tracing.traceparent() is None
        with self._tracing.span(
            "refresh", lane=lane.value, edition=edition.name, documents=len(document_ids)
        ):
            claims = self._claim(edition, document_ids, begins=begins)
            return self._refresh(edition, claims, lane)

    def _claim(self, edition: Edition, document_ids: Sequence[int], *, begins: bool) -> list[Claim]:
        with self._tracing.span("claim"):
            claims = self._ledger.claims.claim(edition, document_ids)
        follow_claims(self._tracing, claims, begins=begins)
        return claims

    def _refresh(self, edition: Edition, claimed: Sequence[Claim], lane: Lane) -> Leftover:
        claims = self._of_known_sources(claimed)
        fresh: list[int] = []
        bulk: list[int] = []
        held = HeldClaims(self._ledger, claims, self._clock)
        self._under_way.add(held)
        try:
            for some in self._in_turn(held.open, lane):
                for group in self._groups(self._drafts(held, some, bulk)):
                    large = self._defer(group, lane)
                    bulk += large
                    going_on = [one for one in group if one.claim.document_id not in large]
                    fresh += self._carry_out(edition, going_on, lane, held)
                    held.done(one.claim for one in group)
        except Transient as fault:
            self._hand_back(held.open, fault)
        except Exception as error:
            self._isolate(held.open, error)
        finally:
            self._under_way.discard(held)
        return Leftover(fresh, bulk, strange=bool(claimed) and not claims)

    def keep_claims(self) -> None:
        """Keep the leases of what is under way, however long one document takes to parse."""
        for held in list(self._under_way):
            held.keep()

    def hand_back_again(self) -> None:
        """Claims that could not even be handed back, because the ledger was away, are handed back now."""
        claims, self._unreleased = self._unreleased, []
        if claims:
            self._release(claims, "The ledger could not be written.")

    def _of_known_sources(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """The others are handed back, at no cost: a process with newer settings, or older ones, has them."""
        strange = [claim for claim in claims if claim.source not in self._sources]
        if not strange:
            return claims
        self._strange.tell(claim.source for claim in strange)
        self._release(strange, "A worker took it that does not have its source in its settings.")
        return [claim for claim in claims if claim.source in self._sources]

    def _carry_out(
        self, edition: Edition, group: Sequence[Revision], lane: Lane, held: HeldClaims
    ) -> list[int]:
        """Stage and publish a group; returns the documents that a newer edit left pending."""
        with self._tracing.span("stage", documents=len(group)):
            self._stager.stage(edition, group, lane, keep=held.keep)
        staged_at = self._clock.now()
        complete = [one for one in group if one.complete]
        for one in group:
            if not one.complete:
                self._fail(one.claim, one.error or HeadwaterError("Not every chunk could be staged."))
        with self._tracing.span("publish", documents=len(complete)):
            published = self._ledger.publications.publish([one.publishing(staged_at) for one in complete])
        for one, result in zip(complete, published, strict=True):
            if not result.superseded:
                self._listener(_outcome(one, result, staged_at))
        return [result.claim.document_id for result in published if result.pending]

    def _in_turn(self, claims: Sequence[Claim], lane: Lane) -> Iterator[Sequence[Claim]]:
        """Those that may take long come last, and those that do at the very end; both of them, if they are
        edits, one by one: nobody waits for them."""
        known = [claim for claim in claims if self._drafter.takes_long(claim)]
        others = [claim for claim in claims if not self._drafter.takes_long(claim)]
        slow = [claim for claim in others if self._drafter.may_take_long(claim)]
        yield [claim for claim in others if not self._drafter.may_take_long(claim)]
        yield from [slow] if lane is Lane.BULK else ([claim] for claim in slow)
        yield from ([claim] for claim in known)

    def _drafts(self, held: HeldClaims, claims: Sequence[Claim], bulk: list[int]) -> Iterator[Revision]:
        """Read, parse, chunk and diff, one by one; a document that fails leaves the others alone.

        Those that take too long for an edit are added to ``bulk``.
        """
        manifests = self._ledger.publications.manifests(claims)
        reading = self._reading(claims)
        gone: dict[str, list[str]] = {}
        for claim in claims:
            held.keep()
            try:
                with drafting(self._tracing, claim, among=len(claims)):
                    draft = self._draft(claim, reading[claim.source])
            except DocumentGone:
                gone.setdefault(claim.source, []).append(claim.uri)
                self._release([claim], "It was not there when it was read.")
            except TakesLong:
                bulk += self._put_off(claim)
            except Transient as fault:
                self._release([claim], str(fault))
                if not isinstance(fault, FolderUnseen):  # which is told where it is noticed
                    self._report(claim, Result.FAULT, str(fault), fault)
            except Exception as error:  # whatever one document does, the others go on
                self._fail(claim, error)
            else:
                yield _revision(draft, manifests.get(claim.document_id, []))
                continue
            held.done([claim])
        for source, uris in gone.items():
            self._absent(source, uris)

    def _put_off(self, claim: Claim) -> list[int]:
        """One that takes long: an edit goes on in the bulk lane, another comes again, by itself."""
        if claim.lane is Lane.BULK:
            self._ledger.claims.isolate([claim], "slow to parse: it waits its turn", delay_s=SLOW_DELAY_S)
            return []
        self._ledger.claims.to_bulk([claim])
        self._report(claim, Result.DEFERRED, "slow to parse: it goes on in the bulk lane")
        return [claim.document_id]

    def _reading(self, claims: Sequence[Claim]) -> Mapping[str, Read]:
        """How to read what is claimed of each source."""
        uris: dict[str, list[str]] = {}
        for claim in claims:
            uris.setdefault(claim.source, []).append(claim.uri)
        return {name: self._sources[name].reading(some) for name, some in uris.items()}

    def _draft(self, claim: Claim, read: Read) -> Draft:
        try:
            return self._drafter.draft(claim, read)
        except (DocumentGone, SourceUnavailable):
            if (unseen := self._unseen(self._sources[claim.source])) is not None:
                raise unseen from None
            raise

    def _groups(self, revisions: Iterator[Revision]) -> Iterator[list[Revision]]:
        """Revisions until GROUP_TEXTS are to be embedded: each group is published as one."""
        group: list[Revision] = []
        texts = 0
        for revision in revisions:
            group.append(revision)
            texts += len(revision.diff.added)
            if texts >= GROUP_TEXTS:
                yield group
                group, texts = [], 0
        if group:
            yield group

    def _defer(self, group: Sequence[Revision], lane: Lane) -> list[int]:
        if lane is Lane.BULK:
            return []
        large = [one.claim for one in group if len(one.diff.added) > FRESH_TEXTS]
        if large:
            self._ledger.claims.to_bulk(large)
        for claim in large:
            self._report(claim, Result.DEFERRED, "much to embed: it goes on in the bulk lane")
        return [claim.document_id for claim in large]

    def _fail(self, claim: Claim, error: BaseException) -> None:
        if isinstance(error, Superseded):
            return
        expected = isinstance(error, HeadwaterError)
        if not expected:
            log.error("unexpected error while processing %s", claim.name, exc_info=error)
        message = _message(claim, error)
        dead = self._ledger.claims.fail(claim, message, terminal=isinstance(error, Terminal))
        self._report(claim, Result.DEAD if dead else Result.FAILED, message)

    def _isolate(self, claims: Sequence[Claim], error: Exception) -> None:
        """Something unforeseen in the middle of a batch: find out which document it is, one by one."""
        if len(claims) == 1:
            self._fail(claims[0], error)
            return
        log.error("unexpected error in a batch of %s documents", len(claims), exc_info=error)
        self._ledger.claims.isolate(claims, f"unexpected {type(error).__name__} in a batch")

    def _hand_back(self, claims: Sequence[Claim], fault: Transient) -> None:
        if isinstance(fault, Interrupted):
            self._ledger.claims.release(claims, "", delay_s=0.0)
            return
        log.warning("%s documents wait: %s", len(claims), fault)
        self._release(claims, str(fault), _delay_s(fault))
        for claim in claims:
            self._report(claim, Result.FAULT, str(fault), fault)

    def _release(self, claims: Sequence[Claim], reason: str, delay_s: float = FAULT_DELAY_S) -> None:
        try:
            self._ledger.claims.release(claims, reason, delay_s=delay_s)
        except Transient:
            self._unreleased += claims

    def _report(self, claim: Claim, result: Result, detail: str, fault: Transient | None = None) -> None:
        self._listener(
            Outcome(
                result,
                claim.source,
                claim.uri,
                claim.document_id,
                claim.wanted,
                claim.lane,
                self._clock.now(),
                new=claim.live_generation is None,
                claimed_at=claim.claimed_at,
                detail=detail,
                fault=fault,
            )
        )


def _revision(draft: Draft, manifest: Sequence[ManifestChunk]) -> Revision:
    if draft.chunks is None:  # the content is what is live already: everything stays as it is
        return Revision(draft, Diff(kept=[row.chunk_id for row in manifest if row.born is not None]))
    return Revision(draft, diff(manifest, draft.chunks))


def _outcome(one: Revision, published: Published, staged_at: float) -> Outcome:
    claim, draft = one.claim, one.draft
    unchanged = not one.added and not published.dropped and claim.live_generation is not None
    result = Result.SKIPPED if draft.skipped else Result.UNCHANGED if unchanged else Result.PUBLISHED
    return Outcome(
        result,
        claim.source,
        claim.uri,
        claim.document_id,
        claim.wanted,
        claim.lane,
        published.published_at,
        new=claim.live_generation is None,
        chunks=len(one.diff.kept) + len(one.added),
        embedded=one.embedded,
        reused=one.reused,
        dropped=published.dropped,
        changed_at=claim.pending_since,  # None: no change was waiting, it was read again for our own reasons
        observed_at=claim.observed_at,
        claimed_at=claim.claimed_at,
        staged_at=staged_at,
        detail=draft.skipped or "",
    )


def _delay_s(fault: Transient) -> float:
    after_s = fault.after_s if isinstance(fault, EmbedderUnavailable) else None
    return min(max(FAULT_DELAY_S, after_s or 0.0), LONGEST_FAULT_DELAY_S)


def _message(claim: Claim, error: BaseException) -> str:
    still = (
        f"Generation {claim.live_generation} stays live."
        if claim.live_generation is not None
        else "Nothing of it is searchable yet."
    )
    if isinstance(error, HeadwaterError):
        return f"{claim.name} (generation {claim.wanted}): {error.message} {still} {error.hint}".strip()
    return (
        f"{claim.name} (generation {claim.wanted}): unexpected {type(error).__name__}. {still} "
        "The log has the details; replay it with: headwater dead replay"
    )
