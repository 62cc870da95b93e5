"""From looks to a plan: what the ledger should be told. Writes nothing, so a dry run is just this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.lag import plausible_change, proof_of_sight
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.names import fitting
from ingestion.ledger.values import Entry
from ingestion.parsing import read_alike
from ingestion.plan import Action, Evidence, decide, guard, is_blind, match_renames
from ingestion.records import Gone, Listing, Root, Seen, Skipped, Standing
from ingestion.sources.port import SourcePort
from ingestion.sources.settling import Batch, places_above

# Deletions this close together are judged as one: a tree is not removed in an instant.
GUARD_WINDOW_S = 2.0
SINGLY_WINDOW_S = 86_400.0  # and this, where documents are looked at one by one
# A file system's clock may run this much behind ours.
CLOCK_TICK_S = 0.01
_SERVED = (Standing.PRESENT, Standing.HELD)


@dataclass(frozen=True, slots=True)
class Want:
    """A document to be read again, and why. ``entry`` is None for one never seen before."""

    change: Change
    entry: Entry | None
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    entry: Entry
    seen: Seen


@dataclass(slots=True)
class Plan:
    """What follows from one survey of a source.

    ``absences`` are to be held for the reason ``hold``, or retired if there is none; those ``unguarded``
    are retired in any case: nothing of them is searchable, and if they come back they are new again, or they
    are ``definite``.
    ``observed_before``: absences observed at or after this generation are left alone. ``doubts`` are the
    URIs of absences that are too fresh to be judged.
    """

    source: str
    observed_before: int
    noticed_at: float  # of the first event, or of the listing's start
    wants: list[Want] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    skips: list[Skipped] = field(default_factory=list)
    touches: dict[int, Seen] = field(default_factory=dict)
    absences: list[tuple[Entry, str]] = field(default_factory=list)
    definite: set[int] = field(default_factory=set)
    singly: bool = False  # whether absences were found one by one, over hours
    doubts: list[str] = field(default_factory=list)
    unguarded: set[int] = field(default_factory=set)
    hold: str | None = None
    unchanged: int = 0

    @property
    def held(self) -> list[tuple[Entry, str]]:
        """The absences that must be approved."""
        return [one for one in self.absences if self.hold and one[0].document_id not in self.unguarded]

    @property
    def retired(self) -> list[tuple[Entry, str]]:
        """The absences that need no approval."""
        return [one for one in self.absences if not self.hold or one[0].document_id in self.unguarded]

    @property
    def empty(self) -> bool:
        return not (self.wants or self.moves or self.skips or self.touches or self.absences)


class Surveyor:
    """Looks at sources and plans. Reads the ledger, writes nothing."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def whole(self, source: SourcePort, generation: int) -> tuple[Plan, Listing]:
        """A complete listing, begun at a generation. Raises SourceUnavailable."""
        listing = source.list()
        entries = self._ledger.documents.entries(source.name)
        plan = Plan(source.name, generation, listing.started_at)
        state = self._ledger.sources.state(source.name)
        sightings = _fitting(listing)
        self._judge(plan, source, sightings, entries, since=state.listed_at if state else None)
        seen = {sighting.uri for sighting in sightings}
        missing = [
            entry
            for uri, entry in entries.items()
            if uri not in seen
            and entry.standing is not Standing.RETIRED
            and entry.observed < generation
            and uri not in listing.unseen
            and not is_blind(uri, listing.blind)
        ]
        self._absences(plan, source, missing)
        self._renames(plan, source)
        held_before = sum(entry.standing is not Standing.RETIRED for entry in entries.values())
        plan.hold = guard(
            self._guarded(plan),
            Evidence(
                root=listing.root,
                known_device=self._device(source.name, listing.root),
                held_before=held_before,
                remaining=held_before - len(plan.absences),
                unchanged_share=plan.unchanged / held_before if held_before else None,
            ),
        )
        _leave_held(plan)
        return plan, listing

    def part(self, source: SourcePort, batch: Batch, noticed_at: float) -> Plan:
        """Look at what hints named. Raises SourceUnavailable."""
        plan = Plan(source.name, self._ledger.fence.generation() + 1, noticed_at)
        observations: dict[str, Seen | Skipped] = {}
        missing: dict[str, Entry] = {}
        for prefix in batch.subtrees:
            listing = source.list_below(prefix)
            observations |= {sighting.uri: sighting for sighting in _fitting(listing)}
            below = self._ledger.documents.below(source.name, prefix)
            missing |= {
                entry.uri: entry
                for entry in below
                if entry.uri not in listing.unseen and not is_blind(entry.uri, listing.blind)
            }
        absent: list[str] = []
        for observation in _looked(source, batch.uris).values():
            if isinstance(observation, Gone):
                absent.append(observation.uri)
            else:
                observations[observation.uri] = observation
        entries = self._ledger.documents.find(source.name, [*observations, *absent])
        missing |= {uri: entries[uri] for uri in absent if uri in entries}
        state = self._ledger.sources.state(source.name)
        # A time before the heartbeat came with the file: its change would have been told then.
        since = proof_of_sight(state.listed_at, state.heartbeat_at) if state else None
        self._judge(plan, source, observations.values(), entries, since=since)
        self._absences(plan, source, [entry for uri, entry in missing.items() if uri not in observations])
        self._find_partners(plan, source)
        self._renames(plan, source)
        self._told_renames(plan, batch.moved)
        _leave_doubts(plan, batch, observations)
        if plan.absences:
            plan.hold = self._guard_part(plan, source.root())
        _leave_held(plan)
        return plan

    def everything_missing(self, source: SourcePort, generation: int) -> Plan:
        """The place itself is gone: nothing of it may be retired unasked."""
        plan = Plan(source.name, generation, self._clock.now())
        entries = self._ledger.documents.below(source.name, "")
        reason = source.root().reason
        plan.absences = [(entry, reason) for entry in entries]
        plan.hold = guard(len(entries), Evidence(Root(False, None, reason), None, len(entries), 0))
        return plan

    def _judge(
        self,
        plan: Plan,
        source: SourcePort,
        sightings: Iterable[Seen | Skipped],
        entries: Mapping[str, Entry],
        *,
        since: float | None,
    ) -> None:
        """``since``: before it, nothing has changed that is not known."""
        compared: dict[int, Want] = {}
        for sighting in sightings:
            entry = entries.get(sighting.uri)
            decision = decide(entry, sighting)
            if decision.action is Action.NOTHING:
                plan.unchanged += 1
            elif isinstance(sighting, Skipped):
                plan.skips.append(sighting)
            elif decision.action is Action.TOUCH and entry is not None:
                plan.touches[entry.document_id] = sighting
                plan.unchanged += 1
            else:
                changed_at = _changed_at(plan, sighting, _last_look(entry, since))
                want = Want(Change(sighting, changed_at), entry, decision.reason)
                if decision.action is Action.COMPARE and entry is not None:
                    compared[entry.document_id] = want
                else:
                    plan.wants.append(want)
        self._compare(plan, source, compared)

    def _compare(self, plan: Plan, source: SourcePort, wants: Mapping[int, Want]) -> None:
        """Wanted again only what is not as it is live: a mere doubt must not make answers look outdated."""
        live = self._ledger.documents.digests(list(wants)) if wants else {}
        for document_id, want in wants.items():
            seen = want.change.seen
            if document_id in live and live[document_id] == _digest(source, seen.uri):
                plan.touches[document_id] = seen
                plan.unchanged += 1
            else:
                plan.wants.append(want)

    def _absences(self, plan: Plan, source: SourcePort, missing: Iterable[Entry]) -> None:
        """Only what the source itself says is gone, or is known by another name since names are cut short."""
        there_before = [entry for entry in missing if entry.standing is not Standing.RETIRED]
        looked = _looked(source, [entry.uri for entry in there_before])
        for entry in there_before:
            observation = looked.get(entry.uri)
            if isinstance(observation, Gone):
                plan.absences.append((entry, observation.evidence))
                if observation.definite:
                    plan.definite.add(entry.document_id)
                plan.singly |= observation.singly
            elif isinstance(observation, Skipped) and observation.uri != entry.uri:
                plan.absences.append((entry, observation.reason))

    def _find_partners(self, plan: Plan, source: SourcePort) -> None:
        """Documents that no hint named, whose published look is that of something new: renamed?"""
        arrivals = {want.change.seen.identity for want in plan.wants if _is_arrival(want)} - {None}
        if not arrivals:
            return
        known = {entry.document_id for entry, _ in plan.absences}
        found = self._ledger.documents.with_identity(
            source.name, [identity for identity in arrivals if identity is not None]
        )
        self._absences(plan, source, [entry for entry in found if entry.document_id not in known])

    def _renames(self, plan: Plan, source: SourcePort) -> None:
        """Match what is gone with what is new: first by the published look, then by content."""
        absent = {entry.document_id: entry for entry, _ in plan.absences if entry.standing in _SERVED}
        if not absent or not any(_is_arrival(want) for want in plan.wants):
            return
        by_look = {key: entry.identity for key, entry in absent.items() if entry.identity}
        self._match(
            plan, absent, by_look, {w.change.seen.uri: w.change.seen.identity for w in _arrivals(plan)}
        )
        sizes = {entry.size_bytes for entry in absent.values()}
        same_size = [want.change.seen for want in _arrivals(plan) if want.change.seen.size_bytes in sizes]
        if absent and same_size:
            by_content = self._ledger.documents.digests(list(absent))
            if by_content:
                self._match(
                    plan, absent, by_content, {seen.uri: _digest(source, seen.uri) for seen in same_size}
                )

    def _told_renames(self, plan: Plan, moved: Mapping[str, str]) -> None:
        """Renames that the system told of, of documents whose last edit is not published yet.

        Neither look nor content can be that of the published revision. As two documents, the old one
        would be gone before the new one is live: it moves instead, and is read again.
        """
        arrivals = {want.change.seen.uri: want.change.seen for want in _arrivals(plan)}
        told: dict[int, Move] = {}
        for entry, _ in plan.absences:
            uri = _new_place(entry.uri, moved)
            if uri in arrivals and entry.standing in _SERVED and read_alike(uri, entry.uri):
                told[entry.document_id] = Move(entry, arrivals.pop(uri))
        served = self._ledger.documents.published(list(told))
        plan.moves += [move for key, move in told.items() if key in served]
        plan.absences = [one for one in plan.absences if one[0].document_id not in served]

    def _match(
        self,
        plan: Plan,
        absent: dict[int, Entry],
        traits: Mapping[int, str],
        arrivals: Mapping[str, str | None],
    ) -> None:
        pairs, _ = match_renames(
            {key: trait for key, trait in traits.items() if key in absent},
            [(uri, trait) for uri, trait in arrivals.items() if trait is not None],
        )
        # Read as another format, the same bytes are other chunks.
        pairs = {uri: key for uri, key in pairs.items() if read_alike(uri, absent[key].uri)}
        if not pairs:
            return
        seen = {want.change.seen.uri: want.change.seen for want in plan.wants}
        plan.moves += [Move(absent.pop(key), seen[uri]) for uri, key in pairs.items()]
        moved = set(pairs.values())
        plan.wants = [want for want in plan.wants if want.change.seen.uri not in pairs]
        plan.absences = [one for one in plan.absences if one[0].document_id not in moved]

    def _guarded(self, plan: Plan) -> int:
        """How many absences would take something out of the answers; notes the others in the plan."""
        ids = [entry.document_id for entry, _ in plan.absences if entry.standing is Standing.PRESENT]
        absent = {entry.document_id for entry, _ in plan.absences}
        plan.unguarded = (set(ids) - self._ledger.documents.published(ids)) | (plan.definite & absent)
        return len(plan.absences) - len(plan.unguarded)

    def _guard_part(self, plan: Plan, root: Root) -> str | None:
        held_before = self._ledger.documents.count_served(plan.source)
        window_s = SINGLY_WINDOW_S if plan.singly else GUARD_WINDOW_S
        return guard(
            self._guarded(plan),
            Evidence(
                root=root,
                known_device=self._device(plan.source, root),
                held_before=held_before,
                remaining=held_before - len(plan.absences),
                recent=self._ledger.documents.count_retired_within(plan.source, window_s),
            ),
        )

    def _device(self, source: str, root: Root) -> int | None:
        """What the machine that looked has called it before; the names of others say nothing."""
        state = self._ledger.sources.state(source)
        return None if state is None else state.devices.get(root.machine)


