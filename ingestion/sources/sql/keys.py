"""Keys of rows as URIs, and back. Pure.

One key has one URI, and no two have the same: the values of its columns, percent-encoded where they hold what
no path may, joined by '/'. In a column of a typed database all values are of one type, which is learned from
the first one seen; SQLite may hold several in one column, so there text that reads as a number begins with an
escape.
"""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote

Key = tuple[Any, ...]

EMPTY = "%-"  # an empty text: no escape looks like it
_BYTES = "%x"  # before hexadecimal digits: nor like this
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
_ALLOWED = frozenset("-._~!$&'()*+,;=:@ ")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_REAL = re.compile(r"-?[0-9]+\.[0-9]+(e[+-][0-9]+)?|-?[0-9]+e[+-][0-9]+|-?inf")

_PARSERS: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    decimal.Decimal: decimal.Decimal,
    bool: lambda text: {"true": True, "false": False}[text],
    uuid.UUID: uuid.UUID,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}


class BadKey(ValueError):
    """A key that cannot name a document. Its words are for users."""


class KeyUris:
    """``columns``: their names. ``dynamic``: values of one column may be of several types.

    Safe to call from several threads.
    """

    def __init__(self, columns: Sequence[str], *, dynamic: bool) -> None:
        self._columns = columns
        self._dynamic = dynamic
        self._alone = len(columns) == 1
        self._types: tuple[type, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether the types of the columns are known, so that URIs can be read."""
        return self._dynamic or self._types is not None

    def uri(self, key: Key) -> str:
        """Raises BadKey."""
        if None in key:
            raise BadKey(f"no value in its key column {self._columns[key.index(None)]}")
        uri = self._joined(key)
        if self._types is None:
            self._types = tuple(type(value) for value in key)
        return uri

    def key(self, uri: str) -> Key | None:
        """The key with this URI, or None if there can be none. Only once the types are ``known``."""
        segments = [uri] if self._alone else uri.split("/")
        if len(segments) != len(self._columns):
            return None
        types: Sequence[type | None] = self._types or [None] * len(segments)
        try:
            pairs = zip(segments, types, strict=True)
            key = tuple(self._value(segment, kind) for segment, kind in pairs)
            return key if self.uri(key) == uri else None
        except (ValueError, KeyError, ArithmeticError):  # a decimal's fault is of arithmetic
            return None

    def uri_of_texts(self, texts: Sequence[str]) -> str:
        """The URI of a key whose values are as PostgreSQL writes them.

        While no row was seen, as if they were texts: that is the same for numbers, texts, UUIDs and days.
        Raises BadKey, or another ValueError, KeyError or ArithmeticError for what is of another type.
        """
        if self._types is None:
            return self._joined(tuple(texts))
        return self._joined(tuple(_read(text, kind) for text, kind in zip(texts, self._types, strict=True)))

    def _joined(self, key: Key) -> str:
        return self._segment(key[0]) if self._alone else "/".join([self._segment(value) for value in key])

    def _segment(self, value: Any) -> str:
        if type(value) is int:
            return str(value)
        if isinstance(value, str):
            if self._dynamic and _reads_as_number(value):
                return f"%{ord(value[0]):02X}{value[1:]}"
            return self._escaped(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return _BYTES + bytes(value).hex()
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return value.isoformat()
        return self._escaped(repr(value) if isinstance(value, float) else str(value))

    def _escaped(self, text: str) -> str:
        if _PLAIN.fullmatch(text):
            return text
        if not text:
            return EMPTY
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise BadKey("its key is no valid text")
        escaped = "".join(map(self._letter, text))
        # What ends with a slash would stand for all that lies below it.
        return f"{escaped[:-1]}%2F" if escaped.endswith("/") else escaped

    def _letter(self, letter: str) -> str:
        if letter.isalnum() or letter in _ALLOWED or (letter == "/" and self._alone):
            return letter
        return quote(letter, safe="")

    def _value(self, segment: str, kind: type | None) -> Any:
        if segment.startswith(_BYTES):
            return bytes.fromhex(segment[len(_BYTES) :])
        if self._dynamic:
            if _INTEGER.fullmatch(segment):
                return int(segment)
            if _REAL.fullmatch(segment):
                return float(segment)
        text = "" if segment == EMPTY else unquote(segment, errors="strict")
        if self._dynamic or kind is None or kind not in _PARSERS:
            return text
        return _PARSERS[kind](text)


def _reads_as_number(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text) or _REAL.fullmatch(text))


def _read(text: str, kind: type) -> Any:
    if kind is bytes:
        return bytes.fromhex(text.removeprefix("\\x"))
    return _PARSERS[kind](text) if kind in _PARSERS else text
