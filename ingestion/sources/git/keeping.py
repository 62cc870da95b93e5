"""Which files of a tree are documents, what is kept of them, and what it means that one is missing.

A file's content is kept with the commit in which it was seen: where the branch has gone on from there, a
commit has removed what is missing now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ingestion.clock import Clock
from ingestion.ledger.kept import Keep, Kept, KeptLook
from ingestion.ledger.names import fitting
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.git import trees
from ingestion.sources.git.places import Place
from ingestion.sources.git.program import GitFailed
from ingestion.sources.git.trees import Entry
from ingestion.sources.paths import path_of, uri_of
from ingestion.sources.patterns import Patterns
from ingestion.sources.survey import too_large

SLICE = 500  # documents kept in one transaction
SLICE_BYTES = 8 * 1024 * 1024  # of their content, held at once
_BLOB, _COMMIT, _AT, _IN = "blob", "commit", "at", "in"  # in the notes of a kept document

Known = Mapping[str, KeptLook]
Moments = Callable[[], Mapping[str, float]]
"""When the branch came by what it has, by path; what is left out came with its last commit."""


class Names:
    """Which paths of the repository are documents, and what they are called."""

    def __init__(self, folder: str, patterns: Patterns) -> None:
        """``folder``: what all of them lie below: '' or ending with '/'."""
        self.folder = folder
        self._patterns = patterns

    def uri(self, path: str) -> str:
        return uri_of(path[len(self.folder) :])

    def taken(self, path: str | None) -> str | None:
        """The URI of what is a document by its path."""
        if path is None or not path.startswith(self.folder):
            return None
        return self.uri(path) if self._patterns.takes(path[len(self.folder) :]) else None

    def path(self, uri: str) -> str:
        """Raises ValueError where no document can be called so."""
        path = path_of(uri)
        if not self._patterns.takes(path):
            raise ValueError(f"excluded by the settings: {self._patterns.why_not(path)}")
        return self.folder + path

    def folder_of(self, prefix: str) -> str | None:
        """The folder of a prefix of URIs, or None where none can be called so."""
        if not prefix:
            return self.folder
        try:
            return f"{self.folder}{path_of(prefix.removesuffix('/'))}/"
        except ValueError:
            return None


class Keeper:
    """Keeps what is new in the ledger. Every method raises GitFailed."""

    def __init__(
        self, source: str, kept: Kept, place: Place, names: Names, *, max_file_bytes: int, clock: Clock
    ) -> None:
        self._source = source
        self._kept = kept
        self._place = place
        self._names = names
        self._most_bytes = max_file_bytes
        self._clock = clock

    def sightings(
        self, head: str, entries: Sequence[Entry], known: Known, moments: Moments
    ) -> tuple[list[Seen | Skipped], list[str]]:
        """And the URIs of those whose content cannot be read. ``known``: what is kept of them."""
        found: list[Seen | Skipped] = []
        lacking: list[str] = []
        new: list[Entry] = []
        now = self._clock.now()
        for one in entries:
            uri = self._names.uri(one.path)
            before = known.get(uri)
            if one.size_bytes is None:
                lacking.append(uri)
            elif one.size_bytes > self._most_bytes:
                found.append(Skipped(uri, too_large(one.size_bytes, self._most_bytes), now, one.size_bytes))
            elif before is not None and before.digest is not None and before.notes.get(_BLOB) == one.blob:
                found.append(seen_of(before, now))
            elif isinstance(bare := fitting(Seen(uri, one.blob, None, one.size_bytes, None, now)), Skipped):
                found.append(bare)
            else:
                new.append(one)
        for some in _slices(new):
            found += [seen_of(look, now) for look in self._keep_readable(head, some, moments, lacking)]
        return found, lacking

    def missing(self, head: str, uris: Sequence[str], known: Known) -> Iterator[tuple[str, Gone]]:
        """Of those that are no regular file. What a commit removed is not kept any longer."""
        now = self._clock.now()
        seen_in = {
            uri: str(known[uri].notes[_COMMIT])
            for uri in uris
            if uri in known and known[uri].notes.get(_IN) == self._names.folder
        }
        before = trees.ancestors(self._place.git, set(seen_in.values()), head) if seen_in else set()
        removed = {uri for uri, commit in seen_in.items() if commit in before}
        forget = [uri for uri in sorted(removed) if known[uri].digest is not None]
        if forget:
            self._kept.keep(self._source, [Keep(uri, None, notes=known[uri].notes) for uri in forget])
        for uri in uris:
            if uri in removed:
                yield uri, Gone(uri, f"a commit up to {head[:12]} removed it", now, definite=True)
            else:
                yield uri, Gone(uri, f"no regular file in commit {head[:12]}", now)

    def _keep_readable(
        self, head: str, entries: Sequence[Entry], moments: Moments, lacking: list[str]
    ) -> list[KeptLook]:
        """One whose content is damaged keeps no other from being read, where it is nobody's to mend."""
        try:
            return self._keep(head, entries, moments())
        except GitFailed as fault:
            if fault.code is None or self._place.is_copy:
                raise
            if len(entries) == 1:
                lacking.append(self._names.uri(entries[0].path))
                return []
        half = len(entries) // 2
        parts = (entries[:half], entries[half:])
        return [look for part in parts for look in self._keep_readable(head, part, moments, lacking)]

    def _keep(self, head: str, entries: Sequence[Entry], moments: Mapping[str, float]) -> list[KeptLook]:
        git = self._place.git
        bodies = dict(trees.bodies(git, [*dict.fromkeys(one.blob for one in entries)]))
        latest = trees.moment(git, head)
        seen = {_COMMIT: head, _IN: self._names.folder}
        given = [
            Keep(
                self._names.uri(one.path),
                bodies[one.blob],
                notes={**seen, _BLOB: one.blob, _AT: moments.get(one.path, latest)},
            )
            for one in entries
        ]
        return self._kept.keep(self._source, given)[0]


def is_ours(look: KeptLook) -> bool:
    """Whether a source of this kind has kept it: the name may have been another's."""
    return _BLOB in look.notes


def seen_of(look: KeptLook, observed_at: float) -> Seen:
    """No identity: two files may have one content."""
    return Seen(look.uri, str(look.notes[_BLOB]), None, look.size_bytes, float(look.notes[_AT]), observed_at)


def _slices(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    some: list[Entry] = []
    size_bytes = 0
    for one in entries:
        size_bytes += one.size_bytes or 0
        if some and (len(some) == SLICE or size_bytes > SLICE_BYTES):
            yield some
            some, size_bytes = [], one.size_bytes or 0
        some.append(one)
    if some:
        yield some
