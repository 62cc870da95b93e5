"""Looking at and opening files beneath a root, and never anywhere else.

Each folder on the way is opened relative to the one before and never through a symbolic link, so
nothing that is exchanged between a check and its use can lead out of the root. Opening never blocks
(FIFOs, devices). Where the platform cannot open relative to a folder, the resolved path is compared
instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

BY_DESCRIPTOR = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY) | _CLOEXEC
_LEADS_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NOFOLLOW | _CLOEXEC


def status(root: str, path: str) -> os.stat_result:
    """The lstat of ``path`` beneath ``root``. Raises OSError; NotADirectoryError through a link."""
    with _parent(root, path) as (parent, name):
        return os.stat(name, dir_fd=parent, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file opened for reading."""

    descriptor: int
    _folder: int | None
    _name: str

    def in_place(self) -> os.stat_result:
        """The lstat of what has its name now. Raises OSError."""
        return os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)


@contextlib.contextmanager
def opened(root: str, path: str) -> Iterator[Opened]:
    """The file at ``path``, never through a symbolic link. Raises OSError."""
    with _parent(root, path) as (folder, name):
        descriptor = os.open(name, _FILE, dir_fd=folder)
        try:
            yield Opened(descriptor, folder, name)
        finally:
            os.close(descriptor)


def target(root: str, path: str) -> str | None:
    """Where the symbolic link at ``path`` leads, as a path beneath ``root``.

    None where it leads out, to nothing or in circles. Raises OSError where that cannot be told.
    """
    real_root = os.path.realpath(root)
    try:
        real = os.path.realpath(f"{real_root}/{path}", strict=True)
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return None
        raise
    below = real_root.rstrip(os.sep) + os.sep
    return real[len(below) :].replace(os.sep, "/") if real.startswith(below) else None


@contextlib.contextmanager
def _parent(root: str, path: str) -> Iterator[tuple[int | None, str]]:
    """(descriptor of the folder that holds ``path``, last part), or (None, whole path)."""
    if not BY_DESCRIPTOR:
        yield None, _checked(root, path)
        return
    *folders, name = path.split("/")
    descriptor = os.open(root, _DIRECTORY)
    try:
        for folder in folders:
            below = os.open(folder, _DIRECTORY | _NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


def _checked(root: str, path: str) -> str:
    """The whole path, once its folders are known to be no links."""
    folder, _, name = path.rpartition("/")
    straight = os.path.normpath(f"{os.path.realpath(root)}/{folder}")
    if os.path.realpath(straight) != straight:
        raise NotADirectoryError(errno.ENOTDIR, "reached through a symbolic link", path)
    return f"{straight}/{name}"
