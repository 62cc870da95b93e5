from __future__ import annotations

from contextlib import suppress
from email.message import EmailMessage

import pytest

from ingestion.errors import NotIndexable
from ingestion.parsing import at_hand, parse
from ingestion.parsing.documents import pdf as pdf_parser
from ingestion.parsing.sandbox import Sandbox
from ingestion.places import place_of
from ingestion.records import Parsed
from tests.documents import docx, pdf, shown


def parsed(body: bytes, name: str = "a.eml") -> Parsed:
    return parse(body, name, apart=at_hand)


def message(subject: str = "Terms", text: str = "See the terms.\n\nRegards") -> EmailMessage:
    one = EmailMessage()
    one["From"] = "Ann <ann@example.com>"
    one["To"] = "bob@example.com"
    one["Subject"] = subject
    one.set_content(text)
    return one


def test_a_message_comes_with_what_is_attached() -> None:
    one = message("Größe")
    one.add_alternative("<p>not this</p>", subtype="html")
    body = pdf([[("Part 1", ["On paper."])]])
    one.add_attachment(body, maintype="application", subtype="octet-stream", filename="terms.pdf")
    one.add_attachment(b"\x89PNG\r\n\x1a\n", maintype="image", subtype="png", filename="logo.png")
    one.add_attachment(b"# Notes\n\nof it", maintype="text", subtype="plain", filename="notes.md")
    assert shown(parsed(one.as_bytes())) == [
        ("Größe", "Größe", ""),
        ("Größe", "From: Ann <ann@example.com>\nTo: bob@example.com", ""),
        ("Größe", "See the terms.", ""),
        ("Größe", "Regards", ""),
        ("Größe/terms.pdf", "terms.pdf", "attachment 1"),
        ("Größe/terms.pdf/Part 1", "Part 1", "attachment 1, page 1"),
        ("Größe/terms.pdf/Part 1", "On paper.", "attachment 1, page 1"),
        ("Größe/logo.png", "logo.png", "attachment 2"),
        ("Größe/notes.md", "notes.md", "attachment 3"),
        ("Größe/notes.md/Notes", "# Notes", "attachment 3"),
        ("Größe/notes.md/Notes", "of it", "attachment 3"),
    ]


def test_a_message_in_a_message_is_read_and_not_without_end() -> None:
    inner = message("Innermost", "the word")
    for level in range(6):
        outer = message(f"Level {level}", "")
        outer.add_attachment(inner)
        inner = outer
    text = parsed(inner.as_bytes()).text
    assert "Level 5" in text
    assert "Level 2" in text
    assert "the word" not in text


def test_a_page_that_was_saved_as_one_file_is_that_page() -> None:
    page = (
        "From: <Saved by Blink>\r\nSubject: Shop\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/related; type="text/html"; boundary="b"\r\n\r\n--b\r\n'
        "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n"
        "Content-Location: https://shop.example/\r\n\r\n"
        "<html><title>Shop</title><h1>Chairs</h1><p>Gr=C3=BCn</p></html>\r\n--b\r\n"
        "Content-Type: text/css\r\nContent-Location: https://shop.example/a.css\r\n\r\np {}\r\n--b--\r\n"
    )
    one = parsed(page.encode(), "shop.mhtml")
    assert [text for _, text, _ in shown(one)] == ["Shop", 'From: "Saved by Blink"', "Shop", "Chairs", "Grün"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no header",
        b"Subject: =?utf-8?q?=FF?=\r\n\r\nx",
        b"Content-Type: multipart/mixed\r\n\r\nx",
        b":",
    ],
)
def test_what_is_hardly_a_message_is_what_it_can_be(body: bytes) -> None:
    with suppress(NotIndexable):  # it holds no word
        parsed(body)


def test_attachments_are_read_where_nothing_can_be_loaded_any_more() -> None:
    one = message(text="größer")
    for name, body in {
        "a.pdf": pdf([[("Paper", ["On paper."])]]),
        "a.docx": docx([("Word", ["In Word."])]),
        "a.html": b"<h1>Page</h1><p>On a page.",
        "a.md": b"# Mark\n\nDown.",
        "a.txt": "Привет, мир! Как дела?".encode("koi8-r"),
        "a.json": b'[{"key": "In JSON."}]',
        "a.csv": b"Head,Line\nIn,CSV.",
    }.items():
        one.add_attachment(body, maintype="application", subtype="octet-stream", filename=name)
    sandbox = Sandbox()
    apart = sandbox.parse("e-mail", one.as_bytes())
    sandbox.close()
    assert apart == parsed(one.as_bytes())
    for words in ("On paper.", "In Word.", "On a page.", "Down.", "key: In JSON.", "Head: In; Line: CSV."):
        assert words in apart.text


def test_text_goes_on_behind_an_attachment() -> None:
    one = message(text="Before the paper.")
    one.add_attachment(b"# Notes", maintype="text", subtype="plain", filename="notes.md")
    for text, subtype in (("Behind the paper.", "plain"), ("<p>And <b>further</b>.</p>", "html")):
        more = EmailMessage()
        more.set_content(text, subtype=subtype)
        one.attach(more)
    assert [text for _, text, _ in shown(parsed(one.as_bytes()))][2:] == [
        "Before the paper.",
        "Behind the paper.",
        "And further.",
        "notes.md",
        "# Notes",
    ]


def test_a_place_in_an_attachment_is_said_once() -> None:
    one = message()
    pages = pdf([[("Part 1", ["On paper."])], [("Part 2", ["More."])]])
    one.add_attachment(pages, maintype="application", subtype="pdf", filename="terms.pdf")
    found = parsed(one.as_bytes())
    start = found.text.index("terms.pdf")
    starts = [mark.start for mark in found.marks]
    assert place_of(found.marks, starts, start, found.text.index("paper")) == "attachment 1, page 1"
    assert place_of(found.marks, starts, start, len(found.text)) == "attachment 1, pages 1-2"


class _Broken(Exception):
    pass


def test_an_attachment_whose_parser_fails_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_body: bytes) -> Parsed:
        raise _Broken

    monkeypatch.setattr(pdf_parser, "parse", broken)
    one = message()
    one.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="terms.pdf")
    one.add_attachment(b"a,b\n1,2", maintype="text", subtype="csv", filename="a.csv")
    assert [text for _, text, _ in shown(parsed(one.as_bytes()))][-4:] == [
        "terms.pdf",
        "a.csv",
        "a | b",
        "a: 1; b: 2",
    ]
