from __future__ import annotations

import pytest

from ingestion.places import kept, parted, place_of
from ingestion.records import Mark

MARKS = [
    Mark(0, "", "page", 1),
    Mark(10, "", "page", 2),
    Mark(20, "", "page", 3),
    Mark(30, "sheet A", "row", 2),
    Mark(40, "sheet A", "row", 3),
]


@pytest.mark.parametrize(
    ("start", "end", "place"),
    [
        (0, 10, "page 1"),
        (0, 11, "pages 1-2"),
        (12, 30, "pages 2-3"),
        (30, 40, "sheet A, row 2"),
        (30, 99, "sheet A, rows 2-3"),
        (25, 35, "page 3 to sheet A, row 2"),
    ],
)
def test_a_place_names_what_the_passage_reaches_into(start: int, end: int, place: str) -> None:
    assert place_of(MARKS, [mark.start for mark in MARKS], start, end) == place


def test_what_stands_before_the_first_mark_has_no_place() -> None:
    late = [Mark(5, "", "page", 1)]
    assert place_of(late, [5], 0, 5) == ""
    assert place_of(late, [5], 0, 6) == "page 1"
    assert place_of([], [], 0, 6) == ""


@pytest.mark.parametrize("path", [(), ("Top",), ("Top", "page 3")])
@pytest.mark.parametrize("place", ["", "page 3"])
def test_path_and_place_are_kept_together_and_come_apart(path: tuple[str, ...], place: str) -> None:
    assert parted(kept(path, place)) == (path, place)
