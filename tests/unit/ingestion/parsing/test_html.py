from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.parsing.html import parse_html
from ingestion.records import Parsed


def shown(parsed: Parsed) -> list[tuple[str, str]]:
    return [(block.kind.value, parsed.text[block.start : block.end]) for block in parsed.blocks]


def contents(html: str) -> list[str]:
    return [content for _, content in shown(parse_html(html))]


def test_every_kind_of_block() -> None:
    parsed = parse_html(
        "<h1>Top</h1><p>Hello <b>bo</b>ld\n world<br>second line</p><ul><li>one<ul><li>sub</li></ul></li>"
        "</ul><pre>  a\n    b</pre><table><tr><th>A<th>B</tr><tr><td><p>1</p></td><td>2</td></tr></table>tail"
    )
    assert shown(parsed) == [
        ("heading", "Top"),
        ("paragraph", "Hello bold world\nsecond line"),
        ("list_item", "one"),
        ("list_item", "sub"),
        ("code", "  a\n    b"),
        ("table", "A | B\n1 | 2"),
        ("paragraph", "tail"),
    ]


def test_headings_and_the_title_give_the_paths() -> None:
    parsed = parse_html("<title>Site</title><h1>A</h1><p>x</p><h3>B</h3><p>y</p><h2>C</h2>z")
    assert [block.heading_path for block in parsed.blocks] == [
        ("Site",),
        ("Site", "A"),
        ("Site", "A"),
        ("Site", "A", "B"),
        ("Site", "A", "B"),
        ("Site", "A", "C"),
        ("Site", "A", "C"),
    ]


@pytest.mark.parametrize("title", ["Travel rules", "Travel\n rules"])
def test_a_title_that_the_first_heading_repeats_is_no_block_of_its_own(title: str) -> None:
    parsed = parse_html(f"<title>{title}</title><h1>Travel rules</h1><p>x</p>")
    assert shown(parsed) == [("heading", "Travel rules"), ("paragraph", "x")]
    assert {block.heading_path for block in parsed.blocks} == {("Travel rules",)}


def test_what_is_not_main_text_is_dropped() -> None:
    html = (
        "<style>a</style><script>if (a < b) {}</script><header>h</header><nav><p>n</p></nav><p>kept</p>"
        "<aside>s</aside><noscript>j</noscript><template>t</template><!-- c --><footer>f</footer>"
    )
    assert contents(html) == ["kept"]


def test_a_marked_main_part_is_all_that_counts() -> None:
    html = (
        "<title>T</title><div>menu</div><main><header><h1>H</h1></header><p>text</p></main><div>links</div>"
    )
    assert contents(html) == ["T", "H", "text"]


def test_character_references_and_entities() -> None:
    assert contents("<p>a &amp; b &lt;c&gt; &#8364; &nbsp;d &#0;</p>") == ["a & b <c> € d \ufffd"]


@pytest.mark.parametrize("html", ["", " ", "<p></p>", "<html></html>", "<!doctype html>", "<!-- only -->"])
def test_no_text_gives_no_blocks(html: str) -> None:
    assert parse_html(html).blocks == []


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "found",
        "<b>" * 100_000 + "found" + "</b>" * 100_000,
        "<div></p>" * 100_000 + "found",
        "<div>" * 100_000 + "</x>" * 100_000 + "found",
        "<table><tr><td>" * 60_000 + "found",
        "<p " * 100_000 + ">found",
        "<" * 1_000_000 + ">found",
        "<p>found" + "&" * 1_000_000,
        "<ul><li>" * 100_000 + "found",
    ],
)
def test_hostile_markup_takes_no_time_and_no_stack(html: str) -> None:
    start = time.process_time()
    parsed = parse_html(html)
    assert time.process_time() - start < 2
    assert "found" in parsed.text


@given(st.text(alphabet="<>/ab=\"'& \np!-hr1tdl", max_size=200))
def test_any_markup_gives_sound_blocks(html: str) -> None:
    parsed = parse_html(html)
    done = 0
    for block in parsed.blocks:
        assert done <= block.start < block.end <= len(parsed.text)
        assert not parsed.text[done : block.start].strip()
        done = block.end
    assert not parsed.text[done:].strip()
