"""A branch of a git repository as a source: its files, as of the commit that the branch is at.

What is new is kept in the ledger, so that workers read it wherever they run. What a commit has removed is
gone by that evidence; where the branch is at a commit that does not follow the one in which a document was
seen (after a forced push, or with another branch), its absence is one as any other.
"""

from __future__ import annotations

import builtins
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, DocumentUnreadable, Misconfigured, NotIndexable, SourceUnavailable
from ingestion.ledger.kept import Kept, KeptBody
from ingestion.records import Content, Gone, Listing, Observation, Root, Skipped
from ingestion.sources.git import trees
from ingestion.sources.git.keeping import Keeper, Names, is_ours, seen_of
from ingestion.sources.git.places import Place
from ingestion.sources.git.program import GitFailed
from ingestion.sources.git.trees import Difference, Entry
from ingestion.sources.patterns import Patterns
from ingestion.sources.polling import LONGEST_PAUSE_S, Polling
from ingestion.sources.port import Read, Watch
from ingestion.sources.read_ahead import ReadAhead, may_be_kept
from ingestion.sources.settling import Dirty, Touch

KIND = "git"
MANY = 2000  # so many changes are found sooner by a listing
FAULTS_TOLD = 5
FRESH_S = 0.5  # a look that follows a question or a listing asks nobody again; a hint later than that does


@dataclass(slots=True)
class _Position:
    """How far the branch is known: up to which commit everything was listed or told, how often listings have
    failed since and when the last one did, and when the changes up to another commit came."""

    commit: str | None = None
    failed: int = 0
    failed_at: float = 0.0
    dated_to: str | None = None
    moments: Mapping[str, float] = field(default_factory=dict)


