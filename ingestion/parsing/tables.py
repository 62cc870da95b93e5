"""Comma-separated values, in whatever separates them: rows with their header.

What is no table after all is read as lines of text, as before it had a format of its own.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

from ingestion.parsing.assembly import Assembly
from ingestion.parsing.code import parse_code
from ingestion.parsing.rows import Row, write_rows
from ingestion.records import Parsed

_SEPARATORS = ",;\t|"
_SAMPLE_LINES = 20
_SAMPLE_CHARS = 65_536


def parse_table(text: str) -> Parsed:
    separator = _separator(text)
    if separator is None:
        return parse_code(text)
    document = Assembly()
    try:
        write_rows(document, enumerate(_rows(text, separator), 1), "row")
    except csv.Error:  # a field without end, most often: a quote that is none
        return parse_code(text)
    return document.parsed()


def _separator(text: str) -> str | None:
    """The one that parts most lines of the beginning into the same number of fields; None if none does."""
    sample = text[:_SAMPLE_CHARS]
    best: tuple[int, int, str] | None = None
    for separator in _SEPARATORS:
        try:
            rows = [row for row in _rows(sample, separator) if row]
        except csv.Error:
            continue
        widths = Counter(len(row) for row in rows[:_SAMPLE_LINES])
        width, times = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and (best is None or (times, width) > best[:2]):
            best = (times, width, separator)
    return best[2] if best is not None else None


def _rows(text: str, separator: str) -> Iterator[Row]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)
