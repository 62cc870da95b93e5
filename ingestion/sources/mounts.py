"""Which file systems change behind the kernel's back, so that no event tells of it."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

_REMOTE = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs2", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf"),
        *("virtiofs", "vmhgfs"),
    )
)


def unseen_changes(root: str, mountinfo: str | None = None) -> str | None:
    """Why changes at or below ``root`` (a real path) may come without an event, or None.

    ``mountinfo`` is as in proc(5) and read from the kernel by default; where there is none, None.
    """
    if mountinfo is None:
        try:
            mountinfo = MOUNTINFO.read_text(errors="surrogateescape")
        except OSError:
            return None
    mounts = list(_mounts(mountinfo))
    holding = [mount for mount in mounts if _within(root, mount[0])]
    # Of several mounts on one place the last covers the others.
    at_root = max(holding, key=lambda mount: len(mount[0]), default=None)
    candidates = [] if at_root is None else [[m for m in holding if m[0] == at_root[0]][-1]]
    candidates += [mount for mount in mounts if mount[0] != root and _within(mount[0], root)]
    for place, kind in candidates:
        if kind in _REMOTE or kind.startswith("fuse."):
            return f"{place} is a {kind} file system: changes made elsewhere come without an event"
    return None


def _mounts(mountinfo: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line."""
    mounts = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if separator and len(fields) > 4:
            mounts.append((_unescaped(fields[4]), kinds[0]))
    return mounts


def _unescaped(field: str) -> str:
    for escape, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(escape, character)
    return field


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
