"""The data file on its own: for commands that read the ledger and embed nothing.

Apart from ``ops.wiring``, which imports every room: status is to take well under a second.
"""

from __future__ import annotations

from pathlib import Path

from ingestion.clock import Clock, SystemClock
from ingestion.database import Database
from ingestion.errors import Misconfigured
from ingestion.ledger.ledger import Ledger
from ops.settings import Settings

DATA_FILE = "headwater.sqlite"


def data_file(settings: Settings) -> Path:
    return settings.daemon.data / DATA_FILE


def file_identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what has this name now; None where nothing can be found there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def size_bytes(path: Path) -> int:
    """What a data file takes on the disk, its log and what its processes share included."""
    return sum(_size_bytes(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm"))


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def require_data(settings: Settings) -> Path:
    """The data file. Raises Misconfigured where there is none yet."""
    path = data_file(settings)
    if not path.exists():
        raise Misconfigured(
            f"There is no knowledge base in {settings.daemon.data} yet.",
            hint="Start one with: headwater up FOLDER",
        )
    return path


def open_ledger(settings: Settings, *, clock: Clock | None = None) -> Ledger:
    """The ledger as it is. Raises Misconfigured where there is no data yet."""
    return Ledger(Database.file(require_data(settings)), clock or SystemClock())
