"""One daemon a data folder, or any number of roles: a lock held by the system, and a note of who holds it.

The lock is an flock: it ends with its process, however that ends, so there is no stale lock to remove.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ingestion.errors import AlreadyRunning, Misconfigured

LOCK_NAME = "daemon.lock"
NOTE_NAME = "daemon.json"
TRIES = 8
PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class DaemonNote:
    """Who holds a data folder, and where it answers. ``port`` is 0 until the API listens."""

    pid: int
    host: str
    port: int
    started_at: float
    version: str

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@contextlib.contextmanager
def writing_to(data: Path) -> Iterator[None]:
    """What is written beside the data file. Raises Misconfigured where the folder does not let it be."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"The data folder {data} cannot be written to ({error.strerror or error}).",
            hint="Give this user write permission there, free some space, or name another with --data.",
        ) from error


@contextlib.contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the data folder, made where it is missing. Raises AlreadyRunning with the pid of who does, and
    Misconfigured for a folder that cannot be had."""
    with writing_to(data):
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not any(_locked(descriptor) for _ in range(TRIES)):
            raise _taken(data)
        yield
        (data / NOTE_NAME).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def shared(data: Path) -> Iterator[None]:
    """Hold the data folder together with other roles, and against a daemon of its own. Raises as ``held``."""
    with writing_to(data):
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not any(_locked(descriptor, fcntl.LOCK_SH) for _ in range(TRIES)):
            raise _taken(data)
        (data / NOTE_NAME).unlink(missing_ok=True)  # of a daemon that was killed
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether the lock is ours now. Not to have it may mean no more than that somebody asks who has it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(PAUSE_S)
        return False
    return True


def write_note(data: Path, note: DaemonNote) -> None:
    """Say who holds the folder. Raises Misconfigured where that cannot be written."""
    temporary = data / f"{NOTE_NAME}.new"
    with writing_to(data):
        temporary.write_text(json.dumps(asdict(note)))
        temporary.replace(data / NOTE_NAME)


def running_daemon(data: Path) -> DaemonNote | None:
    """The daemon that holds this data folder now, if there is one and it has said where it answers."""
    try:
        descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_note(data)
    else:
        return None
    finally:
        os.close(descriptor)


def _read_note(data: Path) -> DaemonNote | None:
    try:
        return DaemonNote(**json.loads((data / NOTE_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _taken(data: Path) -> AlreadyRunning:
    note = _read_note(data)
    others = "roles in processes of their own, or one that is still starting"
    who = f"process {note.pid}, at {note.url}" if note else others
    return AlreadyRunning(
        f"Headwater already runs on {data} ({who}).",
        hint="Stop it first, or give this one another data folder (--data).",
    )
