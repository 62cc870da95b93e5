"""Where a passage stands in what people open: "page 3", "sheet Prices, rows 12-40". Pure.

A place is never embedded, because it changes with everything that is inserted above it. The ledger keeps
it behind the headings of a chunk's path, after a mark that no heading begins with: headings hold no
control characters, and the mark is one that counts as a space.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from ingestion.records import Mark

_MARK = "\x1f"


def place_of(marks: Sequence[Mark], starts: Sequence[int], start: int, end: int) -> str:
    """The place of ``text[start:end]``; '' where nothing is known of it. ``starts``: those of the marks."""
    first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
    if last < 0:
        return ""
    first = max(first, 0)
    while first < last and marks[first + 1].within.startswith(_said(marks[first])):
        first += 1  # what follows stands in it, and says so
    one, other = marks[first], marks[last]
    if one.within != other.within or one.unit != other.unit:
        return f"{_said(one)} to {_said(other)}"
    if one.number == other.number:
        return _said(one)
    return f"{_inside(one)}{one.unit}s {one.number}-{other.number}"


def kept(heading_path: Sequence[str], place: str) -> list[str]:
    """Path and place as the ledger keeps them."""
    return [*heading_path, _MARK + place] if place else list(heading_path)


def parted(path: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Heading path and place of what the ledger keeps."""
    *headings, last = path or ("",)
    if last.startswith(_MARK):
        return tuple(headings), last[1:]
    return tuple(path), ""


def _said(mark: Mark) -> str:
    return f"{_inside(mark)}{mark.unit} {mark.number}"


def _inside(mark: Mark) -> str:
    return f"{mark.within}, " if mark.within else ""
