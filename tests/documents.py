"""Documents of every format, made by the programs' own rules: for tests and measurements.

A document is sections, each a title and paragraphs, or a table: what comes back of it can be compared.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Table

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
