"""Reads what the ledger keeps of a batch of documents: many of them with each question to the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingestion.ledger.kept import Kept, KeptBody
from ingestion.records import Content

AT_ONCE = 100
AT_ONCE_BYTES = 4 * 1024 * 1024  # unless one alone has more

MakeContent = Callable[[str, KeptBody | None], Content]
"""Of what was found of a URI. May raise."""


class ReadAhead:
    """Called with a URI of the batch, it reads that and the next ones. For one thread."""

    def __init__(self, kept: Kept, source: str, uris: Sequence[str], make: MakeContent) -> None:
        self._kept = kept
        self._source = source
        self._make = make
        self._ahead = [uri for uri in uris if may_be_kept(uri)]
        self._found: dict[str, KeptBody | None] = {}

    def __call__(self, uri: str) -> Content:
        if uri not in self._found and may_be_kept(uri):
            self._read(uri)
        return self._make(uri, self._found.pop(uri, None))

    def _read(self, uri: str) -> None:
        """Forgets what was read and not asked for: it may be as large again."""
        if uri in self._ahead:
            self._ahead = self._ahead[self._ahead.index(uri) :]
            self._found = self._kept.bodies(self._source, self._ahead[:AT_ONCE], AT_ONCE_BYTES)
            self._ahead = self._ahead[len(self._found) :]
        else:
            self._found = self._kept.bodies(self._source, [uri], AT_ONCE_BYTES)


def may_be_kept(uri: str) -> bool:
    """No database is asked for what none can hold."""
    return bool(uri) and "\0" not in uri and not any("\ud800" <= letter <= "\udfff" for letter in uri)
