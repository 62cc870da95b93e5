from __future__ import annotations

import datetime
import io
import re
import zipfile

import pytest
from openpyxl import Workbook

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing import at_hand, parse
from ingestion.parsing.sandbox import Sandbox
from ingestion.places import place_of
from ingestion.records import Parsed
from tests.documents import Section, docx, drawn_pdf, epub, odp, odt, pptx, saved, shown, xlsx, zipped

SECTIONS: list[Section] = [
    ("Returns", ["Within ten days.", "Not later."]),
    ("Prices & more", ["See <below>."]),
]
TABLE = [["Item", "Price"], ["Blue chair", "12.50"]]


def parsed(body: bytes, name: str = "a.unknown") -> Parsed:
    return parse(body, name, apart=at_hand)


def test_a_text_document_keeps_its_headings_lists_and_tables() -> None:
    one = parsed(docx(SECTIONS, title="Handbook", table=TABLE, items=["first", "second"]))
    below = "Handbook/Prices & more"
    assert shown(one) == [
        ("Handbook", "Handbook", ""),
        ("Handbook/Returns", "Returns", ""),
        ("Handbook/Returns", "Within ten days.", ""),
        ("Handbook/Returns", "Not later.", ""),
        (below, "Prices & more", ""),
        (below, "See <below>.", ""),
        (below, "first", ""),
        (below, "second", ""),
        (below, "Item | Price", ""),
        (below, "Blue chair | 12.50", ""),
    ]


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
TYPES = "<Types/>"
RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>'
)


def word(body: str, declared: str = "") -> bytes:
    document = f"{declared}<w:document {W}><w:body>{body}</w:body></w:document>"
    return zipped({"[Content_Types].xml": TYPES, "_rels/.rels": RELATIONS, "word/document.xml": document})


def test_what_was_deleted_under_review_is_not_there() -> None:
    body = (
        "<w:p><w:r><w:t>Ten</w:t></w:r><w:del><w:r><w:delText> nine</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t> days</w:t></w:r></w:ins></w:p><w:sdt><w:sdtContent><w:p><w:r><w:t>A</w:t><w:tab/>"
        "<w:t>B</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    )
    assert parsed(word(body)).text == "Ten days\n\nA B"


def test_slides_come_with_their_numbers_titles_and_notes() -> None:
    one = parsed(pptx([("Start", ["one", "two"]), ("End", ["three"])], notes="Say hello.", table=TABLE))
    assert shown(one) == [
        ("Start", "Start", "slide 1"),
        ("Start", "one", "slide 1"),
        ("Start", "two", "slide 1"),
        ("Start", "Say hello.", "slide 1"),
        ("End", "End", "slide 2"),
        ("End", "three", "slide 2"),
        ("End", "Item | Price", "slide 2"),
        ("End", "Blue chair | 12.50", "slide 2"),
    ]


def test_every_row_says_what_its_values_are_and_where_it_stands() -> None:
    day = datetime.date(2026, 3, 1)
    one = parsed(
        xlsx(
            {
                "Prices": [["Item", "Price", "From"], ["Blue chair", 12.5, day], [], ["Red table", 45, None]],
                "Sums": [[1, 2.25, True]],
                "Empty": [],
            }
        )
    )
    assert shown(one) == [
        ("Prices", "Prices", "sheet Prices, row 1"),
        ("Prices", "Item | Price | From", "sheet Prices, row 1"),
        ("Prices", "Item: Blue chair; Price: 12.5; From: 2026-03-01", "sheet Prices, row 2"),
        ("Prices", "Item: Red table; Price: 45", "sheet Prices, row 4"),
        ("Sums", "Sums", "sheet Sums, row 1"),
        ("Sums", "1 | 2.25 | TRUE", "sheet Sums, row 1"),
    ]


def test_open_documents_are_read() -> None:
    assert shown(parsed(odt(SECTIONS, table=TABLE))) == [
        ("Returns", "Returns", ""),
        ("Returns", "Within ten days.", ""),
        ("Returns", "Not later.", ""),
        ("Prices & more", "Prices & more", ""),
        ("Prices & more", "See <below>.", ""),
        ("Prices & more", "Item | Price", ""),
        ("Prices & more", "Blue chair | 12.50", ""),
    ]
    assert shown(parsed(odp([("Start", ["one"]), ("", ["two"])]))) == [
        ("Start", "Start", "slide 1"),
        ("Start", "one", "slide 1"),
        ("", "two", "slide 2"),
    ]


def test_chapters_come_in_reading_order_under_the_book() -> None:
    assert shown(parsed(epub("A Book", [("One", ["first"]), ("Two", ["second"])]))) == [
        ("A Book", "A Book", ""),
        ("A Book/One", "One", ""),
        ("A Book/One", "first", ""),
        ("A Book/Two", "Two", ""),
        ("A Book/Two", "second", ""),
    ]


def test_what_a_document_is_does_not_hang_on_its_name() -> None:
    body = docx(SECTIONS)
    assert parsed(body, "a.pdf") == parsed(body, "a.md") == parsed(body, "a.docx")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (zipped({"a.txt": "text"}), "binary: a zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "binary: an old office document"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage\0".encode("utf-16-le"),
            "encrypted: the document asks for a password",
        ),
    ],
)
def test_what_cannot_be_read_says_what_it_is(body: bytes, reason: str) -> None:
    with pytest.raises(NotIndexable, match=reason):
        parsed(body)


