"""How far this process's clock is from the ledger's, where that is a server's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ops.looked import Looked

if TYPE_CHECKING:
    from prometheus_client import Metric

    from ingestion.clock import Clock
    from ingestion.ledger.ledger import Ledger


class ClockSkew(Collector):
    """Asks the server for its time, at most once in five seconds. Absent while it does not answer."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._looked = Looked(self._look, clock, what="the ledger's clock", quiet=True)

    def describe(self) -> Iterable[Metric]:
        return [_family()]

    def collect(self) -> Iterator[Metric]:
        family, skew_s = _family(), self._looked.current()
        if skew_s is not None:
            family.add_metric([], skew_s)
        yield family

    def _look(self) -> float:
        """The middle of the question against its answer: the way there and back is no skew."""
        before = self._clock.now()
        theirs = self._ledger.now()
        return (before + self._clock.now()) / 2 - theirs


def _family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "headwater_clock_skew_seconds",
        "This process's clock minus the ledger's; only where the ledger is a server's.",
        labels=[],
    )
