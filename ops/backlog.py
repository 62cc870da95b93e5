"""One look at what every source still owes: what status, metrics and doctor are made of. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.lag import combined, index_lag, proof_of_sight, watermark
from ingestion.ledger.audits import Audit
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Building, EditionState, SourceLag, SourceState
from ingestion.ledger.views import STATES, LaneView


@dataclass(frozen=True, slots=True)
class SourceBacklog:
    """One source with its backlog."""

    state: SourceState
    lag: SourceLag

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


@dataclass(frozen=True, slots=True)
class Backlog:
    """Every source by name, those that left the settings too, both lanes, the last audit, and how far a
    second edition is."""

    sources: Sequence[SourceBacklog]
    lanes: Sequence[LaneView]
    audit: Audit | None = None
    building: Building | None = None

    @property
    def active(self) -> list[SourceBacklog]:
        return [source for source in self.sources if source.state.active]

    @property
    def fresh_as_of(self) -> float | None:
        """The watermark of all sources in the settings together."""
        return combined(source.watermark for source in self.active)


def look(ledger: Ledger) -> Backlog:
    """Ask the ledger now; a few aggregates, some milliseconds at tens of thousands of documents."""
    lags = ledger.views.lags()
    sources = [
        SourceBacklog(state, lags.get(state.name) or _nothing(state.name)) for state in ledger.sources.all()
    ]
    edition = ledger.sources.live_edition()
    audit = None if edition is None else ledger.audits.latest(edition)
    view = ledger.editions.in_state(EditionState.BUILDING)
    building = None if view is None else ledger.editions.backlog(view)
    return Backlog(sources, ledger.views.lanes(), audit, building)


def _nothing(source: str) -> SourceLag:
    return SourceLag(source, None, 0, 0, 0, dict.fromkeys(STATES, 0))
