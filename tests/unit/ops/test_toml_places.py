"""Lines of keys in a TOML file, against files written so that every line is known."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.toml_places import Place, dotted, line_of, places

VALUES = st.sampled_from(
    [
        "1",
        '"a # b = [c]"',
        "'\\'",
        '""',
        "[1, 2]",
        "[\n  '[',  # ]\n  2,\n]",
        '"""\nx = 1\n[y]\\""" """',
        "'''a''b'''",
        "'''''two quotes at the end'''''",
        "{a = {b = '}'}, c = 2}",
        "1979-05-27T07:32:00Z",
        "true # why = not",
    ]
)
KEYS = st.sampled_from(["a", "b-1", '"q.r"', "'s # t'", 'd . "e"', "f.g"])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Place, int]]:
    lines: list[str] = []
    expected: dict[Place, int] = {}
    for number in range(draw(st.integers(0, 4))):
        table: Place = ("list", number)
        lines += ["", "# [comment]"] * draw(st.integers(0, 1)) + [
            draw(st.sampled_from(["[[list]]", " [[ 'list' ]] # x"]))
        ]
        expected[table] = len(lines)
        for key in draw(st.lists(KEYS, unique=True)):
            names = {
                "a": ["a"],
                "b-1": ["b-1"],
                '"q.r"': ["q.r"],
                "'s # t'": ["s # t"],
                'd . "e"': ["d", "e"],
            }
            expected[(*table, *names.get(key, ["f", "g"]))] = len(lines) + 1
            lines += f"{key} = {draw(VALUES)}".split("\n")
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines), expected


@given(documents())
def test_every_key_and_table_is_found_on_its_line(document: tuple[str, dict[Place, int]]) -> None:
    text, expected = document
    tomllib.loads(text)
    assert places(text) == expected


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("[[a]]\n[a.b]\nc = 1\n[[a]]\n[[a.d]]\n[[a.d]]\ne = 1", ("a", 0, "b", "c"), 3),
        ("[[a]]\n[a.b]\nc = 1\n[[a]]\n[[a.d]]\n[[a.d]]\ne = 1", ("a", 1, "d", 1, "e"), 7),
        ("\n\na = 1", ("a",), 3),
        ("a = [\n {b = 1},\n {b = 2}]", ("a", 1, "b"), 1),
        ("a = 1", ("b",), None),
        ("", ("a",), None),
    ],
)
def test_the_nearest_line_of_a_place(text: str, place: Place, line: int | None) -> None:
    assert line_of(place, places(text)) == line


def test_places_as_people_write_them() -> None:
    assert dotted(("sources", 1, "root")) == "sources[1].root"
