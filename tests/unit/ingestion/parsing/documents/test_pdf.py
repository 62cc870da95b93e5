from __future__ import annotations

import pytest

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing import at_hand, parse
from ingestion.parsing.sandbox import Limits, Sandbox
from ingestion.records import BlockKind, Parsed
from tests.documents import drawn_pdf, pdf, scanned_pdf

WORDS = "The quick brown fox jumps over the lazy dog near the river bank while the sun goes down. "


def parsed(body: bytes) -> Parsed:
    return parse(body, "a.pdf", apart=at_hand)


def shown(one: Parsed) -> list[tuple[BlockKind, str]]:
    return [(block.kind, one.text[block.start : block.end]) for block in one.blocks]


def test_headings_paragraphs_and_tables_come_from_the_layout() -> None:
    body = pdf(
        [[("Returns", [WORDS * 3, "A second paragraph."]), ("Prices", ["What things cost:"])]],
        table=[["Item", "Price"], ["Blue chair", "12.50"], ["Red table", "45"]],
    )
    one = parsed(body)
    assert shown(one) == [
        (BlockKind.HEADING, "Returns"),
        (BlockKind.PARAGRAPH, (WORDS * 3).strip()),
        (BlockKind.PARAGRAPH, "A second paragraph."),
        (BlockKind.HEADING, "Prices"),
        (BlockKind.PARAGRAPH, "What things cost:"),
        (BlockKind.TABLE, "Item | Price"),
        (BlockKind.TABLE, "Blue chair | 12.50"),
        (BlockKind.TABLE, "Red table | 45"),
    ]
    assert one.blocks[1].heading_path == ("Returns",)
    assert one.blocks[-1].heading_path == ("Prices",)


def test_pages_are_counted_and_their_numbers_left_out() -> None:
    one = parsed(pdf([[(f"Part {number}", [f"Text of part {number}."])] for number in range(4)]))
    assert "Page" not in one.text
    assert [(mark.unit, mark.number, one.text[mark.start : mark.start + 6]) for mark in one.marks] == [
        ("page", number + 1, f"Part {number}") for number in range(4)
    ]


def test_a_longer_paper_has_the_same_text() -> None:
    """A page more changes "of 3" on every page, and nothing else: or every page would be embedded again."""
    pages = [[(f"Part {number}", [f"Text of part {number}."])] for number in range(4)]
    assert parsed(pdf(pages)).text.startswith(parsed(pdf(pages[:3])).text)


def test_a_paragraph_that_goes_on_on_the_next_page_is_one() -> None:
    lines = [(70.0, 760.0 - 12 * n, f"line {n} of a paragraph that never") for n in range(58)]
    upper = drawn_pdf(lines)
    flowing = pdf([[("Long", [WORDS.replace(". ", ", ") * 60])]])
    one = parsed(flowing)
    assert [mark.number for mark in one.marks] == [1, 2]
    assert [kind for kind, _ in shown(one)] == [BlockKind.HEADING, BlockKind.PARAGRAPH]
    assert len(shown(parsed(upper))) == 1


def test_columns_are_read_one_after_the_other_in_whatever_order_they_were_drawn() -> None:
    left = [(50.0, 700.0 - 12 * n, f"left {n}") for n in range(5)]
    right = [(320.0, 700.0 - 12 * n, f"right {n}") for n in range(5)]
    title = [(50.0, 740.0, "A title across both columns of this page, as wide as the page itself is, or so")]
    expected = [*(f"left {n}" for n in range(5)), *(f"right {n}" for n in range(5))]
    for drawn in ([*title, *left, *right], [*right, *left, *title]):
        words = parsed(drawn_pdf(drawn)).text
        places = [words.index(word) for word in expected]
        assert places == sorted(places)
        assert words.startswith("A title")


def test_a_word_broken_at_the_end_of_a_line_is_whole_again() -> None:
    one = parsed(
        drawn_pdf([(50, 700, "An embed-"), (50, 688, "ding of it, in the twenty-"), (50, 676, "First")])
    )
    assert one.text == "An embedding of it, in the twenty-First"


def test_bold_lines_are_headings_where_bold_is_rare() -> None:
    body = pdf([[("Main", [f"<b>Minor {n}</b>", WORDS * 2, WORDS]) for n in range(3)]])
    paths = {block.heading_path for block in parsed(body).blocks}
    assert ("Main", "Minor 2") in paths


def test_what_is_locked_or_a_picture_says_so() -> None:
    with pytest.raises(NotIndexable, match="encrypted: the PDF asks for a password"):
        parsed(pdf([[("Secret", ["x"])]], password="secret"))
    with pytest.raises(NotIndexable, match="scanned: 3 pages of pictures, and no text"):
        parsed(scanned_pdf(3))


@pytest.mark.parametrize("body", [b"%PDF-", b"%PDF-1.7\n" + b"\xff" * 1000])
def test_what_is_damaged_is_no_document(body: bytes) -> None:
    with pytest.raises(DocumentUnparsable, match=r"a\.pdf as PDF: it is damaged, or no PDF"):
        parsed(body)


def test_a_pdf_is_recognised_whatever_it_is_called() -> None:
    body = pdf([[("Title", ["Text."])]])
    assert parse(body, "a.md", apart=at_hand) == parsed(body)
    assert parse(b"about %PDF- files", "a.pdf", apart=at_hand).text == "about %PDF- files"


def test_a_page_of_very_many_lines_takes_no_time_for_each_line_before() -> None:
    body = drawn_pdf([(72, 800 - 12 * number, WORDS) for number in range(10_000)])
    sandbox = Sandbox(limits=Limits(wall_s=300.0, cpu_s=10))
    try:
        assert len(parse(body, "a.pdf", apart=sandbox.parse).blocks) == 1
    finally:
        sandbox.close()


@pytest.mark.parametrize("before", [b"\r\n", b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_one_that_begins_behind_something_else_is_one_all_the_same(before: bytes) -> None:
    body = before + pdf([[("Returns", ["Within two weeks."])]])
    assert shown(parsed(body))[1] == (BlockKind.PARAGRAPH, "Within two weeks.")
    assert parse(body, "download", "application/pdf", apart=at_hand).marks
    assert not parse(b"It begins with %PDF- and a version.", "a.txt", apart=at_hand).marks
