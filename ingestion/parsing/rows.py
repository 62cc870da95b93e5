"""Rows of a table with their header: each says of what its values are, so that it can be found alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingestion.parsing.assembly import Assembly, flowed

_MAX_NAME = 80  # characters of a column's name that stand before each of its values
_MOST_TITLES = 10  # rows of one cell that may stand above the header
_MOST_TIMES = 4  # as long as its values a table may become by that
_MORE_CHARS = 2**20
_MOST_CHARS = 10 * 2**20  # of a document that names stand in: what comes out of the sandbox is bounded
_HEADER_LEVEL = 2  # below a sheet

Row = Sequence[str]


def write_rows(document: Assembly, rows: Iterable[tuple[int, Row]], unit: str, within: str = "") -> None:
    """``rows`` with their numbers, cells as text. The first one is the header if it names its columns, or
    the first below a title.

    Blank rows are left out. Names stand before the values; where that would make a flood of them, the header
    is the heading of all that follow.
    """
    flowing = ((number, [flowed(cell) for cell in row]) for number, row in rows)
    filled = [(number, row) for number, row in flowing if any(row)]
    above = next((at for at, (_, row) in enumerate(filled[:_MOST_TITLES]) if sum(map(bool, row)) > 1), 0)
    names = _names(filled[above:])
    flood = bool(names) and _is_flood(names, filled[above:], document.length)
    for position, (number, row) in enumerate(filled):
        document.at(unit, number, within)
        if flood and position == above:
            document.heading(_HEADER_LEVEL, _bare(row))
        elif names and not flood and position > above:
            document.row("; ".join(_said(names, row)))
        else:
            document.row(_bare(row))


def _bare(row: Row) -> str:
    return " | ".join(filter(None, row))


def _names(rows: Sequence[tuple[int, Row]]) -> Row:
    """The header; empty where the first row is none."""
    if len(rows) < 2:
        return ()
    header = rows[0][1]
    named = sum(map(bool, header))
    widest = max(len(row) for _, row in rows)
    if named < 2 or 2 * named < widest or any(map(_is_value, header)):
        return ()
    return [name[:_MAX_NAME] for name in header]


def _is_flood(names: Row, rows: Sequence[tuple[int, Row]], before: int) -> bool:
    """Whether the header is too long to stand in every row, or they are too many. ``before``: characters
    that the document holds already."""
    added = sum(len(names[at]) + 2 for _, row in rows for at, cell in enumerate(row[: len(names)]) if cell)
    values = sum(len(cell) for _, row in rows for cell in row)
    return added > _MOST_TIMES * values + _MORE_CHARS or before + added + values > _MOST_CHARS


def _said(names: Row, row: Row) -> list[str]:
    more = [""] * (len(row) - len(names))
    return [
        f"{name}: {cell}" if name else cell for name, cell in zip([*names, *more], row, strict=False) if cell
    ]


def _is_value(cell: str) -> bool:
    """A number, or what is written like one, names no column; a year may."""
    bare = cell.strip("+-€$£% ").replace(",", "").replace(".", "")
    return bare.isdigit() and len(bare) != 4
