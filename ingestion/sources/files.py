"""Folders as a source: looks at sizes and times, hands out bytes, keeps to its root.

Absence is reported with its evidence and never judged. Symbolic links: a link to a regular file inside
the root is a document of its own; every other link (to a folder, out of the root, to nothing) is not
there at all, and nothing is ever reached through a linked folder.
"""

from __future__ import annotations

import builtins
import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingestion.clock import Clock
from ingestion.errors import (
    DocumentChanging,
    DocumentGone,
    DocumentUnreadable,
    NotIndexable,
    SourceUnavailable,
)
from ingestion.machine import machine_id
from ingestion.records import Content, Gone, Listing, Observation, Root, Skipped
from ingestion.sources import beneath
from ingestion.sources.paths import path_of, uri_of
from ingestion.sources.patterns import Patterns
from ingestion.sources.port import Read, Watch, one_by_one
from ingestion.sources.settling import Dirty
from ingestion.sources.survey import Survey, seen_of, too_large

MAX_FILE_BYTES = 16 * 2**20
READ_ATTEMPTS = 3

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
# What opening says where there is no file, or something else: worth a closer look.
_NO_PLAIN_FILE = _ABSENT | {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class _Found:
    """A regular file: where it is beneath the root (behind the link, if the document is one)."""

    path: str
    status: os.stat_result
    observed_at: float


@dataclass(frozen=True, slots=True)
class _NoPath:
    """No document can have this URI, whatever the folder holds."""

    evidence: str


class FilesSource:
    """Every file below one folder that the patterns take. Safe to call from any thread."""

    kind = "files"

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_file_bytes: int = MAX_FILE_BYTES,
        clock: Clock,
    ) -> None:
        """The root need not be there yet. Raises WrongSettings for what is no pattern."""
        self.name = name
        self.path = root.absolute()
        self.patterns = Patterns(include, exclude)
        self.max_file_bytes = max_file_bytes
        self._root = os.fspath(self.path)
        self._clock = clock
        self._links: dict[str, set[str]] = {}  # never forgotten: a hint too many costs one look
        self._links_lock = threading.Lock()

    @property
    def location(self) -> str:
        return self._root

    def root(self) -> Root:
        try:
            device = self.path.stat().st_dev
            with os.scandir(self._root) as held:
                empty = next(held, None) is None
        except OSError as error:
            return Root(present=False, device=None, reason=_reason(error))
        return Root(present=True, device=device, machine=machine_id(), empty=empty)

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        """Look at what lies below a prefix only ('' or ending with '/'); for directory events.

        A directory that is not there, or is left out by the patterns, gives an empty listing. Raises
        SourceUnavailable as ``list`` does.
        """
        started_at = self._clock.now()
        before = self._root_identity()
        survey = Survey(self._root, self.patterns, self.max_file_bytes, self._clock)
        folder = self._folder(prefix)
        if folder is not None:
            survey.walk(folder)
        if "" in survey.blind:
            raise self._unavailable(survey.faults[-1])
        self._require_same_root(before)
        self._remember_links(survey.links)
        return Listing(
            sightings=survey.sightings,
            root=Root(present=True, device=before[0], machine=machine_id()),
            blind=survey.blind,
            faults=survey.faults,
            started_at=started_at,
            finished_at=self._clock.now(),
        )

    def look(self, uri: str) -> Observation:
        found = self._find(uri)
        if isinstance(found, Gone):
            return found
        status, observed_at = found.status, found.observed_at
        if status.st_size > self.max_file_bytes:
            reason = too_large(status.st_size, self.max_file_bytes)
            return Skipped(uri, reason, observed_at, status.st_size)
        return seen_of(uri, status, observed_at)

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        return one_by_one(self.look, uris)

    def reading(self, uris: Sequence[str]) -> Read:
        return self.read

    def read(self, uri: str) -> Content:
        for _ in range(READ_ATTEMPTS):
            content = self._read_once(uri)
            if content is not None:
                return content
        raise DocumentChanging(
            f"{uri} changed each of the {READ_ATTEMPTS} times it was read.",
            hint="It is read again once it is quiet.",
            source=self.name,
            uri=uri,
        )

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        from ingestion.sources.watching import FileWatch  # only who watches waits for it

        return FileWatch(self, on_dirty)

    def links_to(self, place: str) -> tuple[str, ...]:
        """Documents that are symbolic links to this file, or into this folder (a prefix ending with '/'),
        as far as looks have shown them.

        A change of the file changes them too, and no event says so.
        """
        with self._links_lock:
            if not place.endswith("/"):
                return tuple(self._links.get(place, ()))
            below = (links for uri, links in self._links.items() if uri.startswith(place))
            return tuple(link for links in below for link in links)

    def _find(self, uri: str) -> _Found | Gone:
        """Absence is believed only while the root is the one that was looked into."""
        root = self._root_identity()
        observed_at = self._clock.now()
        path = self._path(uri)
        if isinstance(path, _NoPath):
            return Gone(uri, path.evidence, observed_at)
        try:
            found = self._found_at(path, observed_at)
        except OSError as error:
            self._require_same_root(root)
            if error.errno not in _ABSENT:
                raise self._unreadable(uri, error) from error
            return Gone(uri, _reason(error), observed_at)
        if found is None:
            self._require_same_root(root)
            return Gone(uri, "not a regular file inside the folder", observed_at)
        return found

    def _path(self, uri: str) -> str | _NoPath:
        try:
            path = path_of(uri)
        except ValueError as error:
            return _NoPath(str(error))
        if self.patterns.takes(path):
            return path
        return _NoPath(f"excluded by the settings: {self.patterns.why_not(path)}")

    def _found_at(self, path: str, observed_at: float) -> _Found | None:
        status = beneath.status(self._root, path)
        if stat.S_ISLNK(status.st_mode):
            inside = beneath.target(self._root, path)
            if inside is None:
                return None
            self._remember_links({inside: [uri_of(path)]})
            path, status = inside, beneath.status(self._root, inside)
        return _Found(path, status, observed_at) if stat.S_ISREG(status.st_mode) else None

    def _read_once(self, uri: str) -> Content | None:
        """The content, or None where the file was changed, replaced or deleted meanwhile."""
        path = self._path(uri)
        if isinstance(path, _NoPath):
            raise self._gone(uri, path.evidence)
        try:
            return self._content(uri, path)
        except OSError as error:
            if error.errno not in _NO_PLAIN_FILE:
                raise self._unreadable(uri, error) from error
        found = self._find(uri)
        if isinstance(found, Gone):
            raise self._gone(uri, found.evidence)
        if found.path == path:
            return None
        try:
            return self._content(uri, found.path)  # the file behind a symbolic link
        except OSError as error:
            if error.errno in _NO_PLAIN_FILE:
                return None
            raise self._unreadable(uri, error) from error

    def _content(self, uri: str, path: str) -> Content | None:
        """None where the file changed while it was read. Raises OSError."""
        with beneath.opened(self._root, path) as file:
            before = os.fstat(file.descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ENXIO, "not a regular file")
            body = self._body(uri, file.descriptor, before.st_size)
            observed_at = self._clock.now()
            after = os.fstat(file.descriptor)
            in_place = file.in_place()
        if len(body) != after.st_size or not _version(before) == _version(after) == _version(in_place):
            return None
        return Content(body, seen_of(uri, after, observed_at))

    def _body(self, uri: str, descriptor: int, size: int) -> bytes:
        """As many bytes as the file has, and one more if there is one: a file that grows is not chased."""
        if size > self.max_file_bytes:
            raise NotIndexable(too_large(size, self.max_file_bytes), source=self.name, uri=uri)
        pieces: builtins.list[bytes] = []
        missing = size + 1
        while missing and (piece := os.read(descriptor, missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _folder(self, prefix: str) -> str | None:
        """The folder of a URI prefix, or None where no document can be below it."""
        if not prefix:
            return ""
        try:
            path = path_of(prefix.removesuffix("/"))
            if not self.patterns.reaches(path):
                return None
            status = beneath.status(self._root, path)
        except (ValueError, FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return path + "/"  # the walk says why it is blind
        return path + "/" if stat.S_ISDIR(status.st_mode) else None

    def _remember_links(self, links: Mapping[str, Sequence[str]]) -> None:
        with self._links_lock:
            for path, uris in links.items():
                self._links.setdefault(uri_of(path), set()).update(uris)

    def _root_identity(self) -> tuple[int, int]:
        """(device, inode) of the folder. Raises SourceUnavailable."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise self._unavailable(_reason(error)) from error
        if not stat.S_ISDIR(status.st_mode):
            raise self._unavailable("it is no folder")
        return status.st_dev, status.st_ino

    def _require_same_root(self, before: tuple[int, int]) -> None:
        if self._root_identity() != before:
            raise self._unavailable("it was replaced while it was being looked at")

    def _unavailable(self, reason: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"The folder {self._root} of source {self.name} cannot be looked at: {reason}.",
            hint="What is indexed of it stays searchable. Create or mount it, give read permission, "
            "or take it out of the settings.",
            source=self.name,
        )

    def _unreadable(self, uri: str, error: OSError) -> DocumentUnreadable:
        return DocumentUnreadable(
            f"{uri} in source {self.name} cannot be read: {_reason(error)}.",
            hint="Give read permission or repair the disk, or exclude it in the settings.",
            source=self.name,
            uri=uri,
        )

    def _gone(self, uri: str, evidence: str) -> DocumentGone:
        return DocumentGone(f"{uri} is not there: {evidence}.", source=self.name, uri=uri)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
