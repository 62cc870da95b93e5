from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.parsing.code import parse_code
from ingestion.parsing.plain import parse_plain
from ingestion.records import BlockKind, Parsed

TEXTS = st.text(alphabet="ab }\t\n\r\x0b\x0c\x85\u2028)é", max_size=80)


def contents(parsed: Parsed) -> list[str]:
    return [parsed.text[block.start : block.end] for block in parsed.blocks]


def assert_only_blanks_between(parsed: Parsed) -> None:
    done = 0
    for block in parsed.blocks:
        assert done <= block.start < block.end
        assert not parsed.text[done : block.start].strip()
        assert parsed.text[block.start : block.end].strip()
        done = block.end
    assert not parsed.text[done:].strip()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_plain_text_has_paragraphs(newline: str) -> None:
    text = newline.join(["  one", "two  ", " \t", "", "three", ""])
    assert contents(parse_plain(text)) == [f"one{newline}two", "three"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_code_has_runs_at_the_left_margin(newline: str) -> None:
    source = ["", "# licence", "", "import x", "", "", "def f():", "    a", "", "    b", "class C:", "", "}"]
    expected = ["# licence", "import x", newline.join(source[6:])]
    parsed = parse_code(newline.join(source))
    assert contents(parsed) == expected
    assert {block.kind for block in parsed.blocks} == {BlockKind.CODE}


def test_code_keeps_its_first_indentation() -> None:
    assert contents(parse_code("\n    a\n\nb\n")) == ["    a", "b"]


@given(TEXTS)
def test_plain_blocks_hold_everything(text: str) -> None:
    assert_only_blanks_between(parse_plain(text))


@given(TEXTS)
def test_code_blocks_hold_everything_in_whole_lines(text: str) -> None:
    parsed = parse_code(text)
    assert_only_blanks_between(parsed)
    assert all(block.start == 0 or text[block.start - 1] in "\r\n" for block in parsed.blocks)
