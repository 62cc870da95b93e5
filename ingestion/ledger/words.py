"""Text that every database stores: no character that one of them refuses.

PostgreSQL refuses NUL, and both refuse halves of surrogate pairs. They come in messages of errors and in what
users ask for; one of them must not stop a source or a batch. Sources give no URI with such a character
(``ingestion.records.Seen``), so no two names become one here.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

_REFUSED = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with a mark in the place of each refused character."""
    return text if text.isascii() and "\0" not in text else _REFUSED.sub("\ufffd", text)


class Words(sa.types.TypeDecorator[str]):
    """Text for people, of any length."""

    impl: Any = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else storable(value)


class Name(Words):
    """What documents and sources are found and ordered by: byte by byte, whatever the server's language."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(sa.String(collation=collation))