def _changed_at(plan: Plan, seen: Seen, last_look: float | None) -> float:
    if seen.judged and seen.changed_at is not None:
        return seen.changed_at
    return plausible_change(seen.changed_at, last_look, seen.observed_at, plan.noticed_at)


def _last_look(entry: Entry | None, since: float | None) -> float | None:
    """Before this moment the document is known to have been as the ledger has it."""
    moments = [entry.observed_at] if entry is not None else []
    if since is not None:
        moments.append(since)
    return max(moments) - CLOCK_TICK_S if moments else None


def _leave_held(plan: Plan) -> None:
    """What is held waits for approval, however few absences a later look adds to it."""
    if plan.hold is None:
        plan.absences = [
            one
            for one in plan.absences
            if one[0].standing is not Standing.HELD or one[0].document_id in plan.definite
        ]


def _leave_doubts(plan: Plan, batch: Batch, observations: Mapping[str, Seen | Skipped]) -> None:
    """What has gone without a word of it may be on its way to another name: the hint that tells it may
    come after the look. A rename whose new end was seen is no doubt."""

    def doubtful(uri: str) -> bool:
        if _new_place(uri, batch.moved) in observations:
            return False
        return any(place in batch.unconfirmed for place in (uri, *places_above(uri)))

    plan.doubts = [entry.uri for entry, _ in plan.absences if doubtful(entry.uri)]
    left = set(plan.doubts)
    plan.absences = [one for one in plan.absences if one[0].uri not in left]


