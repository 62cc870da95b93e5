"""The production stack for benchmarks: Redis, PostgreSQL and Weaviate, and each role a process of its own.

The servers outlive what runs on them: every ``stack`` on them gets a database and names of its own, so that
one run compares deployments, or a deployment with a bare client, on the same servers.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import psutil
import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.tables import publications
from ingestion.records import PublicationState
from ops.opening import DATA_FILE
from tests.acceptance.roles import API, BULK, FRESH, SCHEDULE, WATCH, Deployment, RoleProcess
from tests.bench._common import HASHING, ROOT, Asked, as_a_user, tail, total
from tests.servers import postgres, redis, weaviate
from tests.servers.process import Server, free_port

ROLES = (API, SCHEDULE, FRESH, BULK, WATCH)
STARTED_S = 120.0
# What an administrator would leave as it is; tests run with less.

Ledgers = Literal["postgresql", "sqlite"]


@dataclass
class Servers:
    """All three, running. ``processes`` by name."""

    redis: redis.Redis
    postgres: postgres.Postgres
    weaviate: weaviate.Weaviate

    @property
    def processes(self) -> dict[str, Server]:
        found = {
            "redis": self.redis.server,
            "postgres": self.postgres.server,
            "weaviate": self.weaviate.server,
        }
        return {name: server for name, server in found.items() if server is not None}

    def processor_s(self) -> dict[str, float]:
        return {name: spent_s(server.pid) for name, server in self.processes.items()}


@contextlib.contextmanager
def serving(place: Path) -> Iterator[Servers]:
    """The servers, with their data in temporary folders, as durable as they are by default. Raises
    NotInstalled."""
    with contextlib.ExitStack() as stack:
        yield Servers(
            stack.enter_context(redis.serving(place)),
            stack.enter_context(
                postgres.own(
                    fsync="on",
                    full_page_writes="on",
                    autovacuum="on",
                    shared_buffers="128MB",
                    max_connections="200",
                )
            ),
            stack.enter_context(weaviate.serving(place)),
        )


@dataclass
class Stack(Asked):
    """A deployment that runs. ``roles`` are its processes by name: ``watch``, ``worker-fresh``; a second one
    of a kind is ``worker-bulk-2``. ``started`` is when the first was started, on ``time.perf_counter``."""

    servers: Servers
    deployment: Deployment
    database: Database
    roles: dict[str, RoleProcess] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.client.base_url = f"http://127.0.0.1:{self.deployment.port}"
        self.ledger = Ledger(self.database, SystemClock())

    def start(self, *commands: Sequence[str]) -> list[str]:
        """Start these roles too; returns their names at once."""
        return [self._start(command) for command in commands]

    def until_open(self, deadline_s: float = STARTED_S) -> None:
        """Until every role does its work: connected, model loaded."""
        for name in self.roles:
            self.until(lambda: self._open(name), deadline_s, f"{name} works", pause_s=0.05)  # noqa: B023

    def until_ready(self, deadline_s: float) -> float:
        """Seconds from the start until the API's ``/readyz`` said so: the first listing is indexed."""
        self.until(lambda: self._open("api"), deadline_s, "ready", pause_s=0.05)
        return time.perf_counter() - self.started

    def until_settled(self, deadline_s: float, *, documents: int = 1, pause_s: float = 0.05) -> None:
        """Until at least so many documents are live and none is pending, by a look into the ledger."""
        self.until(
            lambda: self.live() >= documents and not self.pending(), deadline_s, "all is done", pause_s
        )

    def pending(self) -> int:
        return sum(lane.pending for lane in self.ledger.views.lanes())

    def live(self) -> int:
        """Publications that are live: documents, as long as there is one edition."""
        count = sa.select(sa.func.count()).where(publications.c.state == PublicationState.LIVE)
        with self.database.read() as connection:
            return int(connection.execute(count).scalar_one())

    def metric(self, name: str) -> float:
        """Summed over the processes: for what each counts. The API alone has the states of the ledger."""
        return sum(
            total(self._get(port, "/metrics").raise_for_status().text, name) for port in self.ports.values()
        )

    def processor_s(self) -> dict[str, float]:
        """Processor seconds so far, of each role and each server by name, children included."""
        roles = {name: spent_s(role.process.pid) for name, role in self.roles.items()}
        return {**roles, **self.servers.processor_s()}

    def exported(self) -> list[tuple[str, int, int, str]]:
        """As ``_common.exported``."""
        done = self.deployment.run("ops.cli", "export")
        if done.returncode:
            raise RuntimeError(done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return sorted((line["uri"], line["start"], line["end"], line["text"]) for line in lines)

    def said(self) -> str:
        parts = [""]
        for name, role in self.roles.items():
            code = role.process.poll()
            parts.append(f"--- {name}{'' if code is None else f', ended with {code}'}:\n{tail(role.log)}")
        return "\n".join(parts)

    def _start(self, command: Sequence[str]) -> str:
        kind = "-".join(word for word in command[:3] if word != "--lane")
        same = sum(name == kind or name.startswith(f"{kind}-") for name in self.roles)
        name = f"{kind}-{same + 1}" if same else kind
        port = self.deployment.port if kind == "api" else free_port()
        (self.roles[name],) = self.deployment.start([*command, "--port", str(port)])
        self.ports[name] = port
        return name

    def _get(self, port: int, path: str) -> httpx.Response:
        return self.client.get(f"http://127.0.0.1:{port}{path}")

    def _open(self, name: str) -> bool:
        if self.roles[name].process.poll() is not None:
            raise TimeoutError(f"{name} ended")
        with contextlib.suppress(httpx.TransportError):
            return self._get(self.ports[name], "/readyz").status_code == 200
        return False


@contextlib.contextmanager
def stack(
    folders: Sequence[Path],
    place: Path,
    servers: Servers,
    *,
    roles: Sequence[Sequence[str]] = ROLES,
    model: str = HASHING,
    ledger: Ledgers = "postgresql",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """These roles on the folders, started in this order, with a new ledger and a new index; ended at the end.

    Logs and data lie in ``place``. ``environ`` beats all that is set here.
    """
    place.mkdir(parents=True, exist_ok=True)
    data = place / "data"
    data.mkdir(exist_ok=True)
    url = None if ledger == "sqlite" else postgres.as_text(servers.postgres.empty())
    deployment = Deployment(place, folders[0], servers.redis.url)
    deployment.environment = {
        **{name: value for name, value in deployment.environment.items() if name in as_a_user()},
        **{name: value for name, value in deployment.environment.items() if name.startswith("HEADWATER_")},
        "PYTHONPATH": str(ROOT),
        "HEADWATER_SOURCES": json.dumps([str(folder) for folder in folders]),
        "HEADWATER_EMBEDDING__MODEL": model,
        **_index_settings(servers.weaviate),
        **({} if url is None else {"HEADWATER_LEDGER__URL": url}),
        **(environ or {}),
    }
    database = Database.file(data / DATA_FILE) if url is None else Database(url)
    one = Stack(servers, deployment, database)
    with deployment:
        try:
            one.start(*roles)
            yield one
        finally:
            _end(one)


def _end(one: Stack) -> None:
    one.client.close()
    for role in one.roles.values():
        with contextlib.suppress(ProcessLookupError):
            role.process.terminate()
    psutil.wait_procs([psutil.Process(role.process.pid) for role in one.roles.values()], timeout=20)
    one.database.close()


def _index_settings(server: weaviate.Weaviate) -> dict[str, str]:
    return {
        "HEADWATER_INDEX__KIND": "weaviate",
        "HEADWATER_INDEX__URL": server.url,
        "HEADWATER_INDEX__GRPC_PORT": str(server.grpc_port),
        "HEADWATER_INDEX__API_KEY": server.api_key or "",
        "HEADWATER_INDEX__PREFIX": weaviate.fresh_prefix(),
    }


def spent_s(pid: int) -> float:
    """Processor seconds of a process and its children, those that have ended included."""
    spent = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:4])  # its own, and of children that have ended
    return spent
