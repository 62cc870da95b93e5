from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
import time

import pytest

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing import FORMATS, PARSER_VERSION, at_hand, format_of, read_alike
from ingestion.parsing import parse as parse_with
from ingestion.parsing.outline import MAX_TITLE, titled
from ingestion.records import BlockKind

parse = functools.partial(parse_with, apart=at_hand)

SAMPLES = {
    "a.md": "---\ntitle: T\n---\n# A\n\nx\n\n- item\n\n```\ncode\n```\n\n|a|\n|-|\n|b|\n\n## B\n\n> quote\n",
    "a.rst": "Title\n=====\n\ntext::\n\n  literal\n\n* item\n",
    "a.html": "<title>T</title><h1>A</h1><p>x<ul><li>item</ul><pre>code</pre><table><tr><td>a<td>b</table>",
    "a.txt": "one\ntwo\n\nthree\n",
    "a.py": "import x\n\n\ndef f():\n    a\n\n    b\n",
}


def test_a_change_of_what_is_parsed_needs_a_new_version() -> None:
    parsed = [parse(text.encode(), uri) for uri, text in SAMPLES.items()]
    digest = hashlib.sha256(repr([(p.text, list(p.blocks)) for p in parsed]).encode()).hexdigest()
    assert (PARSER_VERSION, digest[:16]) == ("3", "0190c394ef82110b")


ENDLESS = "word " * 100_000


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("a.md", f"# {ENDLESS}\n\nx"),
        ("a.md", f"{ENDLESS}\n---\n\nx"),
        ("a.md", f"---\ntitle: {ENDLESS}\n---\n\nx"),
        ("a.rst", f"{ENDLESS}\n{'=' * len(ENDLESS)}\n\nx"),
        ("a.html", f"<h1>{ENDLESS}</h1><p>x"),
        ("a.html", f"<title>{ENDLESS}</title><p>x"),
    ],
)
def test_a_heading_without_end_is_cut_where_it_stands_above_others(uri: str, text: str) -> None:
    parsed = parse(text.encode(), uri)
    last = parsed.blocks[-1]
    (title,) = last.heading_path
    assert parsed.text[last.start : last.end] == "x"
    assert title.startswith("word word")
    assert title.endswith("word…")
    assert MAX_TITLE - 5 < len(title) <= MAX_TITLE


def test_a_heading_that_people_write_is_kept_as_it_is() -> None:
    longest = "x" * MAX_TITLE
    assert parse(f"# {longest}".encode(), "a.md").blocks[0].heading_path == (longest,)


@pytest.mark.parametrize(
    ("uri", "media_type", "name"),
    [
        ("a/README.MD", None, "Markdown"),
        ("a.rst", None, "reStructuredText"),
        ("a.htm", None, "HTML"),
        ("Makefile", None, "plain text"),
        ("x.tar.py", None, "source code"),
        ("page", "text/html; charset=utf-8", "HTML"),
        ("page.md", "text/plain", "Markdown"),
        ("page.md", "application/x-unknown", "Markdown"),
        ("odd\udcff.md", None, "Markdown"),
    ],
)
def test_the_format_comes_from_media_type_or_suffix(uri: str, media_type: str | None, name: str) -> None:
    assert format_of(b"", uri, media_type).name == name


def test_no_suffix_belongs_to_two_formats() -> None:
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_a_page_may_declare_its_charset() -> None:
    body = '<meta charset="koi8-r"><p>мир</p>'.encode("koi8-r")
    parsed = parse(body, "a.html")
    assert (parsed.text, parsed.encoding) == ("мир", "koi8-r")


def test_a_source_may_declare_the_charset() -> None:
    assert parse("мир".encode("koi8-r"), "a.txt", "text/plain; charset=koi8-r").text == "мир"


@pytest.mark.parametrize("uri", [*SAMPLES, "a.unknown"])
def test_an_empty_document_has_no_blocks(uri: str) -> None:
    parsed = parse(b"", uri)
    assert (parsed.text, list(parsed.blocks)) == ("", [])


def test_a_binary_is_refused_whatever_its_suffix() -> None:
    with pytest.raises(NotIndexable):
        parse(b"\x89PNG\r\n\x1a\n", "notes.md")


def test_a_parser_that_fails_is_reported_without_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise RecursionError(text)

    monkeypatch.setattr("lxml.etree.HTMLParser", lambda **_: fail("secret"))
    with pytest.raises(DocumentUnparsable) as failed:
        parse(b"<p>secret</p>", "a.html")
    assert str(failed.value).startswith("Could not read a.html as HTML: its parser failed (RecursionError).")
    assert "secret" not in str(failed.value)


