"""Watching a folder: hints that something may have changed, and an honest word on what is not seen.

Hints mark places dirty and nothing more; what became of them is for a look to say. On Linux the tree is
watched by ``ingestion.sources.inotify``; elsewhere by watchdog's observer of the platform, which tells
the same with fewer details (no closing, so a written file is due only once it is quiet).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from ingestion.sources.mounts import unseen_changes
from ingestion.sources.paths import uri_of
from ingestion.sources.patterns import Patterns
from ingestion.sources.settling import Dirty, Touch

if TYPE_CHECKING:
    from ingestion.sources.files import FilesSource

log = logging.getLogger(__name__)

BY_INOTIFY = sys.platform == "linux"


class _Tree(Protocol):
    @property
    def overflows(self) -> int: ...

    @property
    def unwatched(self) -> int: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def alive(self) -> bool: ...


class FileWatch:
    """The watch of one source. Methods may be called from any thread.

    ``on_dirty`` is called from a thread of its own, one call at a time, and should only take note.
    """

    def __init__(
        self, source: FilesSource, on_dirty: Callable[[Dirty], None], *, by_inotify: bool = BY_INOTIFY
    ) -> None:
        self.blind_reason: str | None = None
        """Why changes may come without a hint although the watch is alive, or why there is no watch:
        then only scans find them. Known after ``start``."""
        self._source = source
        self._on_dirty = on_dirty
        self._by_inotify = by_inotify
        self._lock = threading.RLock()
        self._tree: _Tree | None = None
        self._identity: tuple[int, int] | None = None
        self._overflows_before = 0

    @property
    def overflows(self) -> int:
        """How often events were lost because they came faster than they were taken, since the beginning.

        Each was followed by a hint that everything is dirty.
        """
        return self._overflows_before + (self._tree.overflows if self._tree else 0)

    def seen_until(self, now: float) -> float | None:
        """The system tells of each change at once."""
        return now

    @property
    def unwatched(self) -> int:
        """Folders that got no watch (the limit of the system): only scans see changes there."""
        return self._tree.unwatched if self._tree else 0

    def start(self) -> bool:
        """Watch from now on; every change after the return gives a hint. True if the watch is alive.

        False while the root is not there or cannot be watched (``blind_reason``): call ``restart`` later.
        """
        with self._lock:
            if self._tree is not None:
                return self.alive()
            root = os.path.realpath(self._source.location)
            self.blind_reason = unseen_changes(root) if self._by_inotify else None
            tree = self._new_tree(root)
            try:
                self._identity = self._root_identity()
                tree.start()
            except OSError as error:
                self.blind_reason = f"{root} cannot be watched: {error.strerror}"
                return False
            self._tree = tree
            return self.alive()

    def stop(self) -> None:
        """No hint comes after the return, unless called from ``on_dirty`` itself. Idempotent."""
        with self._lock:
            tree, self._tree = self._tree, None
            if tree is not None:
                self._overflows_before += tree.overflows
        if tree is not None:
            tree.stop()

    def restart(self) -> bool:
        """A new watch, after the old one was lost. What happened in between is for a scan to find."""
        self.stop()
        return self.start()

    def alive(self) -> bool:
        """Whether changes of the folder that is at the root now give hints. Cheap: one stat."""
        with self._lock:
            if self._tree is None or not self._tree.alive():
                return False
            try:
                return self._root_identity() == self._identity
            except OSError:
                return False

    def _root_identity(self) -> tuple[int, int]:
        status = self._source.path.stat()
        return status.st_dev, status.st_ino

    def _new_tree(self, root: str) -> _Tree:
        if self._by_inotify:
            from ingestion.sources.inotify import InotifyTree  # importable on Linux only

            return InotifyTree(root, self._source.patterns, self._hint)
        return _ObserverTree(root, self._source.patterns, self._hint)

    def _hint(self, dirty: Dirty) -> None:
        """Pass the hint on, for symbolic links to what changed too."""
        links = {
            link: Touch.WRITING
            for place in (*dirty.touched, *dirty.moved, *dirty.moved.values())
            for link in self._source.links_to(place)
        }
        self._on_dirty(Dirty(links | dict(dirty.touched), dirty.moved) if links else dirty)


class _ObserverTree(FileSystemEventHandler):
    """The tree as watchdog's own observer shows it. It tells of no lost events."""

    overflows = 0
    unwatched = 0

    def __init__(self, root: str, patterns: Patterns, on_dirty: Callable[[Dirty], None]) -> None:
        self._root = root
        self._patterns = patterns
        self._on_dirty = on_dirty
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Raises OSError where the root cannot be watched."""
        os.scandir(self._root).close()
        observer = self._observer = Observer()
        try:
            observer.schedule(self, self._root, recursive=True)
            observer.start()
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        observer, self._observer = self._observer, None
        if observer is None:
            return
        observer.stop()
        if observer.is_alive() and observer is not threading.current_thread():
            observer.join()

    def alive(self) -> bool:
        observer = self._observer
        return observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters)

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("opened", "closed_no_write") or event.is_synthetic:
            return
        old = self._place(event.src_path, is_folder=event.is_directory)
        new = self._place(event.dest_path, is_folder=event.is_directory) if event.dest_path else None
        if event.event_type == "moved":
            self._on_move(old, new)
        elif old == "":
            if event.event_type == "deleted":
                self._on_dirty(Dirty({"": Touch.SETTLED}))
        elif old is not None and not (event.is_directory and event.event_type == "modified"):
            self._on_dirty(Dirty({old: _TOUCHES.get(event.event_type, Touch.WRITING)}))

    def _on_move(self, old: str | None, new: str | None) -> None:
        if old and new:
            self._on_dirty(Dirty(moved={old: new}))
        elif new:
            self._on_dirty(Dirty({new: Touch.SETTLED}))
        elif old:
            self._on_dirty(Dirty({old: Touch.GONE}))

    def _place(self, path: str | bytes, *, is_folder: bool) -> str | None:
        """The place as in Dirty, or None where no document can be."""
        below = os.fsdecode(path)[len(self._root) :].lstrip(os.sep).replace(os.sep, "/")
        if not below:
            return ""
        if is_folder:
            return uri_of(below) + "/" if self._patterns.reaches(below) else None
        return uri_of(below) if self._patterns.takes(below) else None


_TOUCHES = {"deleted": Touch.GONE, "closed": Touch.SETTLED, "attrib": Touch.ATTRIBUTES}
