"""A real Redis on loopback, from the system's packages: with a password, and with TLS where a test wants it.

``HEADWATER_TEST_REDIS_URL`` names one that runs already; it is then emptied by tests, so it must hold nothing
else. What kills, pauses or restarts a server needs one of its own, and is skipped with a named one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.servers.certificates import Tls
from tests.servers.process import NotInstalled, Server, free_port

VARIABLE = "HEADWATER_TEST_REDIS_URL"
PASSWORD = "test pass/word:@#?"  # everything that an address has to escape
IN_URL = "test%20pass%2Fword%3A%40%23%3F"
START_S = 30.0


@dataclass(slots=True)
class Redis:
    """A Redis that runs. ``server`` is None where it is not ours."""

    url: str
    server: Server | None
    password: str | None = PASSWORD
    tls: Tls | None = None

    def client(self) -> Any:
        return redis.Redis.from_url(self.url, socket_timeout=10)

    def empty(self) -> None:
        with contextlib.closing(self.client()) as client:
            client.flushall()


@contextlib.contextmanager
def serving(place: Path, *, tls: Tls | None = None, database: int = 0) -> Iterator[Redis]:
    """A server of our own; its log lies in ``place``. Nothing is written to the disk. Raises NotInstalled."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotInstalled(
            "there is no redis-server (Debian, Ubuntu: sudo apt-get install redis-server), and "
            f"{VARIABLE} names none"
        )
    port = free_port()
    query = "" if tls is None else f"?ssl_ca_certs={tls.authority}"
    scheme = "redis" if tls is None else "rediss"
    url = f"{scheme}://:{IN_URL}@127.0.0.1:{port}/{database}{query}"
    server = Server(
        [program, *_options(port, tls)],
        log=place / f"redis-{port}.log",
        answers=lambda: _answers(url),
        start_s=START_S,
    )
    with server.running():
        yield Redis(url, server, tls=tls)


def named() -> Redis | None:
    """The one that the variable names, if it does."""
    url = _named_url
    return None if not url else Redis(url, None, password=None)


_named_url = os.environ.get(VARIABLE, "")  # read before tests are kept from such variables


def _options(port: int, tls: Tls | None) -> list[str]:
    given = {
        "--bind": "127.0.0.1",
        "--port": "0" if tls else str(port),
        "--save": "",
        "--appendonly": "no",
        "--requirepass": PASSWORD,
        "--maxmemory-policy": "noeviction",
    }
    if tls:
        given |= {
            "--tls-port": str(port),
            "--tls-cert-file": str(tls.certificate),
            "--tls-key-file": str(tls.key),
            "--tls-ca-cert-file": str(tls.authority),
            "--tls-auth-clients": "no",
        }
    return [word for pair in given.items() for word in pair]


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.RedisError, OSError), contextlib.closing(redis.Redis.from_url(url)) as one:
        return bool(one.ping())
    return False
