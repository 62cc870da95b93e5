"""Each kind of panel, drawn into its place."""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from tests.dashboards import Json
from tests.pictures.answers import Curve, Exposure, named
from tests.pictures.canvas import BORDER, FAINT, PANEL, TEXT, TITLE_PX, Canvas, Place
from tests.pictures.values import COLOURS, PALETTE, colour_at, mapped, shown, tick_step

LEGEND_PX, LEGEND_LINE_PX, CELL_PX = 24, 16, 30
_CHARACTER_PX = 6.8
_DARK = "#111217"


def number(canvas: Canvas, place: Place, panel: Json, exposure: Exposure) -> None:
    """The value, or the names of the series, on the colour that its threshold gives."""
    defaults = panel["fieldConfig"]["defaults"]
    (target,) = panel["targets"]
    found = [(labels, value) for labels, value in exposure.latest(target) if math.isfinite(value)]
    inner = place.within(left=6, right=6, top=TITLE_PX, bottom=6)
    if not found:
        canvas.text(
            *_middle(inner), defaults.get("noValue", "No data"), size=15, colour=FAINT, align="center"
        )
        return
    by_name = panel["options"]["textMode"] == "name"
    height = inner.height / len(found)
    for position, (labels, value) in enumerate(found):
        tile = Place(inner.x, inner.y + position * height, inner.width, height - 2)
        canvas.box(tile, colour_at(value, defaults["thresholds"]["steps"]))
        words = (
            named(target, labels)
            if by_name
            else shown(value, defaults.get("unit", "short"), defaults.get("decimals"))
        )
        size = min(20 if by_name else 26, tile.height / 2.6, tile.width / len(words))
        canvas.text(*_middle(tile), words, size=size, colour=_DARK, weight="bold", align="center")


def curves(canvas: Canvas, place: Place, panel: Json, exposure: Exposure) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    found = [
        curve
        for target in panel["targets"]
        for curve in exposure.curves(target)
        if any(math.isfinite(value) for value in curve.values)
    ]
    dashed = [
        override["matcher"]["options"].strip("/")
        for override in panel["fieldConfig"]["overrides"]
        if any(one["id"] == "custom.lineStyle" for one in override["properties"])
    ]
    styled = _styled(found, dashed)
    lines = _legend(canvas, place, styled)
    inner = place.within(left=68, right=14, top=TITLE_PX + 6, bottom=LEGEND_PX + lines * LEGEND_LINE_PX + 6)
    axes = canvas.axes(inner)
    if not found:
        canvas.text(*_middle(place), "No data", size=11, colour=FAINT, align="center")
    _draw_curves(axes, styled, stacked=defaults["custom"].get("stacking", {}).get("mode") == "normal")
    for target in panel["targets"]:
        for at, value, _ in exposure.exemplars(target):
            axes.plot([at], [value], marker="D", markersize=2.4, color="#6ed0e0", alpha=0.6)
    _scale(axes, defaults, exposure, found)
    _thresholds(axes, defaults)
    _alerts(axes, exposure)


def states(canvas: Canvas, place: Place, panel: Json, exposure: Exposure) -> None:
    """A bar for each series, in the colours of its words."""
    defaults = panel["fieldConfig"]["defaults"]
    found = [curve for target in panel["targets"] for curve in exposure.curves(target)]
    axes = canvas.axes(place.within(left=90, right=14, top=TITLE_PX + 8, bottom=LEGEND_PX + 2))
    for row, curve in enumerate(found):
        for begin, end, value in _stretches(curve, exposure.step_s):
            words, colour = mapped(f"{value:g}", defaults["mappings"]) or ("", BORDER)
            axes.barh(row, end - begin, left=begin, height=0.72, color=colour)
            if (end - begin) / (exposure.end - exposure.begin) > 0.1:
                axes.text(begin, row, f" {words}", va="center", ha="left", size=9, color=_DARK)
    axes.set_yticks(range(len(found)), [curve.name for curve in found], color=TEXT)
    axes.set_ylim(-0.6, max(len(found), 1) - 0.4)
    _time(axes, exposure)
    _alerts(axes, exposure)


def table(canvas: Canvas, place: Place, panel: Json, exposure: Exposure) -> None:
    """A row for each source; columns, their names and their colours as transformations and overrides say."""
    rows, columns = _rows(panel, exposure), _columns(panel["transformations"][-1]["options"])
    styles = {one["matcher"]["options"]: one["properties"] for one in panel["fieldConfig"]["overrides"]}
    width = (place.width - 20) / len(columns)
    for number, (name, title) in enumerate(columns.items()):
        style = {one["id"]: one["value"] for one in styles.get(title, ())}
        x, y = place.x + 10 + number * width, place.y + TITLE_PX
        canvas.text(x + 6, y + 14, title, size=9, colour="#6e9fff")
        for line, row in enumerate(rows):
            cell = Place(x, y + 28 + line * CELL_PX, width - 3, CELL_PX - 3)
            words, colour = _cell(row.get(name), style)
            canvas.box(cell, colour or PANEL)
            canvas.text(x + 6, cell.y + CELL_PX / 2, words, size=9.5, colour=_DARK if colour else TEXT)


DRAWN: Mapping[str, Callable[[Canvas, Place, Json, Exposure], None]] = {
    "stat": number,
    "timeseries": curves,
    "state-timeline": states,
    "table": table,
}


