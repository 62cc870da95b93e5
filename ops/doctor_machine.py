"""Checks of the machine: Python, SQLite, the data folder, its clock, what inotify may watch."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingestion.clock import Clock
from ops.doctor_inotify import allowance, watches_in_use
from ops.findings import Finding, note, ok, wrong
from ops.showing import duration, plain, size

WAL_SAFE = (3, 51, 3)
FTS5_TABLE = "CREATE VIRTUAL TABLE temp.probe USING fts5(text)"
LITTLE_SPACE_BYTES = 1 << 30
FEW_FILES = 1000
CLOCKS_DIFFER_S = 2.0
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs"})
# FUSE and shared folders of virtual machines: events of the other side do not arrive.
SILENT = NETWORK | {"vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "virtiofs", "fuse.s3fs", "fuse.rclone", "drvfs"}
WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


def machine(data: Path, clock: Clock) -> Iterator[Finding]:
    yield ok("Python", f"{platform.python_version()} ({sys.executable})")
    yield _sqlite(sqlite3.sqlite_version_info)
    yield _fts5()
    yield from folder(data, clock)


def _sqlite(version: Sequence[int]) -> Finding:
    shown = ".".join(str(part) for part in version)
    if tuple(version) >= WAL_SAFE:
        return ok("SQLite", shown)
    return note(
        "SQLite",
        f"{shown}: before 3.51.3 a rare fault in its write-ahead log can damage a data file.",
        "Nothing has to be done: a damaged file is noticed, and is made again from the sources.",
    )


def _fts5() -> Finding:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(FTS5_TABLE)
    except sqlite3.Error as error:
        return wrong(
            "full-text search", f"this SQLite has no FTS5 ({error}).", "Use a Python whose SQLite has it."
        )
    finally:
        connection.close()
    return ok("full-text search", "FTS5 is there")


def folder(data: Path, clock: Clock) -> Iterator[Finding]:
    """The data folder, or the nearest folder above it that exists."""
    about = "data folder"
    place = data
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        yield wrong(about, f"{plain(str(place))} is no folder.", "Name another with --data or daemon.data.")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".headwater-doctor-") as probe:
            probe.write(b"x")
            probe.flush()
            written_at = os.fstat(probe.fileno()).st_mtime
    except OSError as error:
        yield wrong(
            about,
            f"{plain(str(place))} cannot be written to ({error.strerror}).",
            "Give write permission or free some space, or name another with --data.",
        )
        return
    yield ok(about, plain(str(data)) + ("" if place == data else ", made at the first start"))
    yield _space(place)
    yield _mount(place)
    yield _clock(clock.now(), written_at)


def _space(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    if free < LITTLE_SPACE_BYTES:
        return wrong("free space", f"{size(free)} left for the data.", "Free some space.")
    status = os.statvfs(place)
    if status.f_files and status.f_favail < FEW_FILES:  # some file systems count none
        return wrong(
            "free space",
            f"room for {status.f_favail:,} more files on this file system, whatever their size.",
            "Remove files that nobody needs: their number is the limit (df -i).",
        )
    return ok("free space", size(free))


def _mount(place: Path) -> Finding:
    kind = file_system(place)
    if kind in NETWORK:
        return wrong(
            "data on a network mount",
            f"{plain(str(place))} is on {kind}, where SQLite's locks and its log do not work reliably.",
            "Put the data on a local disk (--data or daemon.data).",
        )
    return ok("file system of the data", kind or "not known")


def _clock(now: float, written_at: float) -> Finding:
    apart = abs(now - written_at)
    if apart > CLOCKS_DIFFER_S:
        return wrong(
            "clock",
            f"the clock of the data's file system differs from this machine's by {duration(apart)}.",
            "Set both by NTP: ages and lags are wrong by that much.",
        )
    return ok("clock", "agrees with the file system's")


def watches(roots: Sequence[Path], *, running: bool = False) -> Iterator[Finding]:
    """inotify needs a watch for each folder, from an allowance per user. ``running``: somebody watches them
    already, so what is in use holds what is needed."""
    for root in roots:
        kind = file_system(root) if root.exists() else None
        if kind in SILENT:
            yield note(
                "events",
                f"{plain(str(root))} is on {kind}: changes made elsewhere give no event.",
                "They are found by the periodic scan; lower scan_every_s if that is too late.",
            )
    allowed = allowance(WATCHES)
    if allowed is None:
        return
    needed = sum(1 for root in roots for _ in _folders(root, allowed))
    if needed >= allowed:
        yield wrong(
            "inotify watches",
            f"the sources have {needed:,} folders or more, and {allowed:,} may be watched "
            "(fs.inotify.max_user_watches).",
            f"sudo sysctl fs.inotify.max_user_watches={max(needed * 2, 524_288)}",
        )
    elif not running and needed + (in_use := watches_in_use()) > allowed:
        yield note(
            "inotify watches",
            f"{needed:,} are needed, and other programs of this user have {in_use:,} of {allowed:,} "
            "(fs.inotify.max_user_watches).",
            f"sudo sysctl fs.inotify.max_user_watches={max((needed + in_use) * 2, 524_288)}",
        )
    else:
        yield ok("inotify watches", f"{needed:,} of {allowed:,}")


def _folders(root: Path, most: int) -> Iterator[str]:
    for number, (path, _, _) in enumerate(os.walk(root)):
        if number >= most:
            return
        yield path


def file_system(path: Path) -> str | None:
    """The kind of file system that holds a path, as the kernel names it; None where it does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        real = path.resolve()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        left, _, right = line.partition(" - ")
        mounted = Path(left.split()[4].replace("\\040", " "))
        if real.is_relative_to(mounted) and (found is None or len(mounted.parts) >= found[0]):
            found = (len(mounted.parts), right.split()[0])
    return found[1] if found else None
