"""The ledger on its own: for commands that read it and embed nothing.

Apart from ``ops.wiring``, which imports every room: status is to take well under a second.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ingestion.clock import Clock, SystemClock
from ingestion.database import Database
from ingestion.errors import Misconfigured
from ingestion.ledger.ledger import Ledger
from ops.secret_file import read_secret
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


def ledger_url(settings: Settings) -> sa.URL | None:
    """Where the ledger is, with its password; None for the data file. Raises Misconfigured."""
    ledger = settings.ledger
    if ledger.url is None:
        return None
    url = sa.make_url(ledger.url.get_secret_value())
    if ledger.password_file is None:
        return url
    password = read_secret(
        ledger.password_file, setting="ledger.password_file", what="The password of the ledger"
    )
    return url.set(password=password)


def make_ledger(settings: Settings, clock: Clock) -> Ledger:
    """The ledger that the settings name, made where it is not there yet."""
    url = ledger_url(settings)
    database = Database.file(data_file(settings)) if url is None else Database(url)
    return Ledger(database, clock, lease_s=settings.ledger.lease_s)


def require_data(settings: Settings) -> None:
    """Raises Misconfigured where there is no data file yet. A server is simply asked."""
    if settings.ledger.url is None and not data_file(settings).exists():
        raise Misconfigured(
            f"There is no knowledge base in {settings.daemon.data} yet.",
            hint="Start one with: headwater up FOLDER",
        )


def open_ledger(settings: Settings, *, clock: Clock | None = None) -> Ledger:
    """The ledger as it is. Raises Misconfigured where there is no data yet."""
    require_data(settings)
    return make_ledger(settings, clock or SystemClock())
