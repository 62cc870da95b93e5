from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingestion.parsing.rst import parse_rst
from ingestion.records import BlockKind, Parsed


def shown(parsed: Parsed) -> list[tuple[str, str]]:
    return [(block.kind.value, parsed.text[block.start : block.end]) for block in parsed.blocks]


def test_every_kind_of_block() -> None:
    text = (
        "Title\n=====\n\nFor example::\n\n   literal\n\n     more\n\npara\n- not a list\n\n* item\n  on\n"
        "* next\n\n.. code-block:: python\n\n   x = 1\n\n.. note:: take care\n\n+---+\n| a |\n+---+\n\nend"
    )
    assert shown(parse_rst(text)) == [
        ("heading", "Title\n====="),
        ("paragraph", "For example::"),
        ("code", "   literal\n\n     more"),
        ("paragraph", "para"),
        ("list_item", "- not a list"),
        ("list_item", "* item\n  on"),
        ("list_item", "* next"),
        ("code", ".. code-block:: python\n\n   x = 1"),
        ("paragraph", ".. note:: take care"),
        ("table", "+---+\n| a |\n+---+"),
        ("paragraph", "end"),
    ]


def test_levels_follow_the_order_in_which_styles_appear() -> None:
    text = "====\nBook\n====\n\nOne\n====\n\nSub\n----\n\ntext\n\nTwo\n====\n"
    assert [block.heading_path for block in parse_rst(text).blocks] == [
        ("Book",),
        ("Book", "One"),
        ("Book", "One", "Sub"),
        ("Book", "One", "Sub"),
        ("Book", "Two"),
    ]


def test_a_transition_and_a_short_line_are_no_titles() -> None:
    parsed = parse_rst("before\n\n--------\n\nA long sentence\n--\n\nafter\n")
    assert not [block for block in parsed.blocks if block.kind is BlockKind.HEADING]


def test_directives_do_nothing() -> None:
    text = ".. include:: /etc/passwd\n\n.. raw:: html\n   :file: /etc/passwd\n\n.. csv-table::\n   :file: x\n"
    assert parse_rst(text).text == text


LINES = st.sampled_from(
    ["Title", "=====", "-----", "text", "::", "a::", "   in", "- b", "* c", "", "", ".. code::", "+-+"]
)


@given(st.lists(LINES, max_size=25).map("\n".join))
def test_every_word_lies_in_a_block(text: str) -> None:
    parsed = parse_rst(text)
    done = 0
    for block in parsed.blocks:
        assert done <= block.start < block.end <= len(text)
        assert not any(character.isalpha() for character in text[done : block.start])
        assert text[block.start : block.end].strip()
        done = block.end
    assert not any(character.isalpha() for character in text[done:])
