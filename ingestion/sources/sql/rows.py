"""From rows to what is kept of them. Each row's fault is its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ingestion.ledger.kept import Keep, KeptLook
from ingestion.sources.sql.changes import moment, token
from ingestion.sources.sql.faults import unavailable
from ingestion.sources.sql.keys import BadKey, Key, KeyUris
from ingestion.sources.sql.texts import Template, Unfit, body_of, doubled, lines
from ingestion.sources.survey import too_large

CHANGED, MADE = "changed", "made"  # in the notes of a kept row


@dataclass(frozen=True, slots=True)
class Large:
    """A row whose text is over the limit."""

    uri: str
    reason: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Faulty:
    """A row that is there and of which nothing can be made. ``uri`` None: it has no key to be named by."""

    uri: str | None
    reason: str


Made = Keep | Large | Faulty


class Maker:
    """Makes documents of rows."""

    def __init__(
        self,
        source: str,
        uris: KeyUris,
        *,
        query: str,
        key: Sequence[str],
        changed: str | None,
        template: Template | None,
        media_type: str,
        max_document_bytes: int,
    ) -> None:
        self._source = source
        self._uris = uris
        self._key = key
        self._changed = changed
        self._template = template
        self._media_type = media_type
        self._most_bytes = max_document_bytes
        self._written = lines if template is None else template.text
        settings = repr((query, template and template.source, media_type))
        self._how = hashlib.sha256(settings.encode("utf-8", "replace")).hexdigest()[:12]

    def checked(self, names: Sequence[str]) -> None:
        """Raises SourceUnavailable where these columns are not what the settings speak of."""
        has = f"it has: {', '.join(names)}"
        if twice := doubled(names):
            hint = "Give one of them another name with AS."
            raise unavailable(self._source, f"the query returns two columns named {twice}", hint)
        wanted = [("key", one) for one in self._key]
        wanted += [("changed", self._changed)] if self._changed is not None else []
        wanted += [("text", one) for one in (self._template.columns if self._template else ())]
        for setting, column in wanted:
            if column not in names:
                hint = f"Correct {setting} or query. Names are compared letter by letter."
                raise unavailable(
                    self._source, f"the query returns no column {column}, which {setting} names; {has}", hint
                )

    def made(
        self, names: Sequence[str], rows: Iterable[Sequence[Any]], now: float
    ) -> Iterator[tuple[Key, Made]]:
        """Of each row its key and what became of it."""
        places = [names.index(one) for one in self._key]
        for row in rows:
            key = tuple([row[place] for place in places])
            try:
                uri = self._uris.uri(key)
            except BadKey as error:
                yield key, Faulty(None, str(error))
                continue
            yield key, self._document(uri, dict(zip(names, row, strict=True)), now)

    def is_kept(self, look: KeptLook | None, changed: str | None) -> bool:
        """Whether a row with this change value is as it is kept."""
        if look is None or look.digest is None or changed is None:
            return False
        return look.notes.get(CHANGED) == changed and look.notes.get(MADE) == self._how

    def _document(self, uri: str, row: dict[str, Any], now: float) -> Made:
        value = row[self._changed] if self._changed is not None else None
        try:
            body = body_of(self._written(row))
        except Unfit as error:
            return Faulty(uri, str(error))
        if len(body) > self._most_bytes:
            return Large(uri, too_large(len(body), self._most_bytes, "max_document_bytes"), len(body))
        notes = {} if value is None else {CHANGED: token(value, now), MADE: self._how}
        return Keep(uri, body, self._media_type, changed_at=moment(value), notes=notes)
