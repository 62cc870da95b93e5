"""Office documents of before 2007 and encrypted ones, which share a signature. Workbooks are read."""

from __future__ import annotations

from ingestion.errors import NotIndexable
from ingestion.parsing.documents.sheets import parse_sheets
from ingestion.records import Parsed


def parse(body: bytes) -> Parsed:
    if _holds(body, "EncryptedPackage"):
        raise NotIndexable("encrypted: the document asks for a password")
    if _holds(body, "Workbook") or _holds(body, "Book"):
        return parse_sheets(body)
    raise NotIndexable("binary: an old office document; save it in a format of today to have it found")


def _holds(body: bytes, stream: str) -> bool:
    """Whether there is a stream of that name: names stand in UTF-16, with an end (MS-CFB, 2.6.1)."""
    return f"{stream}\0".encode("utf-16-le") in body
