"""One look at what every source still owes: what status, metrics and doctor are made of. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingestion.lag import combined, index_lag, proof_of_sight, watermark
from ingestion.ledger.audits import Audit
from ingestion.ledger.canaries import CanaryState
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Building, EditionState, SourceLag, SourceState, Waiting
from ingestion.ledger.views import STATES, LaneView
from ingestion.objectives import LATELY_S, Kept, Pace, budget_left
from ingestion.records import Lane
from ops.kinds import is_scheduled
from ops.verdicts import Ahead, Facts, finished_lately


@dataclass(frozen=True, slots=True)
class SourceBacklog:
    """One source with its backlog, what was finished of it lately, how its objective was kept, and what of
    other sources comes before it, by lane."""

    state: SourceState
    lag: SourceLag
    pace: Pace = field(default_factory=Pace)
    kept: Kept = field(default_factory=Kept)
    ahead: Mapping[str, Ahead] = field(default_factory=dict)

    @property
    def seen_at(self) -> float | None:
        """The last proof that everything there was seen."""
        return proof_of_sight(self.state.listed_at, self.state.heartbeat_at)

    @property
    def watermark(self) -> float | None:
        """Every change before this instant is published or tombstoned; None before the first look."""
        return watermark(self.lag.oldest_pending, self.seen_at)

    def index_lag_s(self, now: float) -> float:
        return index_lag(self.lag.oldest_pending, now)

    @property
    def budget_left(self) -> float:
        """What is overdue is late already: a pipeline that finishes nothing uses its budget up, too."""
        overdue = self.lag.overdue
        return budget_left(self.state.objective.share, self.kept.met, self.kept.missed + overdue)

    def facts(self, within_s: float | None = None) -> Facts:
        """What a verdict rests on; ``within_s`` in the place of the objective's."""
        return Facts(
            within_s=self.state.objective.within_s if within_s is None else within_s,
            looks=[at for at in (self.state.listed_at, self.state.heartbeat_at) if at is not None],
            schedule=self.state.by_schedule if is_scheduled(self.state.kind) else None,
            fault=self.state.fault,
            pending=self.lag.pending,
            held=self.lag.held,
            waiting=self.lag.waiting,
            pace=self.pace,
            ahead=self.ahead,
        )


@dataclass(frozen=True, slots=True)
class Backlog:
    """Every source of users by name, those that left the settings too, both lanes, the last audit, how far
    a second edition is, and how the canaries' last rounds went."""

    sources: Sequence[SourceBacklog]
    lanes: Sequence[LaneView]
    audit: Audit | None = None
    building: Building | None = None
    canaries: Sequence[CanaryState] = ()

    @property
    def active(self) -> list[SourceBacklog]:
        return [source for source in self.sources if source.state.active]

    @property
    def fresh_as_of(self) -> float | None:
        """The watermark of all sources in the settings together."""
        return combined(source.watermark for source in self.active)


def look(ledger: Ledger) -> Backlog:
    """Ask the ledger now; a few aggregates, some milliseconds at tens of thousands of documents."""
    lags, paces, kept = ledger.views.lags(), ledger.punctuality.paces(), ledger.punctuality.kept()
    sources = [
        SourceBacklog(
            state,
            lags.get(state.name) or _nothing(state.name),
            paces.get(state.name, Pace()),
            kept.get(state.name, Kept()),
        )
        for state in ledger.sources.all()
        if not state.is_own
    ]
    sources = [replace(source, ahead=_ahead_of(source, sources)) for source in sources]
    edition = ledger.sources.live_edition()
    audit = None if edition is None else ledger.audits.latest(edition)
    view = ledger.editions.in_state(EditionState.BUILDING)
    building = None if view is None else ledger.editions.backlog(view)
    return Backlog(sources, _lanes(sources), audit, building, ledger.canaries.latest())


def _ahead_of(source: SourceBacklog, sources: Sequence[SourceBacklog]) -> dict[str, Ahead]:
    """What is sent before the work of this source: what waits for longer, or was found about when it was."""
    found: dict[str, Ahead] = {}
    for lane in source.lag.waiting:
        others = [
            (other, one)
            for other in sources
            if other is not source and other.state.active
            for one in other.lag.waiting
            if one.lane == lane.lane and one.oldest <= lane.oldest + LATELY_S
        ]
        if others:
            found[lane.lane] = _together(others)
    return found


def _together(others: Sequence[tuple[SourceBacklog, Waiting]]) -> Ahead:
    return Ahead(
        sum(finished_lately(other.pace, one.lane) for other, one in others),
        max(
            (one.claimed_at for _, one in others if one.claimed and one.claimed_at is not None), default=None
        ),
    )


def _lanes(sources: Sequence[SourceBacklog]) -> list[LaneView]:
    """The open work of both lanes, in sources that are configured."""
    found = [one for source in sources if source.state.active for one in source.lag.waiting]
    return [
        LaneView(
            lane.value,
            sum(one.pending for one in found if one.lane == lane),
            min((one.oldest for one in found if one.lane == lane), default=None),
        )
        for lane in Lane
    ]


def _nothing(source: str) -> SourceLag:
    return SourceLag(source, None, 0, 0, 0, dict.fromkeys(STATES, 0))
