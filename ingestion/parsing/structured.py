"""JSON, JSON lines and notebooks: records as rows, cells as what they hold.

A value stands with the names on the way to it, so that it can be found by them. What is no JSON (with
comments, cut off, nested beyond reason) is read as lines of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ingestion.parsing.assembly import Assembly, clean, flowed
from ingestion.parsing.code import parse_code
from ingestion.parsing.markdown import parse_markdown
from ingestion.records import Mark, Parsed

_MAX_NAMES = 200  # characters of the way to a value
_MAX_DEPTH = 100
_RECORDS_WITHIN = 4  # objects deep lists are looked for whose items are rows
_MOST_TIMES = 4  # as long as it was a document may become by the names
_MORE_CHARS = 2**20
_TITLE_LEVEL = 1
_LONGEST_OUTPUT = 2_000
_CELL_TO_CELL = "\n\n"
_TICKS = re.compile(r"`+")


class _Flood(Exception):
    """The names would be most of the text."""


def parse_json(text: str) -> Parsed:
    """An item of a list is a row, of a list within an object under that object's name."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return parse_code(text)
    if not isinstance(found, dict | list):
        return parse_code(text)
    try:
        document = _Writer(_MOST_TIMES * len(text) + _MORE_CHARS)
        document.write(found)
    except _Flood:
        return parse_code(text)
    return document.assembly.parsed()


def parse_json_lines(text: str) -> Parsed:
    """A line is a row; one that is broken stands as it is, unless most of them are."""
    writer = _Writer(_MOST_TIMES * len(text) + _MORE_CHARS)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    broken = 0
    try:
        for number, line in lines:
            writer.assembly.at("line", number)
            try:
                writer.record(json.loads(line))
            except (ValueError, RecursionError):
                broken += 1
                writer.row(line)
    except _Flood:
        return parse_code(text)
    return parse_code(text) if 2 * broken > len(lines) else writer.assembly.parsed()


def parse_notebook(text: str) -> Parsed:
    """Cells with their numbers, as one Markdown text: code in fences, and what it printed behind it."""
    try:
        cells = [_cell(cell) for cell in json.loads(text)["cells"]]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return parse_json(text)  # of an older format, or no notebook
    marks: list[Mark] = []
    length = 0
    for number, cell in enumerate(cells, 1):
        marks.append(Mark(length, "", "cell", number))
        length += len(cell) + len(_CELL_TO_CELL)
    return replace(parse_markdown(_CELL_TO_CELL.join(cells)), marks=marks)


class _Writer:
    def __init__(self, most_chars: int) -> None:
        self.assembly = Assembly()
        self._left = most_chars

    def write(self, found: dict[str, Any] | list[Any]) -> None:
        """Of an object the plain values first, then each list of records under the names on the way there."""
        if isinstance(found, list):
            self._items(found, "")
            return
        for line in _flat(_without_records(found, _RECORDS_WITHIN)):
            self.row(line)
        for names, records in _record_lists(found, "", _RECORDS_WITHIN):
            self.assembly.at("item", 1, flowed(names))
            self.assembly.outline.leave(_TITLE_LEVEL)
            self.assembly.heading(_TITLE_LEVEL, names)
            self._items(records, flowed(names))

    def record(self, value: Any) -> None:
        self.row("; ".join(_flat(value)))

    def _items(self, items: list[Any], within: str) -> None:
        for number, item in enumerate(items, 1):
            self.assembly.at("item", number, within)
            self.record(item)

    def row(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise _Flood
        self.assembly.row(text)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def _without_records(found: dict[str, Any], depth: int) -> dict[str, Any]:
    return {
        name: _without_records(one, depth - 1) if isinstance(one, dict) and depth > 0 else one
        for name, one in found.items()
        if not _is_records(one)
    }


def _record_lists(found: dict[str, Any], names: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    for name, one in found.items():
        if _is_records(one):
            yield _way(names, name), one
        elif isinstance(one, dict) and depth > 0:
            yield from _record_lists(one, _way(names, name), depth - 1)


def _way(names: str, name: str) -> str:
    return f"{names}.{name}"[-_MAX_NAMES:] if names else str(name)[:_MAX_NAMES]


def _flat(value: Any, names: str = "", depth: int = 0) -> Iterator[str]:
    """Every plain value with the names on the way to it; a list of plain ones is one."""
    if depth > _MAX_DEPTH:
        raise _Flood
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _flat(one, _way(names, name), depth + 1)
    elif _is_records(value):
        for one in value:
            yield from _flat(one, names, depth + 1)
    else:
        said = ", ".join(map(_said, value)) if isinstance(value, list) else _said(value)
        if said.strip():
            yield f"{names}: {flowed(said)}" if names else flowed(said)


def _said(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _cell(cell: dict[str, Any]) -> str:
    source = clean(_joined(cell.get("source", "")))
    if cell["cell_type"] == "markdown":
        return source
    shown = (
        output.get("text") or output.get("data", {}).get("text/plain") for output in cell.get("outputs", ())
    )
    printed = (clean(_joined(one))[:_LONGEST_OUTPUT] for one in shown if one)
    return _CELL_TO_CELL.join(_fenced(one) for one in (source, *printed) if one.strip())


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
