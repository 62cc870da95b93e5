"""A picture of a dashboard, drawn from its own JSON and from what a Prometheus answers to it.

Places, titles, units, colours, thresholds and legends are the dashboard's. It is a likeness: Grafana is not
used.
"""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from tests.dashboards import Json
from tests.pictures.answers import Exposure
from tests.pictures.canvas import BACKGROUND, FAINT, TEXT, Canvas, Place
from tests.pictures.panels import DRAWN

COLUMN_PX, ROW_PX, GAP_PX = 60, 34, 6
HEAD_PX = 46
PX_PER_INCH = 100
COLOURS_KEPT = 255


def draw(board: Json, exposure: Exposure, path: Path) -> None:
    """Write the picture of one dashboard."""
    mpl.use("agg")
    mpl.rcParams["font.family"] = "DejaVu Sans"
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    width, height = 24 * COLUMN_PX + GAP_PX, HEAD_PX + rows * ROW_PX + GAP_PX
    figure = Figure(
        figsize=(width / PX_PER_INCH, height / PX_PER_INCH), dpi=PX_PER_INCH, facecolor=BACKGROUND
    )
    canvas = Canvas(figure, width, height)
    _head(canvas, board, exposure, width)
    for panel in board["panels"]:
        place = _place(panel["gridPos"])
        if panel["type"] == "row":
            canvas.text(place.x + 4, place.y + place.height / 2, panel["title"], size=11, weight="bold")
        else:
            canvas.frame(place, panel["title"])
            DRAWN[panel["type"]](canvas, place, panel, exposure)
    _save(figure, path)


def _head(canvas: Canvas, board: Json, exposure: Exposure, width: int) -> None:
    canvas.text(14, HEAD_PX / 2, board["title"], size=14, weight="bold")
    canvas.text(300, HEAD_PX / 2, board["description"], size=11, colour=FAINT)
    begin, end = (
        datetime.datetime.fromtimestamp(at, tz=datetime.UTC) for at in (exposure.begin, exposure.end)
    )
    canvas.text(
        width - 14,
        HEAD_PX / 2,
        f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M} UTC",
        size=10,
        colour=TEXT,
        align="right",
    )


def _place(at: Json) -> Place:
    return Place(
        at["x"] * COLUMN_PX + GAP_PX,
        HEAD_PX + at["y"] * ROW_PX + GAP_PX,
        at["w"] * COLUMN_PX - GAP_PX,
        at["h"] * ROW_PX - GAP_PX,
    )


def _save(figure: Figure, path: Path) -> None:
    """With few colours: a README should load quickly."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=BACKGROUND)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(COLOURS_KEPT).save(path, optimize=True)
