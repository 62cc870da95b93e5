"""The ledger on a PostgreSQL that speaks TLS, and what is said where it does not come about."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import LedgerUnavailable
from ingestion.ledger.ledger import Ledger
from tests.servers import postgres as server
from tests.servers.certificates import Tls, certified
from tests.servers.postgres import Postgres
from tests.servers.process import NotInstalled, missing


@dataclass(frozen=True)
class Secured:
    postgres: Postgres
    tls: Tls

    def url(self, **query: str) -> sa.URL:
        return self.postgres.empty().set(query=query)


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    place = Path(tempfile.mkdtemp(prefix="headwater-tls-"))  # where the server's user may read, too
    try:
        tls = certified(place)
        if (user := server.other_user()) is not None:
            for one in (place, tls.key, tls.certificate):
                os.chown(one, user, -1)
        tls.key.chmod(0o600)
        certificate, key = str(tls.certificate), str(tls.key)
        with server.own(ssl="on", ssl_cert_file=certificate, ssl_key_file=key) as postgres:
            yield Secured(postgres, tls)
    except NotInstalled as fault:
        missing(fault)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def said(url: sa.URL) -> str:
    database = Database(url)
    with pytest.raises(LedgerUnavailable) as told:
        Ledger(database, SystemClock())
    database.close()
    assert str(url.password) not in f"{told.value!r} {told.value}"
    assert "ledger.url" in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_a_ledger_over_tls(secured: Secured, mode: str) -> None:
    url = secured.url(sslmode=mode, sslrootcert=str(secured.tls.authority))
    database = Database(url)
    ledger = Ledger(database, SystemClock())
    assert ledger.sources.live_edition() is None
    with database.read() as connection:
        secure = connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert secure.scalar_one() is True
    database.close()


def test_an_authority_that_nobody_knows(secured: Secured, tmp_path: Path) -> None:
    stranger = certified(tmp_path)
    assert "certificate" in said(secured.url(sslmode="verify-full", sslrootcert=str(stranger.authority)))


def test_a_server_without_tls(postgres: Postgres) -> None:
    if postgres.server is None:
        pytest.skip("the server that is named may well speak TLS")
    url = postgres.empty().set(query={"sslmode": "require"})
    assert "SSL" in said(url)
    postgres.drop(url)
