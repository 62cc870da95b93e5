from __future__ import annotations

import json

import pytest

from ingestion.parsing import at_hand, parse
from ingestion.parsing.sandbox import Sandbox
from ingestion.parsing.sandbox.answers import MAX_BLOCKS
from ingestion.places import place_of
from ingestion.records import BlockKind, Parsed


def parsed(text: str, uri: str) -> Parsed:
    return parse(text.encode(), uri, apart=at_hand)


def shown(one: Parsed) -> list[tuple[str, str]]:
    """Text and place of each block."""
    starts = [mark.start for mark in one.marks]
    return [
        (one.text[block.start : block.end], place_of(one.marks, starts, block.start, block.end))
        for block in one.blocks
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_rows_say_what_their_values_are(separator: str) -> None:
    rows = [["Item", "Price", "Note"], ["Blue chair", "12.50", ""], [], ["Red table", "45", '"two\nlines"']]
    text = "\n".join(separator.join(row) for row in rows)
    assert shown(parsed(text, "a.csv")) == [
        ("Item | Price | Note", "row 1"),
        ("Item: Blue chair; Price: 12.50", "row 2"),
        ("Item: Red table; Price: 45; Note: two lines", "row 4"),
    ]


def test_a_table_without_a_header_is_rows_of_values() -> None:
    assert shown(parsed("1,2.5\n3,4\n", "a.csv")) == [("1 | 2.5", "row 1"), ("3 | 4", "row 2")]


def test_names_that_would_be_a_flood_head_the_rows_instead() -> None:
    header = ",".join(f"{'name ' * 20}{n}" for n in range(100))
    text = header + "\n" + "\n".join(",".join("x" * 100) for _ in range(2_000))
    one = parsed(text, "a.csv")
    assert len(one.text) < 4 * len(text) + 2**20
    assert shown(one)[1][0] == " | ".join("x" * 100)
    assert one.blocks[1].heading_path[0].startswith("name name")
    assert shown(one)[1][1] == "row 2"


def test_very_many_rows_are_no_more_than_can_be_taken_over() -> None:
    text = "number,kind\n" + "".join(f"{number},b\n" for number in range(MAX_BLOCKS + 100_000))
    sandbox = Sandbox()
    try:
        one = parse(text.encode(), "a.csv", apart=sandbox.parse)
    finally:
        sandbox.close()
    assert len(one.blocks) < MAX_BLOCKS
    assert one.text.endswith("599999 | b")
    assert one.blocks[-1].heading_path == ("number | kind",)
    at = one.text.index("599990")
    assert place_of(one.marks, [mark.start for mark in one.marks], at, at + 1) == "row 599990"


@pytest.mark.parametrize("text", ["", "only words\n", "a,b\n" + '"' + "x" * 200_000])
def test_what_is_no_table_is_text(text: str) -> None:
    assert parsed(text, "a.csv").text == text


def test_a_list_is_a_row_for_each_item() -> None:
    text = json.dumps(
        [{"name": "Blue chair", "size": {"width": 40}, "tags": ["new", "blue"]}, {"name": None}, 3]
    )
    assert shown(parsed(text, "a.json")) == [
        ("name: Blue chair; size.width: 40; tags: new, blue", "item 1"),
        ("3", "item 3"),
    ]


def test_lists_within_an_object_stand_under_their_names() -> None:
    one = parsed(json.dumps({"title": "Prices", "chairs": [{"price": 12.5}], "valid": True}), "a.json")
    assert shown(one) == [
        ("title: Prices", ""),
        ("valid: true", ""),
        ("chairs", "chairs, item 1"),
        ("price: 12.5", "chairs, item 1"),
    ]
    assert one.blocks[-1].heading_path == ("chairs",)


def test_each_line_is_a_row() -> None:
    assert shown(parsed('{"a": 1}\n\n{"a": {"b": "two"}}\n', "a.jsonl")) == [
        ("a: 1", "line 1"),
        ("a.b: two", "line 3"),
    ]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ipynb"])
@pytest.mark.parametrize(
    "text",
    ["{", '{"a": 1} // a comment', "[" * 100_000 + "]" * 100_000, '"text"', '{"a":' * 150 + "1" + "}" * 150],
)
def test_what_is_no_record_is_text(name: str, text: str) -> None:
    assert parsed(text, name).text in (text, text.strip('"'))


NOTEBOOK = {
    "nbformat": 4,
    "cells": [
        {"cell_type": "markdown", "source": ["# Costs\n", "\n", "What they are."]},
        {
            "cell_type": "code",
            "source": "print('```')",
            "outputs": [{"output_type": "stream", "text": ["42\n"]}],
        },
        {"cell_type": "code", "source": "", "outputs": []},
        {"cell_type": "code", "source": "x", "outputs": [{"data": {"text/plain": "7"}}]},
    ],
}


def test_cells_of_a_notebook_stand_under_its_headings() -> None:
    one = parsed(json.dumps(NOTEBOOK), "a.ipynb")
    assert shown(one) == [
        ("# Costs", "cell 1"),
        ("What they are.", "cell 1"),
        ("````\nprint('```')\n````", "cell 2"),
        ("```\n42\n\n```", "cell 2"),
        ("```\nx\n```", "cell 4"),
        ("```\n7\n```", "cell 4"),
    ]
    assert {block.heading_path for block in one.blocks} == {("Costs",)}
    assert one.blocks[-1].kind is BlockKind.CODE


def test_what_is_large_is_parsed_apart_and_comes_out_the_same() -> None:
    text = json.dumps([{"number": number, "name": "é" * 20} for number in range(40_000)])
    asked: list[str] = []

    def apart(name: str, body: bytes) -> Parsed:
        asked.append(name)
        return at_hand(name, body)

    one = parse(text.encode(), "a.json", apart=apart)
    assert asked == ["JSON"]
    assert shown(one)[-1] == (f"number: 39999; name: {'é' * 20}", "item 40000")
    parse(b"[1]", "a.json", apart=apart)
    assert asked == ["JSON"]


def test_a_list_further_within_is_a_row_for_each_item_too() -> None:
    items = [{"name": "chair", "price": 3}, {"name": "table", "price": 4}]
    text = json.dumps({"old": [{"name": "bench"}], "page": 1, "data": {"total": 2, "items": items}})
    one = parsed(text, "a.json")
    assert shown(one) == [
        ("page: 1", ""),
        ("data.total: 2", ""),
        ("old", "old, item 1"),
        ("name: bench", "old, item 1"),
        ("data.items", "data.items, item 1"),
        ("name: chair; price: 3", "data.items, item 1"),
        ("name: table; price: 4", "data.items, item 2"),
    ]
    assert one.blocks[-1].heading_path == ("data.items",)
