"""A row as the text of a document. Pure: the same row gives the same text."""

from __future__ import annotations

import datetime
import json
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

_LONG_NUMBER = re.compile(r"[0-9]{4}")  # a width or a precision that would make texts of any size


class BadTemplate(ValueError):
    """A template that cannot be one. Its words are for users."""


class Unfit(ValueError):
    """A row that no text can be made of. Its words are for users, and hold nothing of the row."""


class Template:
    """``{column}``, or with how it is written: ``{price:.2f}``. No attributes, no items, no code.

    Raises BadTemplate.
    """

    def __init__(self, template: str) -> None:
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise BadTemplate(f"cannot be read: {error}; write a brace that is text twice.") from None
        for _, name, spec, conversion in parts:
            if name is None:
                continue
            if not name or any(one in name for one in ".[]") or conversion:
                raise BadTemplate(f"holds {{{name}}}; name a column: {{name}}, or {{price:.2f}}.")
            if spec and ("{" in spec or _LONG_NUMBER.search(spec)):
                raise BadTemplate(f"writes {name} in a way that is not allowed: {spec!r}.")
        self.source = template
        self._parts = [(text, name, spec or "") for text, name, spec, _ in parts]
        self.columns = tuple(dict.fromkeys(name for _, name, _ in self._parts if name is not None))

    def text(self, row: Mapping[str, Any]) -> str:
        """Raises Unfit."""
        written = []
        for text, name, spec in self._parts:
            written.append(text)
            if name is not None:
                written.append(_written(name, row[name], spec))
        return "".join(written)


def lines(row: Mapping[str, Any]) -> str:
    """All columns, a line each: what is made where there is no template. Raises Unfit."""
    return "\n".join(
        f"{name}: {_written(name, value, '')}" for name, value in row.items() if value is not None
    )


def body_of(text: str) -> bytes:
    """Raises Unfit."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Unfit("one of its values is no valid text") from None


def _written(name: str, value: Any, spec: str) -> str:
    if isinstance(value, str) and not spec:
        return value
    if value is None:
        return ""
    if spec:
        try:
            return format(value, spec)
        except (ValueError, TypeError, OverflowError):
            raise Unfit(f"its {name} cannot be written as {{{name}:{spec}}}") from None
    return _plain(name, value)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise Unfit(f"its {name} is no UTF-8") from None
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)


def doubled(names: Sequence[str]) -> str | None:
    """A column that is there twice, if one is."""
    return next((name for number, name in enumerate(names) if name in names[:number]), None)
