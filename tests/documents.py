"""Documents of every format, made by the programs' own rules: for tests and measurements.

A document is sections, each a title and paragraphs, or a table: what comes back of it can be compared.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import pypdfium2 as pdfium
from docx import Document
from openpyxl import Workbook
from pptx import Presentation
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Table

from ingestion.places import place_of
from ingestion.records import Parsed

Section = tuple[str, Sequence[str]]
Rows = Sequence[Sequence[str]]


def pdf(
    pages: Sequence[Sequence[Section]], *, table: Rows = (), password: str = "", footer: str = "Page {} of {}"
) -> bytes:
    """One or more pages for each element; a table comes last. ``footer`` gets number and total."""
    styles = getSampleStyleSheet()
    flow: list[Flowable] = []
    for number, sections in enumerate(pages):
        if number:
            flow.append(PageBreak())
        for title, paragraphs in sections:
            flow.append(Paragraph(title, styles["Heading1"]))
            flow += [Paragraph(text, styles["BodyText"]) for text in paragraphs]
    if table:
        flow.append(Table([list(row) for row in table]))
    out = io.BytesIO()

    def foot(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.drawString(50, 20, footer.format(document.page, len(pages)))

    encrypt = StandardEncryption(password) if password else None
    document = SimpleDocTemplate(out, encrypt=encrypt, invariant=1)
    document.build(flow, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def drawn_pdf(
    places: Sequence[tuple[float, float, str]], *, font: str = "Helvetica", size: float = 10
) -> bytes:
    """One page with these words where they are said to stand, drawn in this order."""
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)
    canvas.setFont("Helvetica", 10)
    for x, y, text in places:
        canvas.drawString(x, y, text)
    canvas.save()
    return out.getvalue()


def endless_pdf(pages: int = 5_000) -> bytes:
    """Small, well-formed, and some minutes of work: every page is the same long one."""
    drawn = zlib.compress(b"BT /F1 9 Tf 9 TL " + b"(Words upon words upon words.) ' " * 20_000 + b"ET")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (pages, b"3 0 R " * pages),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R"
        b"/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(drawn), drawn),
    ]
    body = b"%PDF-1.7\n"
    places = []
    for number, one in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"xref\n0 5\n0000000000 65535 f \n" + b"".join(places)
    return body + table + b"trailer\n<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(body)


def photographed(paper: bytes) -> bytes:
    """A PDF of pictures of another one's pages, as a scanner makes them."""
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)
    document = pdfium.PdfDocument(paper)
    for page in document:
        width, height = page.get_size()
        drawn = page.render(scale=200 / 72, grayscale=True).to_pil()
        canvas.setPageSize((width, height))
        canvas.drawImage(ImageReader(drawn), 0, 0, width, height)
        canvas.showPage()
    document.close()
    canvas.save()
    return out.getvalue()


def scanned_pdf(pages: int = 1) -> bytes:
    """Pictures, and not a letter."""
    picture = b"P6 16 16 255 " + bytes(range(256)) * 3
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)
    for _ in range(pages):
        canvas.drawImage(ImageReader(io.BytesIO(picture)), 0, 0, 500, 700)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def docx(
    sections: Sequence[Section], *, title: str = "", table: Rows = (), items: Sequence[str] = ()
) -> bytes:
    document = Document()
    if title:
        document.add_heading(title, 0)
    for heading, paragraphs in sections:
        document.add_heading(heading, 1)
        for text in paragraphs:
            document.add_paragraph(text)
    for text in items:
        document.add_paragraph(text, style="List Bullet")
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for cells, row in zip(grid.rows, table, strict=True):
            for cell, text in zip(cells.cells, row, strict=True):
                cell.text = text
    return saved(document)


def pptx(slides: Sequence[Section], *, notes: str = "", table: Rows = ()) -> bytes:
    """Notes stand with the first slide, the table on the last."""
    show = Presentation()
    for title, paragraphs in slides:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(paragraphs)
    if notes:
        show.slides[0].notes_slide.notes_text_frame.text = notes
    if table:
        shape = show.slides[-1].shapes.add_table(len(table), len(table[0]), 0, 0, 9144000, 2000000)
        for y, row in enumerate(table):
            for x, text in enumerate(row):
                shape.table.cell(y, x).text = text
    return saved(show)


def xlsx(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    return saved(book)


def saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def zipped(entries: Mapping[str, str | bytes], *, first: str = "") -> bytes:
    """``first``: a mimetype, which OpenDocument and EPUB want first and unpacked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if first:
            archive.writestr(zipfile.ZipInfo("mimetype"), first)
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


_ODF = "urn:oasis:names:tc:opendocument:xmlns"
_ODF_NAMES = " ".join(
    f'xmlns:{name}="{_ODF}:{tail}:1.0"'
    for name, tail in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "presentation": "presentation",
    }.items()
)


def odt(sections: Sequence[Section], *, table: Rows = ()) -> bytes:
    inner = "".join(
        f'<text:h text:outline-level="1">{escape(title)}</text:h>'
        + "".join(f"<text:p>{escape(text)}</text:p>" for text in paragraphs)
        for title, paragraphs in sections
    )
    rows = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell><text:p>{escape(cell)}</text:p></table:table-cell>" for cell in row)
        + "</table:table-row>"
        for row in table
    )
    return _opened("text", f"<office:text>{inner}<table:table>{rows}</table:table></office:text>")


def odp(slides: Sequence[Section]) -> bytes:
    inner = "".join(
        f'<draw:page><draw:frame presentation:class="title"><text:p>{escape(title)}</text:p></draw:frame>'
        + "".join(f"<draw:frame><text:p>{escape(text)}</text:p></draw:frame>" for text in paragraphs)
        + "</draw:page>"
        for title, paragraphs in slides
    )
    return _opened("presentation", f"<office:presentation>{inner}</office:presentation>")


def _opened(kind: str, body: str) -> bytes:
    content = (
        f'<?xml version="1.0"?><office:document-content {_ODF_NAMES}><office:body>{body}</office:body>'
        "</office:document-content>"
    )
    return zipped({"content.xml": content}, first=f"application/vnd.oasis.opendocument.{kind}")


def epub(title: str, chapters: Sequence[Section]) -> bytes:
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
    )
    numbers = range(len(chapters))
    items = "".join(
        f'<item id="c{n}" href="text/c%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in numbers
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in reversed(numbers))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{escape(title)}</dc:title></metadata><manifest>{items}</manifest>"
        f"<spine>{spine}</spine></package>"
    )
    pages = {
        f"OEBPS/text/c {n}.xhtml": f"<!DOCTYPE html><html><head><title>{escape(name)}</title></head><body>"
        f"<h1>{escape(name)}</h1>" + "".join(f"<p>{escape(text)}</p>" for text in texts) + "</body></html>"
        for n, (name, texts) in zip(reversed(numbers), chapters, strict=True)
    }
    entries = {"META-INF/container.xml": container, "OEBPS/book.opf": package, **pages}
    return zipped(entries, first="application/epub+zip")


def shown(one: Parsed) -> list[tuple[str, str, str]]:
    """Path, text and place of each block."""
    starts = [mark.start for mark in one.marks]
    return [
        (
            "/".join(block.heading_path),
            one.text[block.start : block.end],
            place_of(one.marks, starts, block.start, block.end),
        )
        for block in one.blocks
    ]
