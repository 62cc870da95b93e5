"""States as gauges, computed from the ledger when a monitor asks.

A ledger that cannot be read in time gives no states at all, and ``headwater_exporter_up`` 0: a last
known lag of zero would look like health.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ingestion.objectives import Kind
from ingestion.records import Drift
from ops import backlog
from ops.backlog import Backlog, SourceBacklog
from ops.looked import CACHE_S, TIMEOUT_S, Looked
from ops.verdicts import Verdict, judge

if TYPE_CHECKING:
    from prometheus_client import Metric

    from ingestion.clock import Clock
    from ingestion.ledger.ledger import Ledger

_BY_SOURCE = (
    ("headwater_index_lag_seconds", "Age of the oldest change that is not searchable yet; 0 if none."),
    (
        "headwater_watermark_timestamp_seconds",
        "Every change of the source before this instant is searchable; absent before the first listing.",
    ),
    ("headwater_last_listing_timestamp_seconds", "Start of the last complete listing; absent before it."),
    (
        "headwater_last_event_timestamp_seconds",
        "When the watcher was last told of a change; absent before the first one.",
    ),
    ("headwater_source_fault", "1 while a source, or a part of it, cannot be looked at."),
    ("headwater_dead_letters", "Documents whose attempts ran out."),
    ("headwater_overdue", "Changes that wait for longer than the source's objective allows."),
    (
        "headwater_error_budget_left_ratio",
        "What is left of what may be late in the objective's window: 1 untouched, below 0 overspent.",
    ),
    ("headwater_objective_share", "The share of changes and deletions that is to be in time."),
)
_BY_KIND = (
    (
        "headwater_canary_success",
        "1 if the canary's last round succeeded, 0 if it failed or is overdue; absent without one.",
    ),
    (
        "headwater_canary_last_success_timestamp_seconds",
        "When a round of the canary last succeeded; absent before it.",
    ),
)
_BY_LANE = (
    ("headwater_pending", "Documents waiting to be published."),
    ("headwater_pending_oldest_age_seconds", "Age of the oldest change waiting in a lane; 0 if none."),
)


class LedgerGauges(Collector):
    """Collects the states of one ledger, at most once in ``cache_s``, however many monitors ask."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, cache_s: float = CACHE_S, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._looked = Looked(self._look, clock, what="the ledger", cache_s=cache_s, timeout_s=timeout_s)

    def describe(self) -> Iterable[Metric]:
        return [*_families().values(), _up()]

    def collect(self) -> Iterator[Metric]:
        found = self._looked.current()
        if found is not None:
            backlog, ahead_s = found
            yield from _filled(backlog, self._clock.monotonic() + ahead_s).values()
        up = _up()
        up.add_metric([], float(found is not None))
        yield up

    def _look(self) -> tuple[Backlog, float]:
        """What there is, and how far the ledger's time, which all ages go by, is ahead of our monotonic
        one."""
        found = backlog.look(self._ledger)
        return found, self._ledger.now() - self._clock.monotonic()


def _up() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "headwater_exporter_up", "1 if the states beside it could be read from the ledger.", labels=[]
    )


def _families() -> dict[str, GaugeMetricFamily]:
    families = {name: GaugeMetricFamily(name, text, labels=["source"]) for name, text in _BY_SOURCE}
    families |= {name: GaugeMetricFamily(name, text, labels=["lane"]) for name, text in _BY_LANE}
    families |= {name: GaugeMetricFamily(name, text, labels=["kind"]) for name, text in _BY_KIND}
    families["headwater_rebuild_documents"] = GaugeMetricFamily(
        "headwater_rebuild_documents",
        "Documents of the index that headwater rebuild makes, by state; absent while there is none.",
        labels=["state"],
    )
    families["headwater_documents"] = GaugeMetricFamily(
        "headwater_documents", "Documents by state.", labels=["source", "state"]
    )
    families["headwater_objective_within_seconds"] = GaugeMetricFamily(
        "headwater_objective_within_seconds",
        "What a change or a deletion may take to be in time.",
        labels=["source", "kind"],
    )
    families["headwater_verdict"] = GaugeMetricFamily(
        "headwater_verdict", "1 for the verdict on a source, 0 for the others.", labels=["source", "verdict"]
    )
    families["headwater_audit_drift"] = GaugeMetricFamily(
        "headwater_audit_drift", "What the last audit found to differ; absent before it.", labels=["kind"]
    )
    families["headwater_last_audit_timestamp_seconds"] = GaugeMetricFamily(
        "headwater_last_audit_timestamp_seconds", "End of the last audit; absent before it.", labels=[]
    )
    return families


def _filled(found: Backlog, now: float) -> dict[str, GaugeMetricFamily]:
    families = _families()
    for source in found.active:
        for name, number in _numbers(source, now).items():
            if number is not None:
                families[name].add_metric([source.state.name], number)
        for name, label, number in _labelled(source, now):
            families[name].add_metric([source.state.name, label], number)
    if found.building is not None:
        for state in ("done", "waiting", "failed"):
            families["headwater_rebuild_documents"].add_metric([state], getattr(found.building, state))
    for lane in found.lanes:
        age = 0.0 if lane.oldest is None else max(0.0, now - lane.oldest)
        families["headwater_pending"].add_metric([lane.lane], lane.pending)
        families["headwater_pending_oldest_age_seconds"].add_metric([lane.lane], age)
    for canary in found.canaries:
        families["headwater_canary_success"].add_metric([canary.kind], float(canary.sings(now)))
        if canary.succeeded_at is not None:
            families["headwater_canary_last_success_timestamp_seconds"].add_metric(
                [canary.kind], canary.succeeded_at
            )
    if found.audit is not None:
        for kind in Drift:
            families["headwater_audit_drift"].add_metric([kind], found.audit.found.get(kind, 0))
        families["headwater_last_audit_timestamp_seconds"].add_metric([], found.audit.finished_at)
    return families


def _numbers(source: SourceBacklog, now: float) -> dict[str, float | None]:
    return {
        "headwater_index_lag_seconds": source.index_lag_s(now),
        "headwater_watermark_timestamp_seconds": source.watermark,
        "headwater_last_listing_timestamp_seconds": source.state.listed_at,
        "headwater_last_event_timestamp_seconds": source.state.event_at,
        "headwater_source_fault": float(source.state.fault is not None),
        "headwater_dead_letters": source.lag.failed,
        "headwater_overdue": source.lag.overdue,
        "headwater_error_budget_left_ratio": source.budget_left,
        "headwater_objective_share": source.state.objective.share,
    }


def _labelled(source: SourceBacklog, now: float) -> Iterator[tuple[str, str, float]]:
    """Name, label and number of what a source has several of."""
    for state, number in source.lag.counts.items():
        yield "headwater_documents", state, number
    objective = source.state.objective
    yield "headwater_objective_within_seconds", Kind.CHANGE.value, objective.within_s
    yield "headwater_objective_within_seconds", Kind.DELETION.value, objective.deletions_within_s
    verdict = judge(source.facts(), now).verdict
    for one in Verdict:
        yield "headwater_verdict", one.value, float(one is verdict)
