"""Documents as other programs write them: Word under review, LibreOffice, browsers, mail programs."""

from __future__ import annotations

import datetime
import io
from email.message import EmailMessage

import pytest
from reportlab.pdfgen.canvas import Canvas

from ingestion.parsing import at_hand, parse
from ingestion.records import Parsed
from tests.documents import shown, xlsx, zipped
from tests.unit.ingestion.parsing.documents.test_office import RELATIONS, TYPES, W

CELL = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p>{}</w:tc>"


def parsed(body: bytes, name: str) -> Parsed:
    return parse(body, name, apart=at_hand)


def texts(body: bytes, name: str) -> list[str]:
    return [text for _, text, _ in shown(parsed(body, name))]


def word(inner: str) -> bytes:
    names = (
        f'{W} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:v="urn:schemas-microsoft-com:vml"'
    )
    return zipped(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": RELATIONS,
            "word/document.xml": f"<w:document {names}><w:body>{inner}</w:body></w:document>",
        }
    )


def test_a_table_in_a_table_is_said_once_and_deleted_rows_not_at_all() -> None:
    inner = f"<w:tbl><w:tr>{CELL.format('12', '')}{CELL.format('EUR', '')}</w:tr></w:tbl><w:p/>"
    rows = (
        f"<w:tr>{CELL.format('Item', '')}{CELL.format('Price', '')}</w:tr>"
        f"<w:tr>{CELL.format('Chair', '')}{CELL.format('now', inner)}</w:tr>"
        f"<w:tr><w:trPr><w:del w:id='1'/></w:trPr>{CELL.format('Gone', '')}</w:tr>"
        f"<w:sdt><w:sdtContent><w:tr>{CELL.format('Stool', '')}</w:tr></w:sdtContent></w:sdt>"
    )
    assert texts(word(f"<w:tbl>{rows}</w:tbl>"), "a.docx") == ["Item | Price", "Chair | now 12 EUR", "Stool"]


def test_a_text_box_is_a_paragraph_of_its_own() -> None:
    def box(text: str) -> str:
        return f"<w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent>"

    drawn = (
        f"<mc:AlternateContent><mc:Choice>{box('In the box.')}</mc:Choice>"
        f"<mc:Fallback><v:shape>{box('In the box.')}</v:shape></mc:Fallback></mc:AlternateContent>"
    )
    body = f"<w:p><w:r><w:t>Before </w:t>{drawn}<w:t>and after.</w:t></w:r></w:p>"
    assert texts(word(body), "a.docx") == ["Before and after.", "In the box."]


ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "style")
)


def test_a_text_of_libreoffice_keeps_its_title_and_folds_its_spaces() -> None:
    table = (
        "<table:table><table:table-row><table:table-cell><text:p>Chair</text:p></table:table-cell>"
        "<table:table-cell><table:table><table:table-row><table:table-cell><text:p>12</text:p>"
        "</table:table-cell></table:table-row></table:table></table:table-cell></table:table-row></table:table>"
    )
    content = (
        f"<office:document-content {ODF}><office:automatic-styles><style:style style:name='P7' "
        "style:parent-style-name='Title'/></office:automatic-styles><office:body><office:text>"
        "<text:p text:style-name='P7'>Hand<text:span>book</text:span></text:p>"
        f"<text:p>\n   Some\n   words<text:s text:c='2'/>here.\n</text:p>{table}"
        "</office:text></office:body></office:document-content>"
    )
    body = zipped({"content.xml": content}, first="application/vnd.oasis.opendocument.text")
    assert shown(parsed(body, "a.odt")) == [
        ("Handbook", "Handbook", ""),
        ("Handbook", "Some words  here.", ""),
        ("Handbook", "Chair | 12", ""),
    ]


