"""What a Prometheus answers to the queries of a panel, over the time that a picture shows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests import dashboards
from tests.servers.prometheus import Prometheus

RATE = "1m"  # what Grafana takes for an hour
ALERTS = 'ALERTS{alertname=~"Headwater.+", alertstate="firing"}'

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    times: list[float]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Exposure:
    """A Prometheus, and which stretch of its time is shown."""

    prometheus: Prometheus
    begin: float
    end: float
    step_s: float

    def latest(self, target: Json) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of each series at the end."""
        found = self.prometheus.get(
            "query", query=dashboards.filled(target["expr"], rate=RATE), time=str(self.end)
        )["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def curves(self, target: Json) -> list[Curve]:
        """A gap where there is nothing."""
        expr = dashboards.filled(target["expr"], rate=RATE)
        return [
            _with_gaps(named(target, series["metric"]), series["values"], self.step_s)
            for series in self._range(expr)
        ]

    def exemplars(self, target: Json) -> list[tuple[float, float, str]]:
        if not target.get("exemplar"):
            return []
        expr = dashboards.filled(target["expr"], rate=RATE)
        return dashboards.exemplars(self.prometheus, expr, self.begin, self.end)

    def alerts(self) -> Iterator[tuple[str, float, float]]:
        """Name, begin and end of each stretch in which an alert fired."""
        for series in self._range(ALERTS):
            times = [float(at) for at, _ in series["values"]]
            yield series["metric"]["alertname"], times[0], times[-1]

    def _range(self, expr: str) -> list[Json]:
        times = {"start": str(self.begin), "end": str(self.end), "step": str(self.step_s)}
        found: list[Json] = self.prometheus.get("query_range", query=expr, **times)["result"]
        return found


def named(target: Json, labels: Mapping[str, str]) -> str:
    """As the legend of a query has it."""
    legend: str = target.get("legendFormat", "")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def _with_gaps(name: str, points: list[tuple[float, str]], step_s: float) -> Curve:
    times, values = [], []
    for (at, value), (following, _) in pairwise([*points, (math.inf, "")]):
        times.append(float(at))
        values.append(float(value))
        if step_s * 1.5 < following - at < math.inf:
            times.append(at + step_s)
            values.append(math.nan)
    return Curve(name, times, values)
