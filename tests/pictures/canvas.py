"""A sheet that is measured in pixels from its top left corner, and what is put on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BACKGROUND, PANEL, BORDER, TEXT, FAINT = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#9a9da3"
TITLE_PX = 30
_PADDING_PX = 10

Align = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Place:
    x: float
    y: float
    width: float
    height: float

    def within(self, *, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Place:
        return Place(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


@dataclass(frozen=True, slots=True)
class Canvas:
    figure: Figure
    width: float
    height: float

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float,
        colour: str = TEXT,
        weight: str = "normal",
        align: Align = "left",
    ) -> None:
        """Its middle at this height."""
        self.figure.text(
            x / self.width, 1 - y / self.height, words, size=size, color=colour, weight=weight,
            ha=align, va="center",
        )  # fmt: skip

    def box(self, place: Place, colour: str, *, edge: str | None = None) -> None:
        self.figure.add_artist(
            Rectangle(
                (place.x / self.width, 1 - (place.y + place.height) / self.height),
                place.width / self.width,
                place.height / self.height,
                facecolor=colour,
                edgecolor=edge or colour,
                linewidth=0.8,
                zorder=0,
            )
        )

    def frame(self, place: Place, title: str) -> None:
        """A panel with its title, and nothing in it yet."""
        self.box(place, PANEL, edge=BORDER)
        self.text(place.x + _PADDING_PX, place.y + TITLE_PX / 2, title, size=9.5)

    def axes(self, place: Place) -> Axes:
        made = self.figure.add_axes(
            (
                place.x / self.width,
                1 - (place.y + place.height) / self.height,
                place.width / self.width,
                place.height / self.height,
            ),
            facecolor=PANEL,
        )
        for side in made.spines.values():
            side.set_visible(False)
        made.tick_params(colors=FAINT, labelsize=8, length=0, pad=3)
        return made
