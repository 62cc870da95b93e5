"""What a child answers: JSON beside the text in UTF-8, checked in every part before it becomes a value.

Whatever a parser was talked into, its answer is text with blocks in order, or it is refused. The lists in
the JSON are flat, so that what they can grow to when they are read is known from its size: a path is the
number of the one it goes on from and its last title, a block four numbers, a mark four values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ingestion.errors import DocumentUnparsable, NotIndexable, Scanned
from ingestion.parsing.assembly import flowed
from ingestion.parsing.outline import MAX_TITLE
from ingestion.records import Block, BlockKind, Mark, Parsed

MAX_BLOCKS = 500_000  # each takes the worker some hundred bytes, however short it is
MAX_MARKS = 500_000
MAX_DEPTH = 64  # of headings: what is attached to what is attached stands under those of both
MAX_WORDS = 300  # characters of a reason, and of what a place stands in
MAX_JSON_BYTES = 16 * 2**20  # a worker takes some 15 times as much for a moment, if somebody means it
MAX_NUMBER = 2**31
_MAX_BRACKETS = 100_000  # four are needed; others may stand in titles
_KINDS = tuple(BlockKind)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_TOO_MANY = f"its text has more than {MAX_BLOCKS:,} parts"

Answer = tuple[bytes, bytes]
"""JSON, and the text that it speaks of."""

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Nonsense(Exception):
    """An answer that is none."""


class OutOfMemory(Exception):
    """The child says that it ran into its limit of memory."""


def to_answer(parsed: Parsed) -> Answer:
    """Raises DocumentUnparsable for what is too much to be taken over."""
    if len(parsed.blocks) > MAX_BLOCKS or len(parsed.marks) > MAX_MARKS:
        raise DocumentUnparsable(_TOO_MANY)
    paths = _Paths()
    blocks = [
        value
        for one in parsed.blocks
        for value in (_NUMBERS[one.kind], one.start, one.end, paths.number(one.heading_path))
    ]
    marks = [
        value for one in parsed.marks for value in (one.start, _worded(one.within), one.unit, one.number)
    ]
    answer = _json({"paths": paths.flat, "blocks": blocks, "marks": marks}).encode("utf-8", "replace")
    if len(answer) > MAX_JSON_BYTES:
        raise DocumentUnparsable(_TOO_MANY)
    return answer, parsed.text.encode("utf-8", "replace")


def refusal_of(error: Exception) -> Answer:
    """Of an unexpected error its type alone: its words may hold the document's."""
    if isinstance(error, MemoryError):
        return b'{"memory":true}', b""
    if isinstance(error, Scanned):
        said = {"scanned": _worded(error.message)}
    elif isinstance(error, NotIndexable):
        said = {"skipped": _worded(error.message)}
    elif isinstance(error, DocumentUnparsable):
        said = {"failed": _worded(error.message)}
    else:
        said = {"failed": f"its parser failed ({_worded(type(error).__name__)})"}
    return _json(said).encode("utf-8", "replace"), b""


def from_answer(answer: bytes, text: bytes) -> Parsed:
    """Raises NotIndexable and DocumentUnparsable as the parser did, OutOfMemory, and Nonsense."""
    try:
        return _checked(_loaded(answer), text)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise Nonsense from error


class _Paths:
    """Heading paths as they are numbered: the empty one first, each after the one it goes on from."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {(): 0}
        self.flat: list[int | str] = []

    def number(self, path: tuple[str, ...]) -> int:
        found = self._numbers.get(path)
        if found is None:
            above = self.number(path[:-1])
            self.flat += (above, _worded(path[-1], MAX_TITLE))
            found = self._numbers[path] = len(self._numbers)
        return found


def _worded(text: str, most: int = MAX_WORDS) -> str:
    """As words that stand in a line: nothing in them is unseen, or moves what stands beside."""
    if len(text) <= most and text.isprintable():
        return text
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in flowed(text))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _loaded(answer: bytes) -> dict[str, Any]:
    """What is not flat, or too long to be read at little cost, is no answer."""
    if len(answer) > MAX_JSON_BYTES or answer.count(b"[") + answer.count(b"{") > _MAX_BRACKETS:
        raise Nonsense
    found = json.loads(answer.decode())
    if not isinstance(found, dict):
        raise Nonsense
    return found


def _checked(found: dict[str, Any], text: bytes) -> Parsed:
    if found.keys() == {"paths", "blocks", "marks"}:
        return _parsed(found, text)
    if text or len(found) != 1:
        raise Nonsense
    ((name, said),) = found.items()
    if name == "memory" and said is True:
        raise OutOfMemory
    if name == "skipped":
        raise NotIndexable(_words(said))
    if name == "scanned":
        raise Scanned(_words(said))
    if name == "failed":
        raise DocumentUnparsable(_words(said))
    raise Nonsense


def _parsed(found: dict[str, Any], body: bytes) -> Parsed:
    text = body.decode()
    if "\0" in text:
        raise Nonsense
    paths = _paths(found["paths"])
    return Parsed(text, _blocks(found["blocks"], text, paths), marks=_marks(found["marks"], len(text)))


def _paths(flat: Any) -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = [()]
    for above, title in zip(*_columns(flat, 2, MAX_BLOCKS), strict=True):
        path = (*paths[_number(above)], _words(title, MAX_TITLE))
        if len(path) > MAX_DEPTH:
            raise Nonsense
        paths.append(path)
    return paths


def _blocks(flat: Any, text: str, paths: Sequence[tuple[str, ...]]) -> list[Block]:
    blocks: list[Block] = []
    done, length = 0, len(text)
    for kind, start, end, path in zip(*_columns(flat, 4, MAX_BLOCKS), strict=True):
        if not (type(kind) is type(start) is type(end) is type(path) is int and kind >= 0 <= path):
            raise Nonsense
        if not done <= start < end <= length or text[start:end].isspace():
            raise Nonsense
        blocks.append(Block(_KINDS[kind], start, end, paths[path]))
        done = end
    return blocks


def _marks(flat: Any, length: int) -> list[Mark]:
    marks: list[Mark] = []
    done = 0
    for start, within, unit, number in zip(*_columns(flat, 4, MAX_MARKS), strict=True):
        if not done <= _number(start) <= length:
            raise Nonsense
        marks.append(Mark(start, _words(within), _words(unit), _number(number)))
        done = start
    return marks


def _columns(flat: Any, width: int, most: int) -> Iterator[list[Any]]:
    if type(flat) is not list or len(flat) % width or len(flat) > width * most:
        raise Nonsense
    return (flat[column::width] for column in range(width))


def _words(value: Any, most: int = MAX_WORDS) -> str:
    if type(value) is not str or len(value) > most or not value.isprintable():
        raise Nonsense
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise Nonsense
    return value
