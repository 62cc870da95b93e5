"""What is to be known of a Redis besides what Celery does with it: whether it answers, what waits there, and
whether it is still the one that was sent to.

A Redis that was restarted or emptied has lost messages without a word. A mark in it holds the name of the run
that it was set in: where the mark is gone, or names another run, everything pending is to be sent again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingestion import tls
from ingestion.errors import BrokerUnavailable, Misconfigured
from ingestion.records import Lane

TIMEOUT_S = 2.0
MARK = "run"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a Redis tells of itself. ``limit_bytes`` None: it may use all there is."""

    version: str
    used_bytes: int
    limit_bytes: int | None
    eviction: str


class RedisBroker:
    """One Redis. ``shown`` is its address without the password: all that errors tell of it."""

    def __init__(self, url: str, *, prefix: str, shown: str) -> None:
        self._prefix = f"{prefix}:"
        self.shown = shown
        with self._translated():
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )

    def check(self) -> None:
        """Raises BrokerUnavailable if it does not answer, Misconfigured if it will not let us in."""
        with self._translated():
            self._client.ping()

    def waiting(self, lane: Lane) -> int:
        """How many messages of a lane no worker has taken yet. Raises as ``check`` does."""
        with self._translated():
            return int(self._client.llen(self._prefix + lane.value))

    def condition(self) -> Condition:
        """Its version, and what becomes of its memory. Raises as ``check`` does."""
        with self._translated():
            told = {**self._client.info("server"), **self._client.info("memory")}
        limit = int(told.get("maxmemory", 0))
        return Condition(
            version=str(told["redis_version"]),
            used_bytes=int(told["used_memory"]),
            limit_bytes=limit or None,
            eviction=str(told.get("maxmemory_policy", "")),
        )

    def memory_ratio(self) -> float | None:
        """What it uses of the memory that it may use; None without a limit. Raises as ``check`` does."""
        found = self.condition()
        return found.used_bytes / found.limit_bytes if found.limit_bytes else None

    def lost_messages(self) -> bool:
        """Whether it was restarted or emptied since this was last asked, by whomever. Raises as ``check``."""
        with self._translated():
            run = self._client.info("server")["run_id"]
            before = self._client.get(self._prefix + MARK)
            if before is not None and before.decode() == run:
                return False
            self._client.set(self._prefix + MARK, run)
            return True

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
            raise Misconfigured(
                f"The broker {self.shown} refuses the user or the password.",
                hint="Correct the password in broker.url, or the file that broker.password_file names.",
            ) from error
        except redis.ResponseError as error:
            if isinstance(error, redis.exceptions.NoPermissionError):
                raise Misconfigured(
                    f"The broker {self.shown} does not let this user do what is needed.",
                    hint=f"Allow it every command on keys that begin with {self._prefix}",
                ) from error
            raise BrokerUnavailable(
                f"The broker {self.shown} answers with an error ({type(error).__name__}).", hint=_HINT
            ) from error
        except (redis.RedisError, OSError, ValueError) as error:
            if (fault := tls.fault_of(error)) is not None:
                raise Misconfigured(
                    f"No TLS connection to the broker {self.shown} comes about: {fault}.",
                    hint="Name the authority in broker.url: rediss://HOST:PORT/0?ssl_ca_certs=/path/ca.pem",
                ) from error
            raise BrokerUnavailable(
                f"The broker {self.shown} does not answer ({type(error).__name__}).", hint=_HINT
            ) from error


_HINT = "Edits wait in the ledger, and go on once it is back. Check broker.url, and that Redis runs."
