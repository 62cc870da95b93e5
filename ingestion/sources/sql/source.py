"""Rows of a database as documents: what a query returns, a document each.

What was read of a row is kept in the ledger, and workers read it there: nobody but whoever watches needs the
database. With a change column a listing reads keys and change values alone, and the rows that differ; without
one it reads all, and keeps what differs.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ingestion.errors import DocumentGone, DocumentUnreadable, NotIndexable
from ingestion.ledger.kept import Keep, KeptBody, KeptLook
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.sources.port import Read, Watch
from ingestion.sources.read_ahead import ReadAhead, may_be_kept
from ingestion.sources.settling import Dirty
from ingestion.sources.sql.asking import Asking
from ingestion.sources.sql.changes import token
from ingestion.sources.sql.database import names_of
from ingestion.sources.sql.keys import BadKey, Key
from ingestion.sources.sql.rows import Large
from ingestion.sources.sql.statements import KEYS_AT_ONCE
from ingestion.sources.sql.table import Table

FAULTS_TOLD = 5
MOST_FAULTS = 1000  # named one by one; more of them, and nothing at all may be called absent
SEVERAL = "several rows have this key"
NO_ROW = "no row has this key"


@dataclass(slots=True)
class _Found:
    """What a listing has found so far."""

    seen: dict[str, Seen | Skipped | None] = field(default_factory=dict)  # None: of no use
    faults: dict[str, str] = field(default_factory=dict)  # by URI
    nameless: list[str] = field(default_factory=list)

    def doubt(self, uri: str, reason: str) -> None:
        self.seen[uri] = None
        self.faults[uri] = reason

    @property
    def blind(self) -> Sequence[str]:
        return [*self.faults] if len(self.faults) <= MOST_FAULTS else [""]

    def told(self) -> list[str]:
        """The first few in full: thousands may have one reason."""
        told = [f"{uri}: {reason}" for uri, reason in self.faults.items()]
        if self.nameless:
            told.insert(0, f"{len(self.nameless)} rows of no use: {self.nameless[0]}")
        more = len(told) - FAULTS_TOLD
        return [*told[:FAULTS_TOLD], *([f"and {more:,} more"] if more > 0 else [])]


class SqlSource:
    """Opens nothing until it is asked. Safe to call from several threads."""

    kind = "sql"

    def __init__(self, table: Table, asking: Asking, *, location: str) -> None:
        self.name = table.name
        self.location = location
        self.asking = asking
        self.table = table
        self._one_at_a_time = threading.Lock()

    def root(self) -> Root:
        """A server that is away is a fault of the listing; a file that is not there is an absent place."""
        file = self.table.database.file
        if file is None or file.is_file():
            return Root(present=True, device=None)
        return Root(present=False, device=None, reason="there is no such file")

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        """Raises SourceUnavailable, also where it was cut off half-way: what was kept by then is found by the
        next one."""
        with self._one_at_a_time:
            started_at = self.table.clock.now()
            found = _Found()
            self._check_columns()
            with self.asking.listing(whole=not prefix):
                if self.table.has_changes and self.table.kept.has_any(self.name):
                    self._list_changes(prefix, found)
                else:
                    self._list_rows(prefix, found)
        return Listing(
            [one for one in found.seen.values() if one is not None],
            self.root(),
            blind=found.blind,
            faults=found.told(),
            started_at=started_at,
            finished_at=self.table.clock.now(),
        )

    def look(self, uri: str) -> Observation:
        found = self._looked([uri])[uri]
        if isinstance(found, str):
            raise DocumentUnreadable(
                f"{uri} in source {self.name} cannot be read: {found}.",
                hint="Correct the row; it is looked at again on schedule.",
                source=self.name,
                uri=uri,
            )
        return found

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        return {uri: found for uri, found in self._looked(uris).items() if not isinstance(found, str)}

    def read(self, uri: str) -> Content:
        return self._content(uri, self.table.kept.body(self.name, uri) if may_be_kept(uri) else None)

    def reading(self, uris: Sequence[str]) -> Read:
        return ReadAhead(self.table.kept, self.name, uris, self._content)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return self.asking.watch(on_dirty)

    def close(self) -> None:
        self.asking.close()
        self.table.database.close()

    def _check_columns(self) -> None:
        """Raises SourceUnavailable where they are not those that the settings speak of."""
        with self.table.database.reading() as connection, self.table.database.timed(connection):
            names = names_of(connection.execute(self.table.statements.nothing()))
        self.table.maker.checked(names)

    def _content(self, uri: str, found: KeptBody | None) -> Content:
        if found is None:  # never seen yet
            look = self.look(uri)
            if isinstance(look, Skipped):
                raise NotIndexable(look.reason, source=self.name, uri=uri)
            found = self.table.kept.body(self.name, uri) if isinstance(look, Seen) else None
        if found is None:
            raise DocumentGone(f"{NO_ROW}: {uri}.", source=self.name, uri=uri)
        held, body = found
        return Content(body, self._seen(held), held.media_type)

    def _list_rows(self, prefix: str, found: _Found) -> None:
        for names, rows in self._streamed(self.table.statements.everything()):
            self._take(names, rows, found, prefix)

    def _list_changes(self, prefix: str, found: _Found) -> None:
        """What differs is read over another connection: few drivers do two things at once on one."""
        for _, rows in self._streamed(self.table.statements.changes()):
            now = self.table.clock.now()
            values: dict[str, tuple[Key, str | None]] = {}
            for *key, value in rows:
                if (uri := self._named(tuple(key), found, prefix)) is not None:
                    values[uri] = tuple(key), token(value, now)
            known = self.table.kept.find(self.name, builtins.list(values))
            differing = []
            for uri, (key, changed) in values.items():
                if uri in found.faults:
                    continue
                if self.table.maker.is_kept(known.get(uri), changed):
                    found.seen[uri] = self._seen(known[uri])
                else:
                    differing.append(key)
                    del found.seen[uri]  # to be taken once it is read
            for some, more in self._by_key(differing):
                self._take(some, more, found, prefix)

    def _named(self, key: Key, found: _Found, prefix: str) -> str | None:
        """The URI of a row that was not seen before."""
        try:
            uri = self.table.uris.uri(key)
        except BadKey as error:
            found.nameless.append(str(error))
            return None
        if not uri.startswith(prefix):
            return None
        if uri in found.seen:
            found.doubt(uri, SEVERAL)
            return None
        found.seen[uri] = None
        return uri

    def _take(self, names: Sequence[str], rows: Iterable[Sequence[Any]], found: _Found, prefix: str) -> None:
        """Keep what is new of these rows."""
        given: dict[str, Keep] = {}
        for key, made in self.table.maker.made(names, rows, self.table.clock.now()):
            uri = self._named(key, found, prefix)
            if uri is None:
                if made.uri is not None:
                    given.pop(made.uri, None)
            elif isinstance(made, Keep):
                given[uri] = made
            elif isinstance(made, Large):
                found.seen[uri] = self._skipped(made)
            else:
                found.doubt(uri, made.reason)
        for look in self._keep(given):
            found.seen[look.uri] = self._seen(look)

    def _keep(self, given: Mapping[str, Keep]) -> Sequence[KeptLook]:
        return self.table.kept.keep(self.name, builtins.list(given.values()))[0] if given else []

    def _looked(self, uris: Sequence[str]) -> dict[str, Observation | str]:
        """Of each either what it is, or why nothing can be said of it."""
        with self.asking.looking(uris) as deleted:
            keys = self._keys([uri for uri in uris if may_be_kept(uri)])
            found: dict[str, Observation | str] = {}
            for names, rows in self._by_key(builtins.list(keys.values())):
                self.table.maker.checked(names)
                found |= self._taken(names, rows)
            found |= self._gone([uri for uri in uris if uri not in found], deleted)
        return {uri: found[uri] for uri in uris}

    def _taken(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Observation | str]:
        given: dict[str, Keep] = {}
        found: dict[str, Observation | str] = {}
        for _, made in self.table.maker.made(names, rows, self.table.clock.now()):
            if made.uri is None:
                continue
            if made.uri in given or made.uri in found:
                given.pop(made.uri, None)
                found[made.uri] = SEVERAL
            elif isinstance(made, Keep):
                given[made.uri] = made
            else:
                found[made.uri] = self._skipped(made) if isinstance(made, Large) else made.reason
        return found | {look.uri: self._seen(look) for look in self._keep(given)}

    def _keys(self, uris: Sequence[str]) -> dict[str, Key]:
        """Of those that can name a row."""
        if not self.table.uris.known:
            self._learn_types()
        keys = {uri: self.table.uris.key(uri) for uri in uris} if self.table.uris.known else {}
        return {uri: key for uri, key in keys.items() if key is not None and self._may_be(key)}

    def _may_be(self, key: Key) -> bool:
        """Text with a zero byte is no text on most servers, and refused."""
        on_server = self.table.database.file is None
        return not (on_server and any(isinstance(part, str) and "\0" in part for part in key))

    def _learn_types(self) -> None:
        with self.table.database.reading() as connection:
            row = connection.execute(self.table.statements.one_key()).first()
        if row is not None and None not in row:
            self.table.uris.uri(tuple(row))

    def _gone(self, uris: Sequence[str], deleted: set[str]) -> dict[str, Observation]:
        """``deleted``: those whose rows the outbox tells were. That is kept, until a row comes back."""
        if not uris:
            return {}
        noted = [Keep(uri, None) for uri in uris if uri in deleted]
        if noted:
            self.table.kept.keep(self.name, noted)
        known = self.table.kept.find(self.name, [uri for uri in uris if may_be_kept(uri)])
        definite = {uri for uri, look in known.items() if look.digest is None}
        now = self.table.clock.now()
        return {uri: Gone(uri, NO_ROW, now, definite=uri in definite or uri in deleted) for uri in uris}

    def _streamed(self, statement: sa.Executable) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
        """Names of the columns, and some of the rows."""
        with (
            self.table.database.reading() as connection,
            self.table.database.timed(connection) as anew,
            self.table.database.streamed(connection, statement) as result,
        ):
            names = names_of(result)
            for rows in result.partitions():
                yield names, rows
                anew()

    def _by_key(self, keys: Sequence[Key]) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
        if not keys:
            return
        for some in _slices(keys):
            with self.table.database.reading() as connection, self.table.database.timed(connection):
                result = connection.execute(self.table.statements.rows(some, self.table.database.kind))
                names, rows = names_of(result), result.all()
            yield names, rows

    def _seen(self, look: KeptLook) -> Seen:
        now = self.table.clock.now()
        return Seen(look.uri, look.fingerprint, None, look.size_bytes, look.changed_at, now, judged=True)

    def _skipped(self, made: Large) -> Skipped:
        return Skipped(made.uri, made.reason, self.table.clock.now(), made.size_bytes)


def _slices(several: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(several), KEYS_AT_ONCE):
        yield several[start : start + KEYS_AT_ONCE]
