"""What a child answers: JSON in UTF-8, checked in every part before it becomes a value.

Whatever a parser was talked into, its answer is text with blocks in order, or it is refused.
"""

from __future__ import annotations

import json
from typing import Any

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.records import Block, BlockKind, Mark, Parsed

MAX_BLOCKS = 500_000  # each takes the worker some hundred bytes, however short it is


class Nonsense(Exception):
    """An answer that is none."""


class OutOfMemory(Exception):
    """The child says that it ran into its limit of memory."""


def to_json(parsed: Parsed) -> bytes:
    """Raises DocumentUnparsable for what is too much to be taken over."""
    if len(parsed.blocks) > MAX_BLOCKS:
        raise DocumentUnparsable(f"its text has more than {MAX_BLOCKS:,} parts")
    paths = list(dict.fromkeys(block.heading_path for block in parsed.blocks))
    numbers = {path: number for number, path in enumerate(paths)}
    blocks = [[one.kind.value, one.start, one.end, numbers[one.heading_path]] for one in parsed.blocks]
    marks = [[mark.start, mark.within, mark.unit, mark.number] for mark in parsed.marks]
    return _json({"text": parsed.text, "paths": paths, "blocks": blocks, "marks": marks})


def refusal_to_json(error: Exception) -> bytes:
    """Of an unexpected error its type alone: its words may hold the document's."""
    if isinstance(error, MemoryError):
        return _json({"memory": True})
    if isinstance(error, NotIndexable):
        return _json({"skipped": error.message})
    if isinstance(error, DocumentUnparsable):
        return _json({"failed": error.message})
    return _json({"failed": f"its parser failed ({type(error).__name__})"})


def from_json(answer: bytes) -> Parsed:
    """Raises NotIndexable and DocumentUnparsable as the parser did, OutOfMemory, and Nonsense."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise Nonsense from error
    if not isinstance(found, dict):
        raise Nonsense
    if found.get("memory"):
        raise OutOfMemory
    if "skipped" in found:
        raise NotIndexable(str(found["skipped"]))
    if "failed" in found:
        raise DocumentUnparsable(str(found["failed"]))
    try:
        return _checked(found)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Nonsense from error


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _checked(found: dict[str, Any]) -> Parsed:
    text = _text(found["text"])
    paths = [tuple(map(_text, path)) for path in found["paths"]]
    if len(found["blocks"]) > MAX_BLOCKS:
        raise Nonsense
    blocks: list[Block] = []
    done = 0
    for kind, start, end, path in found["blocks"]:
        if not done <= _number(start) < _number(end) <= len(text):
            raise Nonsense
        blocks.append(Block(BlockKind(kind), start, end, paths[_number(path)]))
        done = end
    marks: list[Mark] = []
    for start, within, unit, number in found["marks"]:
        if not (marks[-1].start if marks else 0) <= _number(start) <= len(text):
            raise Nonsense
        marks.append(Mark(start, _text(within), _text(unit), _number(number)))
    return Parsed(text, blocks, marks=marks)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Nonsense
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise Nonsense
    return value
