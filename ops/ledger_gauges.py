"""States as gauges, computed from the ledger when a monitor asks.

A ledger that cannot be read in time gives no states at all, and ``headwater_exporter_up`` 0: a last
known lag of zero would look like health.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ingestion.records import Drift
from ops import backlog
from ops.backlog import Backlog, SourceBacklog

if TYPE_CHECKING:
    from prometheus_client import Metric

    from ingestion.clock import Clock
    from ingestion.ledger.ledger import Ledger

log = logging.getLogger("headwater.exporter")

CACHE_S = 5.0
TIMEOUT_S = 2.0

_BY_SOURCE = (
    ("headwater_index_lag_seconds", "Age of the oldest change that is not searchable yet; 0 if none."),
    (
        "headwater_watermark_timestamp_seconds",
        "Every change of the source before this instant is searchable; absent before the first listing.",
    ),
    ("headwater_last_listing_timestamp_seconds", "Start of the last complete listing; absent before it."),
    ("headwater_source_fault", "1 while a source, or a part of it, cannot be looked at."),
    ("headwater_dead_letters", "Documents whose attempts ran out."),
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
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._looking: threading.Thread | None = None
        self._found: Backlog | None = None
        self._found_at = float("-inf")
        self._ahead_s = 0.0  # of the ledger's time, which all ages go by, to our monotonic one
        self._failing = False

    def describe(self) -> Iterable[Metric]:
        return [*_families().values(), _up()]

    def collect(self) -> Iterator[Metric]:
        with self._turn:
            found = self._current()
        if found is not None:
            yield from _filled(found, self._clock.monotonic() + self._ahead_s).values()
        up = _up()
        up.add_metric([], float(found is not None))
        yield up

    def _current(self) -> Backlog | None:
        """What was found lately, or None. A look that takes too long goes on for the next scrape."""
        if self._is_late() and self._looking is None:
            self._looking = threading.Thread(target=self._look, name="headwater-gauges", daemon=True)
            self._looking.start()
        if self._looking is not None:
            self._looking.join(self._timeout_s)
            if not self._looking.is_alive():
                self._looking = None
        return None if self._is_late() else self._found

    def _is_late(self) -> bool:
        return self._clock.monotonic() - self._found_at >= self._cache_s

    def _look(self) -> None:
        try:
            self._found = backlog.look(self._ledger)
            self._ahead_s = self._ledger.now() - self._clock.monotonic()
        except Exception as error:  # noqa: BLE001 - monitoring must not fail with what it monitors
            if not self._failing:
                log.warning("the ledger cannot be read for the metrics: %s", error)
            self._failing = True
            return
        self._found_at = self._clock.monotonic()
        if self._failing:
            log.info("the ledger can be read for the metrics again")
        self._failing = False


def _up() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "headwater_exporter_up", "1 if the states beside it could be read from the ledger.", labels=[]
    )


def _families() -> dict[str, GaugeMetricFamily]:
    families = {name: GaugeMetricFamily(name, text, labels=["source"]) for name, text in _BY_SOURCE}
    families |= {name: GaugeMetricFamily(name, text, labels=["lane"]) for name, text in _BY_LANE}
    families["headwater_rebuild_documents"] = GaugeMetricFamily(
        "headwater_rebuild_documents",
        "Documents of the index that headwater rebuild makes, by state; absent while there is none.",
        labels=["state"],
    )
    families["headwater_documents"] = GaugeMetricFamily(
        "headwater_documents", "Documents by state.", labels=["source", "state"]
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
        for state, number in source.lag.counts.items():
            families["headwater_documents"].add_metric([source.state.name, state], number)
    if found.building is not None:
        for state in ("done", "waiting", "failed"):
            families["headwater_rebuild_documents"].add_metric([state], getattr(found.building, state))
    for lane in found.lanes:
        age = 0.0 if lane.oldest is None else max(0.0, now - lane.oldest)
        families["headwater_pending"].add_metric([lane.lane], lane.pending)
        families["headwater_pending_oldest_age_seconds"].add_metric([lane.lane], age)
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
        "headwater_source_fault": float(source.state.fault is not None),
        "headwater_dead_letters": source.lag.failed,
    }
