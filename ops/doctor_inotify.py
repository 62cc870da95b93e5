"""What this user's programs take of inotify's allowances, as the kernel tells it under /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ops.findings import Finding, note, ok, wrong
from ops.showing import counted

PROC = Path("/proc")
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
QUEUED = Path("/proc/sys/fs/inotify/max_queued_events")
SMALL_QUEUE = 16_384  # the kernel's own default
_INSTANCE = "anon_inode:inotify"


def allowance(file: Path) -> int | None:
    """What the kernel allows; None where it has no such limit."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def limits(sources: int) -> Iterator[Finding]:
    """Each source that is watched takes an instance; ``sources`` is how many there are."""
    allowed = allowance(INSTANCES)
    if allowed is not None:
        yield _instances(sources, sum(1 for _ in _in_use()), allowed)
    queued = allowance(QUEUED)
    if queued is not None and queued < SMALL_QUEUE:
        yield note(
            "inotify queue",
            f"holds {queued:,} events (fs.inotify.max_queued_events): a burst of changes overflows it, and "
            "each overflow costs a complete scan.",
            f"sudo sysctl fs.inotify.max_queued_events={SMALL_QUEUE * 4}",
        )


def watches_in_use() -> int:
    """Watches of all programs of this user, those of a running daemon included."""
    return sum(_watches(information) for information in _in_use())


def _instances(sources: int, in_use: int, allowed: int) -> Finding:
    about, what = "inotify instances", f"{in_use:,} of {allowed:,} in use"
    if in_use + sources <= allowed:
        return ok(about, what)
    what += " by this user's programs (fs.inotify.max_user_instances)"
    what += f", and each of {counted(sources, 'source')} needs one"
    remedy = f"sudo sysctl fs.inotify.max_user_instances={max(allowed * 2, 1024)}"
    if in_use >= allowed:
        return wrong(about, f"{what}: no source can be watched anew.", remedy)
    return note(about, f"{what}. Whatever watches them already has its own.", remedy)


def _in_use() -> Iterator[Path]:
    """Where the kernel tells of each inotify instance of this user."""
    for process in _own_processes():
        with contextlib.suppress(OSError):  # it ended, or is nobody's business
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == _INSTANCE:
                        yield process / "fdinfo" / descriptor.name


def _own_processes() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for process in PROC.iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and process.stat().st_uid == os.geteuid():
                    yield process


def _watches(information: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(line.startswith("inotify ") for line in information.read_text().splitlines())
    return 0