class GitSource:
    """Safe to call from several threads."""

    kind = KIND

    def __init__(
        self,
        name: str,
        kept: Kept,
        place: Place,
        *,
        location: str,
        subfolder: str = "",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_file_bytes: int,
        every_s: float,
        clock: Clock,
    ) -> None:
        """``subfolder``: '' or ending with '/'. Raises WrongSettings for what is no pattern."""
        self.name = name
        self.location = location
        self._kept = kept
        self._place = place
        self._names = Names(subfolder, Patterns(include, exclude))
        self._keeper = Keeper(name, kept, place, self._names, max_file_bytes=max_file_bytes, clock=clock)
        self._every_s = every_s
        self._clock = clock
        self._turn = threading.Lock()
        self._position = _Position()

    def root(self) -> Root:
        return self._place.root()

    def list(self) -> Listing:
        try:
            head, listing = self._list("")
        except SourceUnavailable:
            with self._turn:
                self._position.failed += 1
                self._position.failed_at = self._clock.monotonic()
            raise
        with self._turn:
            self._position.commit, self._position.failed = head, 0
        return listing

    def list_below(self, prefix: str) -> Listing:
        return self._list(prefix)[1]

    def _list(self, prefix: str) -> tuple[str, Listing]:
        started_at = self._clock.now()
        with self._asked():
            head = self._place.head()
            with self._reading():
                entries = self._entries_below(head, prefix)
                known = {look.uri: look for look in self._kept.below(self.name, prefix)}
                sightings, lacking = self._keeper.sightings(head, entries, known, lambda: self._dated(head))
        return head, Listing(
            sightings,
            self.root(),
            blind=lacking,
            faults=[_lacks(uri) for uri in lacking[:FAULTS_TOLD]],
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def look(self, uri: str) -> Observation:
        found = self.looks([uri]).get(uri)
        if found is None:
            raise DocumentUnreadable(
                f"{uri} in source {self.name} cannot be read: {_lacks(uri)}.",
                hint="Repair the repository: git fsck",
                source=self.name,
                uri=uri,
            )
        return found

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        if not uris:
            return {}
        known = self._kept.find(self.name, [uri for uri in uris if may_be_kept(uri)])
        observed: dict[str, Observation] = {}
        paths: dict[str, str] = {}
        for uri in uris:
            try:
                paths[self._names.path(uri)] = uri
            except ValueError as error:
                observed[uri] = Gone(uri, str(error), self._clock.now())
        with self._asked():
            head = self._place.head(FRESH_S)
            with self._reading():
                entries = trees.at(self._place.git, head, [*paths])
                found, _ = self._keeper.sightings(head, entries, known, lambda: self._dated(head))
                observed |= {one.uri: one for one in found}
                absent = paths.keys() - {one.path for one in entries}
                observed |= self._keeper.missing(head, [paths[path] for path in absent], known)
        return observed

    def read(self, uri: str) -> Content:
        return self._content(uri, self._kept.body(self.name, uri) if may_be_kept(uri) else None)

    def reading(self, uris: Sequence[str]) -> Read:
        return ReadAhead(self._kept, self.name, uris, self._content)

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Polling(self.ask, on_dirty, every_s=self._every_s, name=self.name, clock=self._clock)

    def ask(self) -> Dirty | None:
        """What has changed since this was last asked, or everything was listed. Raises SourceUnavailable.

        Everything, once the place can be looked at again after listings that failed: now and then only, as
        it may be the listing alone that fails.
        """
        with self._turn:
            at = replace(self._position)
        if at.commit is None and not at.failed:
            return None
        with self._asked():
            head = self._place.head()
            if at.failed and self._clock.monotonic() - at.failed_at >= _pause_s(at.failed):
                return Dirty({"": Touch.SETTLED})
            if at.commit is None:
                return None
            if head == at.commit:
                return Dirty()
            with self._reading():
                dirty = self._changed(at.commit, head)
        with self._turn:
            self._position.commit = head
        return dirty

    def _changed(self, before: str, head: str) -> Dirty:
        git = self._place.git
        try:
            differences = trees.differences(git, before, head, self._names.folder)
        except GitFailed:
            if trees.holds(git, before):
                raise
            return Dirty({"": Touch.SETTLED})  # thrown away since a forced push
        self._dated(head)
        if len(differences) > MANY:
            return Dirty({"": Touch.SETTLED})
        return self._hints(differences)

    def _hints(self, differences: Sequence[Difference]) -> Dirty:
        touched: dict[str, Touch] = {}
        moved: dict[str, str] = {}
        for one in differences:
            old, new = self._names.taken(one.old), self._names.taken(one.new)
            if old is not None and new is not None and old != new:
                moved[old] = new
            elif new is not None:
                touched[new] = Touch.SETTLED
            elif old is not None:
                touched[old] = Touch.GONE
        return Dirty(touched, moved)

    def _entries_below(self, head: str, prefix: str) -> builtins.list[Entry]:
        folder = self._names.folder_of(prefix)
        found = [] if folder is None else trees.below(self._place.git, head, folder)
        return [one for one in found if self._names.taken(one.path) is not None]

    def _dated(self, head: str) -> Mapping[str, float]:
        """When the branch came by what has changed since it was last known, by path."""
        with self._turn:
            at = replace(self._position)
        if at.dated_to == head:
            return at.moments
        before = at.commit
        moments: Mapping[str, float] = {}
        if before is not None and before != head:
            with contextlib.suppress(GitFailed):  # thrown away since a forced push
                moments = trees.dated(self._place.git, before, head, self._names.folder)
        with self._turn:
            self._position.dated_to, self._position.moments = head, moments
        return moments

    def _content(self, uri: str, found: KeptBody | None) -> Content:
        if found is None or not is_ours(found[0]):  # never seen yet
            look = self.look(uri)
            if isinstance(look, Skipped):
                raise NotIndexable(look.reason, source=self.name, uri=uri)
            if isinstance(look, Gone):
                raise DocumentGone(f"{uri} is not there: {look.evidence}.", source=self.name, uri=uri)
            found = self._kept.body(self.name, uri)
        if found is None:
            raise DocumentGone(f"{uri} is not kept any more.", source=self.name, uri=uri)
        kept, body = found
        return Content(body, seen_of(kept, self._clock.now()))

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except GitFailed as fault:
            raise self._unavailable(fault.said) from fault
        except Misconfigured as fault:
            raise self._unavailable(str(fault).removesuffix(".")) from fault

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """What cannot be read although the branch is at it is damaged."""
        try:
            yield
        except GitFailed as fault:
            if fault.code is not None and self._place.is_copy:
                self._place.make_again()
                why = f"the copy of it was damaged, and is made again ({fault.said})"
                raise GitFailed(why, None) from fault
            raise

    def _unavailable(self, reason: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"The repository {self.location} of source {self.name} cannot be looked at: {reason}.",
            hint=f"What is indexed of it stays searchable. Check it with: git ls-remote {self.location}",
            source=self.name,
        )


def _pause_s(failed: int) -> float:
    return float(min(2.0 ** min(failed, 16), LONGEST_PAUSE_S))


def _lacks(uri: str) -> str:
    return f"the repository lacks the content of {uri}, or it is damaged"