PARTS = {"[Content_Types].xml": TYPES, "_rels/.rels": RELATIONS}
BOMB: dict[str, str | bytes] = {**PARTS, "word/document.xml": b" " * 2**27}
ENTITIES = (
    '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY f SYSTEM "file:///etc/hostname">]>'
)
FAR = '<!DOCTYPE w SYSTEM "http://127.0.0.1:9/far.dtd">'
DEEP = "<w:p>" * 5000 + "</w:p>" * 5000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (zipped(BOMB), "it unpacks to more than 200 times its size"),
        (zipped({str(n): "" for n in range(10_001)}), "it is an archive of more than 10,000 entries"),
        (zipped({str(n): bytes(2**25) for n in range(9)}), "it unpacks to more than 256 MiB"),
        (word("<w:p><w:r><w:t>&c;&f;</w:t></w:r></w:p>", ENTITIES), "its XML declares a document type"),
        (word("<w:p/>", FAR), "its XML declares a document type"),
        (word(DEEP), "its XML is damaged, or nests too deep"),
        (word("<w:p>"), "its XML is damaged"),
        (docx(SECTIONS)[:-300], "it is a damaged archive"),
        (xlsx({"A": [["x"]]}).replace(b"xl/workbook.xml", b"xl/workb00k.xml"), "it is a damaged workbook"),
    ],
)
def test_an_archive_that_is_a_trap_is_no_document(body: bytes, reason: str) -> None:
    with pytest.raises(DocumentUnparsable, match=reason):
        parsed(body)


@pytest.mark.parametrize("body", [docx(SECTIONS), pptx(SECTIONS)])
def test_one_that_was_saved_as_strict_open_xml_is_the_same(body: bytes) -> None:
    entries = zipfile.ZipFile(io.BytesIO(body))
    first_edition = re.compile(rb"http://schemas.openxmlformats.org/(\w+)/2006/(\w+)")
    strict = {
        name: first_edition.sub(rb"http://purl.oclc.org/ooxml/\1/\2", entries.read(name))
        for name in entries.namelist()
        if not name.endswith(".rels")
    } | {
        name: entries.read(name).replace(
            b"http://schemas.openxmlformats.org/officeDocument/2006/",
            b"http://purl.oclc.org/ooxml/officeDocument/",
        )
        for name in entries.namelist()
        if name.endswith(".rels")
    }
    assert parsed(zipped(strict)) == parsed(body)


@pytest.mark.parametrize("body", [docx([]), pptx([("", [])]), xlsx({"A": []}), drawn_pdf([])])
def test_a_document_without_a_word_says_so(body: bytes) -> None:
    with pytest.raises(NotIndexable, match="without text"):
        parsed(body)


def with_parts(body: bytes, parts: dict[str, str | bytes]) -> bytes:
    entries = zipfile.ZipFile(io.BytesIO(body))
    return zipped({name: entries.read(name) for name in entries.namelist()} | parts)


def manifest(part: str) -> str:
    return (
        '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<m:file-entry m:full-path="{part}"><m:encryption-data/></m:file-entry></m:manifest>'
    )


def encryption(part: str) -> str:
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        'xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData><e:CipherData>'
        f'<e:CipherReference URI="{part}"/></e:CipherData></e:EncryptedData></encryption>'
    )


def test_what_is_encrypted_inside_says_so() -> None:
    text = with_parts(
        odt(SECTIONS), {"META-INF/manifest.xml": manifest("content.xml"), "content.xml": b"\x8b\x00" * 500}
    )
    with pytest.raises(NotIndexable, match="encrypted: the document asks for a password"):
        parsed(text)
    book = epub("Book", SECTIONS)
    chapter = next(name for name in zipfile.ZipFile(io.BytesIO(book)).namelist() if name.endswith("html"))
    with pytest.raises(NotIndexable, match="encrypted: the book is protected"):
        parsed(with_parts(book, {"META-INF/encryption.xml": encryption(chapter), chapter: b"\x8b\x00" * 500}))
    fonts = with_parts(book, {"META-INF/encryption.xml": encryption("fonts/a.otf")})
    assert parsed(fonts) == parsed(book)


def test_a_workbook_with_cells_far_apart_says_which_limit_it_reached() -> None:
    far = Workbook()
    far.active.cell(1_048_576, 1).value = "below"
    far.active.cell(1, 16_384).value = "beside"
    sandbox = Sandbox()
    try:
        with pytest.raises(DocumentUnparsable, match="more than 1024 MiB of memory"):
            parse(saved(far), "a.xlsx", apart=sandbox.parse)
    finally:
        sandbox.close()


def test_a_sheet_begins_at_its_own_rows_and_not_at_the_last_one_s() -> None:
    one = parsed(xlsx({"A": TABLE, "B": TABLE}))
    starts = [mark.start for mark in one.marks]
    sheet = one.text.index("\nB\n") + 1
    assert place_of(one.marks, starts, sheet, len(one.text)) == "sheet B, rows 1-2"
