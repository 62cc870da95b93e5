"""Documents that are zip archives: what they are is told by what they hold, not by their names."""

from __future__ import annotations

from ingestion.errors import NotIndexable
from ingestion.parsing.documents.archives import Archive
from ingestion.parsing.documents.docx import parse_docx
from ingestion.parsing.documents.epub import parse_epub
from ingestion.parsing.documents.odf import parse_odf
from ingestion.parsing.documents.pptx import parse_pptx
from ingestion.parsing.documents.sheets import parse_sheets
from ingestion.records import Parsed

_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."


def parse(body: bytes) -> Parsed:
    archive = Archive(body)
    kind = archive.read("mimetype").decode("ascii", "replace").strip() if "mimetype" in archive else ""
    if kind == "application/epub+zip":
        return parse_epub(archive)
    if kind.startswith(_OPEN_DOCUMENT + "spreadsheet"):
        return parse_sheets(body)
    if kind.startswith((_OPEN_DOCUMENT + "text", _OPEN_DOCUMENT + "presentation")):
        return parse_odf(archive)
    main = _main_part(archive)
    if main.startswith("word/"):
        return parse_docx(archive, main)
    if main.startswith("ppt/"):
        return parse_pptx(archive, main)
    if main.startswith("xl/"):
        return parse_sheets(body)
    raise NotIndexable("binary: a zip archive")


def _main_part(archive: Archive) -> str:
    """The part that an Office document begins with; '' where it is none."""
    if "[Content_Types].xml" not in archive:
        return ""
    parts = archive.relations("").values()
    return next((name for kind, name in parts if kind == "officeDocument"), "")