def _rows(panel: Json, exposure: Exposure) -> list[Json]:
    rows: dict[str, Json] = {}
    for target in panel["targets"]:
        for labels, value in exposure.latest(target):
            rows.setdefault(labels["source"], {}).update({**labels, f"Value #{target['refId']}": value})
    return [rows[source] for source in sorted(rows)]


def _columns(organized: Json) -> dict[str, str]:
    """Their titles, in their order."""
    ordered = sorted(organized["indexByName"], key=organized["indexByName"].get)
    return {
        name: organized["renameByName"][name] for name in ordered if not organized["excludeByName"].get(name)
    }


def _cell(value: object, style: Json) -> tuple[str, str | None]:
    if value is None:
        return "", None
    if not isinstance(value, float):
        found = mapped(str(value), style.get("mappings", ()))
        return found or (str(value), None)
    steps = style.get("thresholds", {}).get("steps")
    return shown(value, style.get("unit", "short")), colour_at(value, steps) if steps else None


def _styled(found: Sequence[Curve], dashed: Sequence[str]) -> list[tuple[Curve, str, bool]]:
    """Each with its colour, and whether it is what was promised."""
    colours = itertools.cycle(PALETTE)
    return [
        (curve, COLOURS["red"] if promised else next(colours), promised)
        for curve in found
        for promised in [any(re.search(pattern, curve.name) for pattern in dashed)]
    ]


def _draw_curves(axes: Axes, styled: Sequence[tuple[Curve, str, bool]], *, stacked: bool) -> None:
    if stacked and styled:
        times = sorted({at for curve, _, _ in styled for at in curve.times})
        heights = []
        for curve, _, _ in styled:
            at = dict(zip(curve.times, curve.values, strict=True))
            heights.append([_number(at.get(time)) for time in times])
        colours = [colour for _, colour, _ in styled]
        axes.stackplot(times, heights, colors=colours, alpha=0.75, linewidth=0)
        return
    for curve, colour, promised in styled:
        axes.plot(curve.times, curve.values, color=colour, linewidth=1.4, linestyle="--" if promised else "-")
        if not promised:
            axes.fill_between(curve.times, curve.values, color=colour, alpha=0.06, linewidth=0)


def _scale(axes: Axes, defaults: Json, exposure: Exposure, found: Sequence[Curve]) -> None:
    unit = defaults.get("unit", "short")
    axes.grid(axis="y", color=BORDER, linewidth=0.6)
    axes.set_axisbelow(True)
    if defaults["custom"].get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0), numticks=9))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(which="minor", length=0)
    else:
        highest = max((v for curve in found for v in curve.values if math.isfinite(v)), default=1.0)
        axes.set_ylim(0, max(axes.get_ylim()[1], highest * 1.1) if highest > 0 else 1)
        step = tick_step(highest, unit)
        axes.yaxis.set_major_locator(
            MultipleLocator(step) if step else MaxNLocator(5, integer=unit == "short" and highest >= 3)
        )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    _time(axes, exposure)


def _time(axes: Axes, exposure: Exposure) -> None:
    axes.set_xlim(exposure.begin, exposure.end)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{_moment(at):%H:%M}"))
    minutes = range(math.ceil(exposure.begin / 60), math.floor(exposure.end / 60) + 1)
    axes.set_xticks([60.0 * minute for minute in minutes][:: max(1, len(minutes) // 6)])


def _thresholds(axes: Axes, defaults: Json) -> None:
    if defaults["custom"].get("thresholdsStyle", {}).get("mode") != "dashed":
        return
    for step in defaults["thresholds"]["steps"]:
        if step.get("value") is not None and step["value"] <= axes.get_ylim()[1]:
            axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=1, linestyle="--")


def _alerts(axes: Axes, exposure: Exposure) -> None:
    """A red stretch while any alert fires."""
    for _, begin, end in exposure.alerts():
        axes.axvspan(begin, end, color=COLOURS["red"], alpha=0.12, linewidth=0)
        axes.axvline(begin, color=COLOURS["red"], linewidth=0.8, linestyle=":")


def _legend(canvas: Canvas, place: Place, styled: Sequence[tuple[Curve, str, bool]]) -> int:
    """From the panel's bottom up; returns how many lines it took."""
    lines: list[list[tuple[Curve, str, bool]]] = [[]]
    used = 0.0
    for one in styled:
        width = 26 + _CHARACTER_PX * len(one[0].name)
        if used + width > place.width - 20 and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append(one)
        used += width
    for number, line in enumerate(reversed(lines)):
        x, y = place.x + 12, place.y + place.height - 12 - number * LEGEND_LINE_PX
        for curve, colour, promised in line:
            canvas.text(x, y, "╍" if promised else "━", size=9, colour=colour)
            canvas.text(x + 16, y, curve.name, size=8, colour=TEXT)
            x += 26 + _CHARACTER_PX * len(curve.name)
    return len(lines)


def _stretches(curve: Curve, step_s: float) -> list[tuple[float, float, float]]:
    """Begin, end and value of what stays the same."""
    found: list[tuple[float, float, float]] = []
    for at, value in zip(curve.times, curve.values, strict=True):
        if math.isnan(value):
            continue
        if found and found[-1][2] == value and found[-1][1] >= at:
            found[-1] = (found[-1][0], at + step_s, value)
        else:
            found.append((at, at + step_s, value))
    return found


def _middle(place: Place) -> tuple[float, float]:
    return place.x + place.width / 2, place.y + place.height / 2


def _number(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else value


def _moment(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, tz=datetime.UTC)
