"""File systems of a test's own: a disk that can be full, a folder that can go away."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

TRIES = 50


class Mounted:
    """A file system mounted at ``at``; what is in it outlives being unmounted where it is an image."""

    def __init__(self, at: Path, command: tuple[str, ...]) -> None:
        self.at = at
        self._command = command

    def mount(self) -> None:
        subprocess.run([*self._command, str(self.at)], check=True, capture_output=True)

    def unmount(self) -> None:
        """As soon as nobody reads a file of it; after some seconds all the same."""
        for _ in range(TRIES):
            if subprocess.run(["umount", str(self.at)], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        subprocess.run(["umount", "-l", str(self.at)], check=True, capture_output=True)

    def fill(self) -> None:
        """Until nothing more can be written."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while ballast.write(bytes(65_536)):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.at / "ballast"


@contextlib.contextmanager
def small_disk(at: Path, megabytes: int) -> Iterator[Mounted | None]:
    """A disk of so many megabytes at an empty folder; None where this user may not mount."""
    with _mounted(Mounted(at, ("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"))) as made:
        yield made


@contextlib.contextmanager
def image(at: Path, megabytes: int) -> Iterator[Mounted | None]:
    """A disk whose files are there again when it is mounted again; None where this user may not mount."""
    file = at.with_name(f"{at.name}.image")
    make = shutil.which("mkfs.ext4")
    if make is None:
        yield None
        return
    with file.open("wb") as sparse:
        sparse.truncate(megabytes * 2**20)
    subprocess.run([make, "-q", "-F", str(file)], check=True, capture_output=True)
    with _mounted(Mounted(at, ("mount", "-o", "loop", str(file)))) as made:
        yield made


@contextlib.contextmanager
def _mounted(one: Mounted) -> Iterator[Mounted | None]:
    made: Mounted | None = None
    if os.geteuid() == 0:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # a container's root may not
            one.mount()
            made = one
    try:
        yield made
    finally:
        if made is not None and one.at.is_mount():
            one.unmount()
