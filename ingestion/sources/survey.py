"""Walking a folder once: names, sizes and times of every document below it; no content is read.

What cannot be listed is remembered as blind, so that nothing there is taken for absent. What vanishes
during the walk is simply not in it.
"""

from __future__ import annotations

import os
import stat

from ingestion.clock import Clock
from ingestion.records import Seen, Skipped
from ingestion.sources import beneath
from ingestion.sources.paths import uri_of
from ingestion.sources.patterns import Patterns

GRANULARITY_S = 0.05
"""Two changes within this time may carry one ctime (a tick of the kernel is 1 to 10 ms)."""
COARSE_GRANULARITY_S = 2.0
"""The same on file systems that keep whole milliseconds or less (FAT: two seconds)."""


class Survey:
    """One walk. ``sightings``, ``blind`` and ``faults`` are as in records.Listing; ``links`` gives the
    URIs of symbolic links by the path, below the root, of the file they lead to."""

    def __init__(self, root: str, patterns: Patterns, max_file_bytes: int, clock: Clock) -> None:
        self.sightings: list[Seen | Skipped] = []
        self.blind: list[str] = []
        self.faults: list[str] = []
        self.links: dict[str, list[str]] = {}
        self._root = root
        self._patterns = patterns
        self._max_file_bytes = max_file_bytes
        self._clock = clock
        self._pending: list[str] = []

    def walk(self, folder: str) -> None:
        """List ``folder`` (a path below the root, '' or ending with '/') and everything below it."""
        self._pending.append(folder)
        while self._pending:
            self._list(self._pending.pop())

    def _list(self, folder: str) -> None:
        # Taken before the first stat: an earlier time of looking can only make more files count as racy.
        observed_at = self._clock.now()
        shown = uri_of(folder)
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                for entry in entries:
                    try:
                        self._sight(entry, folder, shown, observed_at)
                    except PermissionError:
                        raise
                    except OSError as error:
                        self._cannot_see(shown + uri_of(entry.name), error)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self._cannot_see(shown, error)

    def _sight(self, entry: os.DirEntry[str], folder: str, shown: str, observed_at: float) -> None:
        """Raises PermissionError for the whole folder: without search permission no stat succeeds."""
        name = entry.name
        path = folder + name
        try:
            if entry.is_dir(follow_symlinks=False):
                if self._patterns.enters(path, name):
                    self._pending.append(path + "/")
                return
            if not self._patterns.takes_file(path, name):
                return
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        uri = shown + uri_of(name)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._add(uri, status, observed_at)
        elif stat.S_ISLNK(mode):
            self._follow(path, uri, observed_at)

    def _follow(self, path: str, uri: str, observed_at: float) -> None:
        """A symbolic link is a document where it leads to a regular file inside the root."""
        try:
            inside = beneath.target(self._root, path)
            if inside is None:
                return
            self.links.setdefault(inside, []).append(uri)
            status = beneath.status(self._root, inside)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._cannot_see(uri, error)
            return
        if stat.S_ISREG(status.st_mode):
            self._add(uri, status, observed_at)

    def _add(self, uri: str, status: os.stat_result, observed_at: float) -> None:
        if status.st_size > self._max_file_bytes:
            reason = too_large(status.st_size, self._max_file_bytes)
            self.sightings.append(Skipped(uri, reason, observed_at, status.st_size))
        else:
            self.sightings.append(seen_of(uri, status, observed_at))

    def _cannot_see(self, uri: str, error: OSError) -> None:
        self.blind.append(uri)
        self.faults.append(f"{uri or 'the folder itself'} could not be looked at: {error.strerror}")


def seen_of(uri: str, status: os.stat_result, observed_at: float) -> Seen:
    """The sighting of a regular file. ctime is in the fingerprint because nothing can set it back.

    The device is not: each machine gives another number to the same share, and so does the next mount.
    """
    size, modified, changed = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    place = status.st_ino
    return Seen(
        uri,
        f"{size}:{modified}:{changed}:{place}",
        f"{place}:{size}:{modified}",
        size,
        modified / 1e9,
        observed_at,
        _racy(modified, changed, observed_at),
    )


def too_large(size_bytes: int, limit_bytes: int, setting: str = "max_file_bytes") -> str:
    return f"{_shown(size_bytes)}, over the limit of {_shown(limit_bytes)} ({setting})"


def _shown(size_bytes: int) -> str:
    mebibytes = f" ({size_bytes / 2**20:.1f} MiB)" if size_bytes >= 2**20 else ""
    return f"{size_bytes:,} bytes{mebibytes}"


def _racy(modified_ns: int, changed_ns: int, observed_at: float) -> bool:
    coarse = changed_ns % 1_000_000 == 0
    within = COARSE_GRANULARITY_S if coarse else GRANULARITY_S
    return abs(observed_at - changed_ns / 1e9) <= within or abs(observed_at - modified_ns / 1e9) <= within
