"""The committed dashboards, and their queries as Grafana would send them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.prometheus import Prometheus

FOLDER = Path(__file__).parents[1] / "ops" / "grafana" / "dashboards"
HOUR_S = 3600
DEADLINE_S, POLL_S = 120.0, 0.5
RUNBOOK = "headwater-runbook"
_VARIABLES = {"$source": ".*", "$lane": "fresh"}

Json = dict[str, Any]

DASHBOARDS: dict[str, Json] = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
MEASURED = {name: board for name, board in DASHBOARDS.items() if board["uid"] != RUNBOOK}


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel, as it is written."""

    board: str
    panel: str
    expr: str
    exemplars: bool

    def filled(self) -> str:
        return filled(self.expr)


def panels(board: Json) -> list[Json]:
    """Without the headings between them."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    for name, board in MEASURED.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(name, panel["title"], target["expr"], bool(target.get("exemplar")))


def filled(expr: str, *, rate: str = "5m") -> str:
    """With every variable as a user finds it, and this window for every rate."""
    for variable, value in {**_VARIABLES, "$__rate_interval": rate}.items():
        expr = expr.replace(variable, value)
    return expr


def all_show_something(prometheus: Prometheus, *, but: set[tuple[str, str]]) -> None:
    """Wait until every query has given a number, and documents where it should; but not these panels'.

    A query that has is not asked again: Prometheus has better to do.
    """
    ends = time.monotonic() + DEADLINE_S
    waiting = list(asked())
    while True:
        waiting = [one for one in waiting if not _has_data(prometheus, one)]
        without = {(one.board, one.panel) for one in waiting}
        if without <= but:
            break
        assert time.monotonic() < ends, f"no data in {DEADLINE_S:g} s: {sorted(without - but)}"
        time.sleep(POLL_S)
    assert without == but, f"not empty after all: {sorted(but - without)}"


def _has_data(prometheus: Prometheus, one: Asked) -> bool:
    expr = one.filled()
    if one.exemplars and not exemplars(prometheus, expr, time.time() - HOUR_S, time.time()):
        return False
    return any(math.isfinite(sample.value) for sample in prometheus.query(expr))


def exemplars(prometheus: Prometheus, expr: str, begin: float, end: float) -> list[tuple[float, float, str]]:
    """Time, value and generation of the documents that Prometheus keeps for the series of a query."""
    found = prometheus.get("query_exemplars", query=expr, start=str(begin), end=str(end))
    return [
        (float(one["timestamp"]), float(one["value"]), one["labels"]["generation"])
        for series in found
        for one in series["exemplars"]
    ]
