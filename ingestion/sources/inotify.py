"""One tree of folders watched by inotify: every entered folder has a watch, no other has.

Built on watchdog's reader of the inotify descriptor and not on its observer, which watches excluded
folders too, is told of every file we read, holds back a rename out of the tree for half a second and
goes on reporting a folder under the path it had before it was moved away. Nothing is decided here: each
read of the kernel's queue becomes one ``Dirty``.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from ingestion.sources.paths import path_of, uri_of
from ingestion.sources.patterns import Patterns
from ingestion.sources.settling import Dirty, Touch

log = logging.getLogger(__name__)

_In = InotifyConstants
# Neither opening nor closing after reading: our own reads cost nothing.
_CHANGES = _In.IN_CREATE | _In.IN_MODIFY | _In.IN_CLOSE_WRITE | _In.IN_ATTRIB | _In.IN_MOVE | _In.IN_DELETE
_FOLDER_MASK = Mask(_CHANGES | _In.IN_ONLYDIR | _In.IN_DONT_FOLLOW | _In.IN_EXCL_UNLINK)
_ROOT_MASK = Mask(_FOLDER_MASK | _In.IN_DELETE_SELF | _In.IN_MOVE_SELF)
_ROOT_LOST = _In.IN_DELETE_SELF | _In.IN_MOVE_SELF | _In.IN_UNMOUNT
_FINISHED = _In.IN_CLOSE_WRITE


class _Reader(InotifyFD):
    """Tells when all events of one read of the queue have been handed out."""

    def __init__(self, on_drained: Callable[[], None]) -> None:
        super().__init__()
        self.name = "headwater-inotify"
        self._on_drained = on_drained

    def run(self) -> None:
        while self.should_keep_running():
            events = self.read_events()
            for event in events:
                self.handle_event(event)
            if events:
                self._on_drained()


@dataclass(slots=True)
class _Walk:
    """What setting watches below a folder met."""

    watches: set[WatchDescriptor] = field(default_factory=set)
    holds_anything: bool = False


class InotifyTree:
    """Watches ``root`` (a real path). ``on_dirty`` is called from the reading thread: while it works,
    events wait in the kernel's queue, and when that is full they are lost and everything is dirty."""

    def __init__(self, root: str, patterns: Patterns, on_dirty: Callable[[Dirty], None]) -> None:
        self.overflows = 0
        self._root = root
        self._patterns = patterns
        self._on_dirty = on_dirty
        self._reader: _Reader | None = None
        self._lost = False
        self._ids = itertools.count(1)
        self._folders: dict[WatchDescriptor, tuple[str, CallbackId]] = {}  # path: '' or ending with '/'
        self._unwatched: set[str] = set()
        self._touched: dict[str, Touch] = {}
        self._moved: dict[str, str] = {}
        # Old places by cookie, of this read and of the one before: a move's two events may be parted.
        self._leaving: dict[int, str] = {}
        self._left_before: dict[int, str] = {}

    @property
    def unwatched(self) -> int:
        """Folders that could not be given a watch."""
        return len(self._unwatched)

    def start(self) -> None:
        """Set every watch, then read. Raises OSError where the root or the descriptor cannot be had."""
        os.scandir(self._root).close()
        reader = self._reader = _Reader(self._deliver)
        self._watch_below("")
        reader.start()
        if not self._folders:
            self.stop()
            raise OSError(errno.ENOSPC, "the folder itself could not be given a watch")

    def stop(self) -> None:
        """Idempotent; may be called from ``on_dirty``."""
        reader, self._reader = self._reader, None
        if reader is None:
            return
        reader.stop()
        if reader.is_alive() and reader is not threading.current_thread():
            reader.join()

    def alive(self) -> bool:
        """Whether events of the root still arrive."""
        return self._reader is not None and self._reader.is_alive() and not self._lost

    # Called by the reader.

    def on_event(self, event: InotifyEvent) -> None:
        known = self._folders.get(event.wd)
        if known is None or self._reader is None:
            return
        folder = known[0]
        if not event.name:
            self._on_folder_itself(folder, event.mask)
            return
        name = os.fsdecode(event.name)
        path = folder + name
        if event.mask & _In.IN_ISDIR:
            if self._patterns.enters(path, name):
                self._on_folder(path + "/", event)
            elif event.is_moved_to:
                self._forget_below(self._take_leaving(event.cookie))
        elif self._patterns.takes_file(path, name):
            self._on_file(uri_of(path), event)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        if self._reader is None:
            return  # stopping, perhaps in another thread
        folder, _ = self._folders.pop(wd, (None, None))
        if folder == "":
            self._lose_root()

    def on_queue_overflow(self) -> None:
        self.overflows += 1
        log.warning("More changes below %s than the kernel's queue holds: listing everything", self._root)
        self._touched[""] = Touch.WRITING
        self._leaving.clear()
        self._left_before.clear()
        # Folders may have come, gone and moved unseen.
        kept = self._watch_below("").watches
        self._forget([wd for wd in self._folders if wd not in kept])

    # What an event says.

    def _on_folder_itself(self, folder: str, mask: int) -> None:
        if folder:
            if mask & _In.IN_UNMOUNT:
                self._touched[uri_of(folder)] = Touch.GONE
        elif mask & _ROOT_LOST:
            self._lose_root()
        elif mask & _In.IN_ATTRIB:
            self._touched.setdefault("", Touch.ATTRIBUTES)

    def _on_file(self, uri: str, event: InotifyEvent) -> None:
        if event.is_moved_to:
            self._arrive(uri, event.cookie)
        elif event.is_moved_from:
            self._leave(uri, event.cookie)
        elif event.is_delete:
            self._touched[uri] = Touch.GONE
        elif event.mask & _In.IN_ATTRIB:
            self._touched.setdefault(uri, Touch.ATTRIBUTES)
        else:
            self._touched[uri] = Touch.SETTLED if event.mask & _FINISHED else Touch.WRITING

    def _on_folder(self, folder: str, event: InotifyEvent) -> None:
        prefix = uri_of(folder)
        if event.is_moved_to:
            old = self._arrive(prefix, event.cookie)
            self._watch_below(folder)  # a watch that came along is found again and learns its new path
            self._forget_below(old)
        elif event.is_moved_from:
            self._leave(prefix, event.cookie)
        elif event.is_delete:
            self._touched[prefix] = Touch.GONE
        elif event.mask & _In.IN_ATTRIB:
            self._on_permissions(folder)
        elif self._watch_below(folder).holds_anything:  # made with its content before it had a watch
            self._touched[prefix] = Touch.WRITING

    def _on_permissions(self, folder: str) -> None:
        watched = len(self._folders)
        self._watch(folder)
        if len(self._folders) > watched:  # it could not be read until now
            self._watch_below(folder)
        self._touched.setdefault(uri_of(folder), Touch.ATTRIBUTES)

    def _leave(self, place: str, cookie: int) -> None:
        self._leaving[cookie] = place
        self._touched[place] = Touch.GONE

    def _arrive(self, place: str, cookie: int) -> str | None:
        """Returns the old place, if it is known."""
        old = self._take_leaving(cookie)
        self._touched.pop(place, None)
        if old is None:
            self._touched[place] = Touch.SETTLED
        else:
            self._touched.pop(old, None)
            before = self._moved.get(old)
            if before is not None and before != place:  # a name that is used again for the next file
                self._touched.setdefault(before, Touch.SETTLED)
            self._moved[old] = place
        return old

    def _take_leaving(self, cookie: int) -> str | None:
        return self._leaving.pop(cookie, None) or self._left_before.pop(cookie, None)

    def _lose_root(self) -> None:
        self._lost = True
        self._touched[""] = Touch.SETTLED

    def _deliver(self) -> None:
        for place in self._leaving.values():  # moved out, as far as can be known now
            self._forget_below(place)
        self._left_before, self._leaving = self._leaving, {}
        touched, self._touched = self._touched, {}
        moved, self._moved = self._moved, {}
        if (touched or moved) and self._reader is not None:
            self._on_dirty(Dirty(touched, moved))

    # Watches.

    def _watch_below(self, folder: str) -> _Walk:
        """Watch ``folder`` and every entered folder below it; each before it is listed, so that what is
        made in it meanwhile is seen by one or the other."""
        walk = _Walk()
        pending = [folder]
        while pending:
            path = pending.pop()
            wd = self._watch(path)
            if wd is not None:
                walk.watches.add(wd)
            try:
                with os.scandir(f"{self._root}/{path}") as entries:
                    for entry in entries:
                        below = path + entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if self._patterns.enters(below, entry.name):
                                walk.holds_anything = True
                                pending.append(below + "/")
                        elif not walk.holds_anything:
                            walk.holds_anything = self._patterns.takes_file(below, entry.name)
            except OSError:
                continue  # gone again, or not to be listed: the source's listing says which
        return walk

    def _watch(self, folder: str) -> WatchDescriptor | None:
        reader = self._reader
        if reader is None:
            return None
        identity = CallbackId(next(self._ids))
        mask = _FOLDER_MASK if folder else _ROOT_MASK
        try:
            wd = reader.add_callback(os.fsencode(f"{self._root}/{folder}"), mask, self, identity)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EBADF):  # gone, or stopping
                self._cannot_watch(folder, error)
            return None
        if wd < 0:  # how the reader says that the folder may not be read
            return None
        before = self._folders.get(wd)
        self._folders[wd] = folder, identity
        if before is not None:
            reader.remove_callbacks([(wd, before[1])])
        self._unwatched.discard(folder)
        return wd

    def _cannot_watch(self, folder: str, error: OSError) -> None:
        if not self._unwatched:
            log.warning(
                "Not every folder below %s can be watched (%s): the next scan finds what changes there. "
                "Raise fs.inotify.max_user_watches or exclude folders.",
                self._root,
                error.strerror,
            )
        self._unwatched.add(folder)

    def _forget_below(self, place: str | None) -> None:
        """Take the watches from what was at this place, if it was a folder, and did not move along. What has
        come there since, as when two folders are exchanged, keeps its own."""
        if place is None or not place.endswith("/"):
            return
        below = [wd for wd, (path, _) in self._folders.items() if uri_of(path).startswith(place)]
        if below:
            kept = self._watch_below(path_of(place.removesuffix("/")) + "/").watches
            self._forget([wd for wd in below if wd not in kept])

    def _forget(self, watches: list[WatchDescriptor]) -> None:
        if self._reader is not None and watches:
            self._reader.remove_callbacks([(wd, self._folders.pop(wd)[1]) for wd in watches])
