"""On which line of a TOML file each key stands: the standard parser does not say.

Reads only text that the standard parser has accepted, so it decides nothing about what is valid. Keys
inside an inline table or array are not told apart: they stand where their statement begins.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Mapping

Place = tuple[str | int, ...]

_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_PARTS = re.compile(_PART)
# A closing delimiter of three may follow one or two quotes that belong to the string.
_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]|\n|[^\[\]{}"'#\n]+''',
    re.DOTALL,
)


def places(text: str) -> Mapping[Place, int]:
    """The line (from 1) of every table header and key, by its path: ``("sources", 0, "root")``."""
    newlines = [match.start() for match in re.finditer("\n", text)]
    found: dict[Place, int] = {}
    last_of_array: dict[Place, int] = {}
    table: Place = ()
    at = _end(_BLANK, text, 0)
    while at < len(text):
        line = bisect.bisect_left(newlines, at) + 1
        brackets = 2 if text.startswith("[[", at) else 1 if text[at] == "[" else 0
        key = _KEY.match(text, _end(_BLANK, text, at + brackets))
        if key is None:
            break
        keys = [_unquoted(part) for part in _PARTS.findall(key.group())]
        if brackets:
            table = _table(keys, last_of_array, is_array=brackets == 2)
            found[table] = line
            at = text.find("]", key.end()) + brackets
        else:
            found[(*table, *keys)] = line
            at = _end_of_value(text, key.end())
        at = _end(_BLANK, text, at)
    return found


def dotted(place: Place) -> str:
    """A place as people write it: ``sources[1].root``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def line_of(place: Place, lines: Mapping[Place, int]) -> int | None:
    """The line of a place, or of the nearest thing around it that has one."""
    for length in range(len(place), 0, -1):
        if place[:length] in lines:
            return lines[place[:length]]
    return None


def _table(keys: list[str], last_of_array: dict[Place, int], *, is_array: bool) -> Place:
    path: Place = ()
    for position, key in enumerate(keys):
        path = (*path, key)
        if is_array and position == len(keys) - 1:
            last_of_array[path] = last_of_array.get(path, -1) + 1
        if path in last_of_array:
            path = (*path, last_of_array[path])
    return path


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _end_of_value(text: str, at: int) -> int:
    depth = 0
    while match := _TOKEN.match(text, at):
        token = match.group()
        if token == "\n" and depth == 0:
            break
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        at = match.end()
    return at


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    return str(tomllib.loads(f"key = {part}")["key"])
