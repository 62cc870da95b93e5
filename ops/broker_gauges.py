"""The broker that processes share, as gauges: whether it answers, what waits there, how full it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ingestion.records import Lane
from ops.looked import Looked

if TYPE_CHECKING:
    from prometheus_client import Metric

    from ingestion.clock import Clock


class BrokerPort(Protocol):
    """What is asked of a broker. Raises BrokerUnavailable and Misconfigured."""

    def waiting(self, lane: Lane) -> int: ...

    def memory_ratio(self) -> float | None: ...


class BrokerGauges(Collector):
    """Asks one broker, at most once in five seconds, however many monitors ask."""

    def __init__(self, broker: BrokerPort, clock: Clock) -> None:
        self._broker = broker
        self._looked = Looked(self._look, clock, what="the broker", quiet=True)

    def describe(self) -> Iterable[Metric]:
        return _families()

    def collect(self) -> Iterator[Metric]:
        up, messages, memory = _families()
        found = self._looked.current()
        up.add_metric([], float(found is not None))
        if found is not None:
            waiting, ratio = found
            for lane, number in waiting.items():
                messages.add_metric([lane], number)
            if ratio is not None:
                memory.add_metric([], ratio)
        yield from (up, messages, memory)

    def _look(self) -> tuple[dict[Lane, int], float | None]:
        return {lane: self._broker.waiting(lane) for lane in Lane}, self._broker.memory_ratio()


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("headwater_broker_up", "1 if the broker answers.", labels=[]),
        GaugeMetricFamily(
            "headwater_broker_messages", "Messages that no worker has taken yet.", labels=["lane"]
        ),
        GaugeMetricFamily(
            "headwater_broker_memory_ratio",
            "Memory the broker uses, of what it may use; absent without a limit.",
            labels=[],
        ),
    )