def _new_place(uri: str, moved: Mapping[str, str]) -> str:
    """Where what was there has gone, renames of folders and renames after renames included."""
    for _ in range(len(moved)):
        old = next((old for old in moved if uri == old or (old.endswith("/") and uri.startswith(old))), None)
        if old is None:
            break
        uri = moved[old] + uri[len(old) :]
    return uri


def _is_arrival(want: Want) -> bool:
    return want.entry is None or want.entry.standing is Standing.RETIRED


def _arrivals(plan: Plan) -> Sequence[Want]:
    return [want for want in plan.wants if _is_arrival(want)]


def _fitting(listing: Listing) -> list[Seen | Skipped]:
    """The sightings, as the ledger keeps them."""
    fit = map(fitting, listing.sightings)
    return [sighting for sighting in fit if not isinstance(sighting, Gone)]


def _looked(source: SourcePort, uris: Sequence[str]) -> dict[str, Seen | Skipped | Gone]:
    """Looks, as the ledger keeps them, by the URI that was asked for; without those that were refused."""
    return {uri: fitting(found) for uri, found in source.looks(uris).items()} if uris else {}


def _digest(source: SourcePort, uri: str) -> str | None:
    try:
        return source.read(uri).digest
    except HeadwaterError:
        return None  # whoever reads it next says why
