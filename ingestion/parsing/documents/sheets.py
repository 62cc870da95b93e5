"""Spreadsheets, by calamine: XLSX, XLSB, ODS and the old XLS; every sheet's rows with their header."""

from __future__ import annotations

import datetime
import io
import itertools

import python_calamine as calamine

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing.assembly import Assembly
from ingestion.parsing.rows import write_rows
from ingestion.records import Parsed

_SHEET_LEVEL = 1


def parse_sheets(body: bytes) -> Parsed:
    document = Assembly()
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(body))
        if not book.sheet_names:
            raise DocumentUnparsable("it is a damaged workbook")
        for name in book.sheet_names:
            _write_sheet(document, book, name)
    except calamine.PasswordError as error:
        raise NotIndexable("encrypted: the workbook asks for a password") from error
    except calamine.CalamineError as error:
        raise DocumentUnparsable("it is a damaged workbook") from error
    return document.parsed()


def _write_sheet(document: Assembly, book: calamine.CalamineWorkbook, name: str) -> None:
    try:
        sheet = book.get_sheet_by_name(name)
    except calamine.WorksheetNotFound:
        return  # a chart
    first = sheet.start[0] + 1 if sheet.start is not None else 1
    rows = ((first + number, list(map(_said, row))) for number, row in enumerate(sheet.iter_rows()))
    begun = next(((number, row) for number, row in rows if any(row)), None)
    if begun is not None:
        document.at("row", begun[0], f"sheet {name}")
        document.heading(_SHEET_LEVEL, name)
        write_rows(document, itertools.chain([begun], rows), "row", f"sheet {name}")


def _said(cell: object) -> str:
    """A value as people write it."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return format(cell, ".15g")
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    return str(cell)
