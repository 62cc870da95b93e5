"""A real PostgreSQL server: a cluster of its own in a temporary folder, or the one that a variable names.

``HEADWATER_TEST_POSTGRES_URL`` is the address of a running server whose user may create databases; nothing on
it is touched but databases named ``headwater_test_...``. Every test gets a database copied from one that is
migrated once, with a clock that the test may set: a schema behind ``public`` in the search path holds a
``clock_timestamp`` that the server's own is found after.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from tests.servers.mounts import Mounted, small_disk
from tests.servers.process import NotInstalled, Server, free_port

# Read before the tests are given an environment without the settings of whoever runs them.
GIVEN_URL = os.environ.get("HEADWATER_TEST_POSTGRES_URL")
USER = "headwater"
PASSWORD = "p@ss/word%"  # of a cluster that ends with the tests; to be escaped in a URL
START_S = 60.0
MISSING = """There is no PostgreSQL server on this machine. Install it:
    Debian, Ubuntu   sudo apt-get install postgresql
    Fedora           sudo dnf install postgresql-server
    macOS            brew install postgresql
or set HEADWATER_TEST_POSTGRES_URL to the address of a running one."""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
_SETTABLE_CLOCK = """
CREATE SCHEMA tested;
CREATE TABLE tested.clock (fixed float8, shift float8 NOT NULL);
INSERT INTO tested.clock VALUES (NULL, 0);
CREATE FUNCTION tested.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(to_timestamp(fixed), pg_catalog.clock_timestamp() + shift * interval '1 second')
    FROM tested.clock
$$;
"""


class Postgres:
    """A server, and the databases that tests make on it."""

    def __init__(self, url: sa.URL, server: Server | None = None) -> None:
        self.url = url
        self.disk: Mounted | None = None  # a small one of its own
        self.server = server  # None: somebody else's
        self._numbers = itertools.count()
        self._prefix = f"headwater_test_{os.getpid()}"
        self._template: str | None = None

    def empty(self, *options: str) -> sa.URL:
        """A new database without any table; ``options`` of CREATE DATABASE."""
        name = f"{self._prefix}_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" {" ".join(options)}')
        return self.url.set(database=name)

    def fresh(self) -> sa.URL:
        """A new database with an empty ledger; ``clock_of`` sets its time."""
        if self._template is None:
            self._template = str(self._migrated().database)
        url = self.empty("TEMPLATE", f'"{self._template}"')
        self.execute(f'ALTER DATABASE "{url.database}" SET search_path = public, tested, pg_catalog')
        return url

    def drop(self, url: sa.URL) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')

    def close(self) -> None:
        for number in range(next(self._numbers)):
            self.drop(self.url.set(database=f"{self._prefix}_{number}"))

    def execute(self, statement: str, database: str | None = None) -> None:
        url = self.url if database is None else self.url.set(database=database)
        with connected(url) as connection:
            connection.execute(statement.encode())

    def disconnect(self, url: sa.URL) -> None:
        """End every connection to a database, as an administrator does."""
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'"
        )

    def _migrated(self) -> sa.URL:
        url = self.empty()
        database = Database(url)
        Ledger(database, SystemClock())
        database.close()
        self.execute(_SETTABLE_CLOCK, url.database)
        return url


@contextlib.contextmanager
def connected(url: sa.URL) -> Iterator[psycopg.Connection]:
    """A connection beside the ledger's, that commits each statement."""
    with psycopg.connect(as_text(url), autocommit=True) as connection:
        yield connection


def as_text(url: sa.URL) -> str:
    """As a user would write it, with the password."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def clock_of(database: Database) -> Callable[[str, float], None]:
    """Sets ``fixed`` or ``shift`` of the clock that a fresh database goes by."""

    def set_clock(what: str, seconds: float) -> None:
        with Database.write(database) as connection:  # not through a fuse
            connection.execute(sa.text(f"UPDATE tested.clock SET {what} = :seconds"), {"seconds": seconds})

    return set_clock


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """The server that the variable names, or one of our own. Raises NotInstalled."""
    if GIVEN_URL:
        given = Postgres(sa.make_url(GIVEN_URL))
        try:
            yield given
        finally:
            given.close()
        return
    with own() as server:
        yield server


@contextlib.contextmanager
def own(*, disk_mb: int | None = None, **settings: str) -> Iterator[Postgres]:
    """A cluster of its own, which may be stopped; ``settings`` instead of those for speed. ``disk_mb``: on a
    disk of that size, where this user may mount one. Raises NotInstalled."""
    binaries = find_binaries()
    place = Path(tempfile.mkdtemp(prefix="headwater-postgres-"))
    try:
        with contextlib.ExitStack() as stack:
            disk = None if disk_mb is None else stack.enter_context(small_disk(place, disk_mb))
            made = stack.enter_context(_cluster(binaries, place, {**_SETTINGS, **settings}))
            made.disk = disk
            yield made
    finally:
        shutil.rmtree(place, ignore_errors=True)


def find_binaries() -> Path:
    """The folder of the newest ``initdb`` and ``postgres``. Raises NotInstalled."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    for candidate in sorted(packaged, key=lambda path: int(path.parts[-3]), reverse=True):
        return candidate.parent
    found = shutil.which("initdb")
    if found is None:
        raise NotInstalled(MISSING)
    return Path(found).resolve().parent


@contextlib.contextmanager
def _cluster(binaries: Path, place: Path, given: Mapping[str, str]) -> Iterator[Postgres]:
    user = other_user()
    if user is not None:
        os.chown(place, user, -1)
    data, secret = place / "data", place / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    _initialise(binaries, data, secret, user)
    port = free_port()
    url = sa.URL.create("postgresql", USER, PASSWORD, "127.0.0.1", port, "postgres")
    settings = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
    server = Server(
        [binaries / "postgres", "-D", data, "-p", str(port), *settings],
        log=place / "postgres.log",
        answers=lambda: _answers(url),
        start_s=START_S,
        end_signal=2,  # SIGINT: ends connections and writes a checkpoint
        as_user=user,
    )
    with server.running():
        yield Postgres(url, server)


def _initialise(binaries: Path, data: Path, secret: Path, user: int | None) -> None:
    # Words in the order of a language: what needs the order of bytes must say so.
    language = ["--locale-provider=icu", "--icu-locale=en-US"]
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        USER,
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
    ]
    command += ["-E", "UTF8", "--locale=C", "--no-sync"]
    for extra in (language, []):  # older ones, and some builds, know only the system's locales
        made = subprocess.run(
            [*command, *extra], cwd=data.parent, user=user, capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            return
        shutil.rmtree(data, ignore_errors=True)
    raise NotInstalled(f"initdb failed: {made.stderr.strip()[-500:]}")


def other_user() -> int | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise NotInstalled("PostgreSQL refuses to run as root, and there is no other user to run it as.")


def _answers(url: sa.URL) -> bool:
    with contextlib.suppress(psycopg.OperationalError), connected(url):
        return True
    return False


if __name__ == "__main__":
    try:
        if not GIVEN_URL:
            find_binaries()
    except NotInstalled as fault:
        print(fault, file=sys.stderr)
