"""Numbers as Grafana writes and colours them: units, thresholds, mappings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

COLOURS = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
}
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#b877d9", "#56a64b", "#37872d", "#3274d9", "#ffa6b0")
_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"), (0.000001, "µs"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_COUNTS = ((1e6, "M"), (1e3, "K"))
_RATES = {"ops": " ops/s", "reqps": " req/s", "opm": " ops/min", "reqpm": " req/min"}
_STEPS_S = (15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """Three digits, unless it says how many."""
    if unit == "percentunit":
        return f"{_digits(100 * value, decimals)} %"
    if unit in _RATES:
        return f"{_digits(value, decimals)}{_RATES[unit]}"
    scales = {"s": _TIMES, "bytes": _BYTES}.get(unit, _COUNTS)
    for size, name in scales:
        if abs(value) >= size * (1 - 1e-9):
            return f"{_digits(value / size, decimals)} {name}"
    return _digits(value, decimals) + (" s" if unit == "s" else "")


def tick_step(highest: float, unit: str) -> float | None:
    """Between two lines of a grid, where tens are not what one counts in."""
    if unit == "bytes":
        return float(2.0 ** math.ceil(math.log2(max(highest, 1.0) / 5)))
    if unit == "s" and highest > 60:
        return next((step for step in _STEPS_S if highest / step <= 5), None)
    return None


def colour_at(value: float, steps: Sequence[Json]) -> str:
    """Of the highest step that the value reaches."""
    reached = [one for one in steps if one.get("value") is None or value >= one["value"]]
    return COLOURS[reached[-1]["color"]]


def mapped(value: str, mappings: Sequence[Json]) -> tuple[str, str] | None:
    """Text and colour of a value that has words of its own."""
    for one in mappings:
        found: Mapping[str, str] | None = one["options"].get(value)
        if found:
            return found["text"], COLOURS[found["color"]]
    return None


def _digits(value: float, decimals: int | None) -> str:
    if decimals is None:
        decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
        return f"{value:.{min(decimals, 3)}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"
    return f"{value:.{decimals}f}"
