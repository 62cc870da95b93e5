from __future__ import annotations

import re
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.parsing.markdown import parse_markdown
from ingestion.records import BlockKind, Parsed

MARKERS = re.compile(r"[\s>*+\-_=#~`:|.)0-9\[\]]")


def shown(parsed: Parsed) -> list[tuple[str, str]]:
    return [(block.kind.value, parsed.text[block.start : block.end]) for block in parsed.blocks]


def paths(parsed: Parsed) -> list[tuple[str, ...]]:
    return [block.heading_path for block in parsed.blocks]


def assert_sound(parsed: Parsed) -> None:
    done = 0
    for block in parsed.blocks:
        assert done <= block.start < block.end <= len(parsed.text)
        assert parsed.text[block.start : block.end].strip()
        done = block.end


def test_every_kind_of_block() -> None:
    text = (
        "# Title\n\nA paragraph\nof two lines.\n\n- one\n  more\n\n  a second paragraph\n  1. deeper\n"
        "> quoted\n\n```rust\nfn x() {}\n```\n\n    indented code\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "***\n<div>\nhtml\n</div>\n\n[ref]: http://localhost\n"
    )
    assert shown(parse_markdown(text)) == [
        ("heading", "# Title"),
        ("paragraph", "A paragraph\nof two lines."),
        ("list_item", "- one\n  more"),
        ("list_item", "a second paragraph"),
        ("list_item", "1. deeper"),
        ("paragraph", "> quoted"),
        ("code", "```rust\nfn x() {}\n```"),
        ("code", "    indented code"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("paragraph", "<div>\nhtml\n</div>"),
        ("paragraph", "[ref]: http://localhost"),
    ]


def test_heading_paths_follow_the_levels() -> None:
    text = "intro\n\n# A\n\n## B *b*\n\ntext\n\n#### C\n\nD\nd\n---\n\nE\n==="
    assert paths(parse_markdown(text)) == [
        (),
        ("A",),
        ("A", "B *b*"),
        ("A", "B *b*"),
        ("A", "B *b*", "C"),
        ("A", "D d"),
        ("E",),
    ]


def test_headings_in_lists_and_quotes_open_no_section() -> None:
    parsed = parse_markdown("# A\n\n> # quoted\n\n- # listed\n\ntext")
    assert paths(parsed) == [("A",)] * 4
    assert [kind for kind, _ in shown(parsed)] == ["heading", "paragraph", "list_item", "paragraph"]


def test_an_empty_heading_is_no_block() -> None:
    assert shown(parse_markdown("#\n\ntext")) == [("paragraph", "text")]


def test_the_title_of_the_front_matter_stands_above_everything() -> None:
    parsed = parse_markdown('---\ntitle: "Leave"\ntags: [hr]\n---\n\ntext\n\n# Rules\n\nmore')
    assert paths(parsed) == [("Leave",), ("Leave",), ("Leave", "Rules"), ("Leave", "Rules")]
    assert shown(parsed)[0] == ("paragraph", '---\ntitle: "Leave"\ntags: [hr]\n---')


def test_a_heading_that_repeats_the_title_replaces_it() -> None:
    assert paths(parse_markdown("---\ntitle: Leave\n---\n# Leave\n\ntext")) == [("Leave",)] * 3


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_offsets_hold_for_every_kind_of_newline(newline: str) -> None:
    text = newline.join(
        ["# A", "", "one\x0ctwo\u2028three\x85four", "five", "", "- six", "", "```", "x", "```"]
    )
    assert [content for _, content in shown(parse_markdown(text))] == [
        "# A",
        f"one\x0ctwo\u2028three\x85four{newline}five",
        "- six",
        f"```{newline}x{newline}```",
    ]


def test_nesting_deeper_than_the_parser_goes_keeps_its_text() -> None:
    parsed = parse_markdown("> " * 40 + "deep down\n\nand after")
    assert [content for _, content in shown(parsed)] == ["> " * 40 + "deep down", "and after"]


def test_very_many_short_lines_are_read_as_plain_text() -> None:
    parsed = parse_markdown("# a\n\n" * 60_000)
    assert {block.kind for block in parsed.blocks} == {BlockKind.PARAGRAPH}
    assert len(parsed.blocks) == 60_000


def test_a_long_document_keeps_its_headings() -> None:
    parsed = parse_markdown("# Chapter\n\nA line of an ordinary length in a long document.\n\n" * 20_000)
    assert sum(block.kind is BlockKind.HEADING for block in parsed.blocks) == 20_000


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\x0c\u2028\n", "***", "-", "> "])
def test_nothing_to_find_gives_no_blocks(text: str) -> None:
    assert parse_markdown(text).blocks == []


LINES = st.sampled_from(
    [
        "# Head",
        "Head\n===",
        "text here",
        "- item",
        "  more",
        "1. num",
        "> quote",
        "```",
        "~~~",
        "    code",
        "\ttab",
        "|a|b|",
        "|-|-|",
        "---",
        "",
        "",
        "<div>",
        "</div>",
        "<!-- note",
        "-->",
        "[x]: y",
        "#",
        "\x0cfeed",
        "a\rb",
        "+ x",
    ]
)


@given(st.lists(LINES, max_size=30).map("\n".join))
@example("- a\n\n      b\n c")
def test_what_can_be_searched_for_lies_in_a_block(text: str) -> None:
    parsed = parse_markdown(text)
    assert_sound(parsed)
    covered = bytearray(len(text))
    for block in parsed.blocks:
        covered[block.start : block.end] = b"\1" * (block.end - block.start)
    lost = [text[at] for at in range(len(text)) if not covered[at] and not MARKERS.match(text[at])]
    assert lost == []


@given(st.text(max_size=300))
def test_any_text_gives_sound_blocks(text: str) -> None:
    parsed = parse_markdown(text)
    assert_sound(parsed)
    covered = {at for block in parsed.blocks for at in range(block.start, block.end)}
    assert [c for at, c in enumerate(text) if c.isalpha() and at not in covered] == []


def test_one_parser_serves_many_threads() -> None:
    texts = [f"# T{number}\n\n" + "- item\n\n> quote\n\n" * number for number in range(1, 40)]
    expected = [parse_markdown(text) for text in texts]
    wrong: list[str] = []

    def work() -> None:
        wrong.extend(
            text for text, parsed in zip(texts, expected, strict=True) if parse_markdown(text) != parsed
        )

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