MARKS = [*"[>*`#-=|~<&\\!_a+.中", "\t", "\n", "\r", '"']
LINES = [f"{mark}\n" for mark in "[>*`#-|<a"]
MORE = ["a\n\n", "> - ", "- a\n", "```\n", "<!--\n"]
ROW = "a|" * 8 + "\n"
TABLE = (ROW + "-|" * 8 + "\n", ROW)
LONG = 1_000_000  # characters
TIMES = 16


@pytest.mark.parametrize(
    ("uri", "units"),
    [
        ("a.md", [*(("", unit) for unit in [*MARKS, *LINES, *MORE]), TABLE]),
        ("a.rst", [("", unit) for unit in ["-", "=", "a", "-\n", "a\n\n", "::\n\n", "==\n"]]),
        ("a.html", [("", unit) for unit in [*MARKS, "<!--", "</", "<a "]]),
        ("a.csv", [("", unit) for unit in ["a,b\n", ",", '"', '"",', "a;b,c\n", "\n"]]),
        ("a.json", [("", unit) for unit in ["[", '{"a":', '"', "[],", "1,"]]),
        ("a.jsonl", [("", unit) for unit in ["1\n", '{"a": 1}\n', "\n"]]),
        ("a.txt", [("", unit) for unit in ["a", "a\n", "a\n\n", " ", "\n", "\r"]]),
        ("a.py", [("", unit) for unit in ["a", "a\n", "a\n\n", " ", "\n", "\r", " \n"]]),
    ],
)
def test_time_grows_with_the_length_whatever_is_repeated(uri: str, units: list[tuple[str, str]]) -> None:
    """Time may grow with the length's power of 1.5, not with its square. Seconds would be the machine's."""
    for head, unit in units:
        short, long = (f"x{head}{unit * (size // len(unit))}x".encode() for size in (LONG // TIMES, LONG))
        grown: list[float] = []
        while len(grown) < 3 and (not grown or grown[-1] >= TIMES**1.5):  # other threads count too
            grown.append(_parse_s(long, uri) / max(_parse_s(short, uri), 0.02))
        assert min(grown) < TIMES**1.5, (unit[:20], grown)


def test_a_short_markdown_file_is_quick() -> None:
    body = (
        b"# Title\n\n"
        + b"A line of text, as it stands in a note, of some length.\n" * 5
        + b"\n- one\n- two\n" * 10
    )
    parse(body, "a.md")
    start = time.process_time()
    for _ in range(200):
        parse(body, "a.md")
    assert (time.process_time() - start) / 200 < 0.002  # 0.2 ms measured; the rest is for slow machines


def test_importing_loads_no_parser() -> None:
    heavy = "{'lxml', 'markdown_it', 'charset_normalizer', 'mdit_py_plugins'}"
    script = f"import sys, ingestion.parsing; print(sorted({heavy} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_offsets_reproduce_the_kinds() -> None:
    parsed = parse(SAMPLES["a.md"].encode(), "a.md")
    tables = [block for block in parsed.blocks if block.kind is BlockKind.TABLE]
    assert [parsed.text[block.start : block.end] for block in tables] == ["|a|\n|-|\n|b|"]


def _parse_s(body: bytes, uri: str) -> float:
    """Processor time of one parse, in seconds."""
    start = time.process_time()
    parse(body, uri)
    return time.process_time() - start


def test_what_no_name_says_its_beginning_says() -> None:
    for uri, body, name in (
        ("README", b"\xef\xbb\xbf\n <!DOCTYPE html><h1>Title</h1>", "HTML"),
        ("page", b"<html><body>Text.", "HTML"),
        ("data.unknown", b' {"a": [1]}\n', "JSON"),
        ("README", b"[draft] and then text", "plain text"),
        ("a.txt", b"<html><body>Text.", "plain text"),
        ("a.md", b"<html><body>Text.", "Markdown"),
    ):
        assert format_of(body, uri).name == name, uri
    assert not read_alike("README", "a.txt")


@pytest.mark.parametrize(
    ("body", "title", "paths"),
    [
        ("one", "Leave", [("Leave",)]),
        ("one", " Leave\n policy ", [("Leave policy",)]),
        ("one", " \n", [()]),
        (
            "# Leave\n\none\n\n## More\n\ntwo",
            "Leave",
            [("Leave",), ("Leave",), ("Leave", "More"), ("Leave", "More")],
        ),
        ("# Days\n\none", "Leave", [("Leave", "Days"), ("Leave", "Days")]),
        ("one", "x" * 9000, [("x" * (MAX_TITLE - 1) + "…",)]),
    ],
)
def test_a_title_of_the_source_s_stands_above_all(
    body: str, title: str, paths: list[tuple[str, ...]]
) -> None:
    before = parse(body.encode(), "a.md", apart=at_hand)
    after = titled(before, title)
    assert [block.heading_path for block in after.blocks] == paths
    assert after.text == before.text
    assert [(one.start, one.end) for one in after.blocks] == [(one.start, one.end) for one in before.blocks]