def test_a_header_below_the_title_of_a_sheet_names_its_columns() -> None:
    day = datetime.date(2026, 1, 2)
    rows: list[list[object]] = [
        ["Prices of 2026"],
        [],
        ["Item", "Price", "Since"],
        ["Chair", 12.5, day],
        ["Stool", 9, None],
    ]
    assert shown(parsed(xlsx({"All": rows}), "a.xlsx"))[1:] == [
        ("All", "Prices of 2026", "sheet All, row 1"),
        ("All", "Item | Price | Since", "sheet All, row 3"),
        ("All", "Item: Chair; Price: 12.5; Since: 2026-01-02", "sheet All, row 4"),
        ("All", "Item: Stool; Price: 9", "sheet All, row 5"),
    ]


def test_rows_of_one_cell_alone_are_no_table_with_a_header() -> None:
    assert texts(xlsx({"A": [["one"], ["two"], ["three"]]}), "a.xlsx") == ["A", "one", "two", "three"]


def test_a_broken_line_of_json_lines_leaves_the_others_alone() -> None:
    assert shown(parsed(b'{"a": 1}\n{"b": \n{"c": 3}\n', "a.jsonl")) == [
        ("", "a: 1", "line 1"),
        ("", '{"b":', "line 2"),
        ("", "c: 3", "line 3"),
    ]
    assert len(texts(b"no\njson\nat all\n", "a.jsonl")) == 1


def test_japanese_in_seven_bits_is_read_in_mail_and_in_files() -> None:
    said = "日本語の本文です。"
    head = b"Subject: x\nContent-Type: text/plain; charset=iso-2022-jp\n\n"
    assert said in parsed(head + said.encode("iso-2022-jp"), "a.eml").text
    assert parsed(said.encode("iso-2022-jp"), "a.txt").text == said
    assert parsed(b"\x1b[1mbold\x1b[0m and text", "a.log").encoding == "utf-8"


def test_quoted_printable_pages_and_messages_in_messages_are_read() -> None:
    page = (
        b"Subject: QP\nContent-Type: text/html; charset=windows-1252\n"
        b"Content-Transfer-Encoding: quoted-printable\n\n<h1>Gr=FC=DFe</h1><p>caf=E9 with =\nmilk"
    )
    assert texts(page, "a.eml") == ["QP", "Grüße", "café with milk"]
    inner, outer = EmailMessage(), EmailMessage()
    inner["Subject"], outer["Subject"] = "Inner", "Outer"
    inner.set_content("Text within.")
    outer.set_content("Text around.")
    outer.add_attachment(inner)
    found = shown(parsed(outer.as_bytes(), "a.eml"))
    assert ("Outer/message.eml/Inner", "Text within.", "attachment 1") in found


def test_a_word_that_a_page_parts_by_spans_stays_one() -> None:
    page = b"<p>off<span>ici</span>al <span>link</span>.</p><table><tr><td><p>a</p><p>b</p><td>c</table>"
    assert texts(page, "a.html") == ["official link.", "a b | c"]


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_page_that_is_turned_is_read_as_people_see_it(turned: int) -> None:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595, 842))
    canvas.setPageRotation(turned)
    canvas.translate(*{0: (0, 0), 90: (595, 0), 180: (595, 842), 270: (0, 842)}[turned])
    canvas.rotate(turned)
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(60, 500, "Turned")
    canvas.setFont("Helvetica", 10)
    for number in range(4):
        canvas.drawString(60, 470 - 12 * number, f"line {number} of what goes on and on and on")
    for number, row in enumerate((("Chair", "12"), ("Table", "90"))):
        for column, cell in enumerate(row):
            canvas.drawString(60 + 190 * column, 380 - 14 * number, cell)
    canvas.save()
    lines = " ".join(f"line {number} of what goes on and on and on" for number in range(4))
    found = shown(parsed(out.getvalue(), "a.pdf"))
    assert found == [
        ("Turned", "Turned", "page 1"),
        ("Turned", lines, "page 1"),
        ("Turned", "Chair | 12", "page 1"),
        ("Turned", "Table | 90", "page 1"),
    ]
