"""The production stack as its users run it: three servers, and every role a process of its own.

Each process can be killed, stopped and started again by name. Weaviate is reached through a relay that can be
told to answer slowly, to cut connections, or to fail items of a batch. The embedder is an endpoint in the
test's own process, so that every text that anybody sends to be embedded is counted in one place.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from tests import endpoint
from tests.faults.relay import GrpcRelay, Manners, RestRelay, relays
from tests.faults.told import Told
from tests.servers import postgres, redis, weaviate
from tests.servers.mounts import Mounted, image, small_disk
from tests.servers.process import Server, free_port

LEASE_S = 15
ROLES: Mapping[str, tuple[str, ...]] = {
    "watch": ("watch",),
    "fresh": ("worker", "--lane", "fresh", "--concurrency", "4"),
    "bulk": ("worker", "--lane", "bulk", "--concurrency", "2"),
    "schedule": ("schedule",),
    "api": ("api",),
}
START_S = 60.0
LEDGER_MB, DATA_MB, FOLDER_MB = 256, 1, 64
_SET_BACK = Path(__file__).with_name("set_back")  # a folder with a sitecustomize.py

Json = dict[str, Any]


@dataclass(frozen=True)
class Servers:
    """What the roles need, each of its own for this run: it will be killed."""

    postgres: postgres.Postgres
    ledger_url: str = field(repr=False)
    redis: redis.Redis
    weaviate: weaviate.Weaviate
    rest: RestRelay
    grpc: GrpcRelay
    manners: Manners
    endpoint: endpoint.Endpoint

    @property
    def processes(self) -> dict[str, Server]:
        found = {
            "postgres": self.postgres.server,
            "redis": self.redis.server,
            "weaviate": self.weaviate.server,
        }
        return {name: server for name, server in found.items() if server is not None}


@contextlib.contextmanager
def servers(place: Path, seed: int) -> Iterator[Servers]:
    """All of them, with data that survives kill -9. Raises NotInstalled."""
    with contextlib.ExitStack() as stack:
        kept = {"fsync": "on", "full_page_writes": "on", "max_wal_size": "64MB"}
        sql = stack.enter_context(postgres.own(disk_mb=LEDGER_MB, **kept))
        broker = stack.enter_context(redis.serving(place))
        vectors = stack.enter_context(weaviate.serving(place))
        manners = Manners(seed)
        port = urlsplit(vectors.url).port
        assert port is not None
        rest, grpc = stack.enter_context(relays(port, vectors.grpc_port, manners))
        yield Servers(
            postgres=sql,
            ledger_url=postgres.as_text(sql.empty()),
            redis=broker,
            weaviate=vectors,
            rest=rest,
            grpc=grpc,
            manners=manners,
            endpoint=stack.enter_context(endpoint.endpoint()),
        )


class Deployment:
    """Everything that runs. ``processes``: by name, the roles and the servers."""

    def __init__(self, place: Path, folder: Path, servers: Servers) -> None:
        self.place = place
        self.folder = folder
        self.servers = servers
        self._ports = {role: free_port() for role in ROLES}
        self._environment = self._settings()
        self.roles = {role: self._role(role) for role in ROLES}
        self.processes: dict[str, Server] = {**self.roles, **servers.processes}
        self.told = {role: Told(self._log_of(role)) for role in ROLES}
        self.mounted: Mounted | None = None
        self.data_disk: Mounted | None = None
        self._undo = contextlib.ExitStack()
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{self._ports['api']}", trust_env=False, timeout=60
        )

    def mount(self) -> None:
        """The sources' folder and the data folder on disks of their own, where this user may mount."""
        data = self.place / "data"
        data.mkdir()
        self.mounted = self._undo.enter_context(image(self.folder, FOLDER_MB))
        self.data_disk = self._undo.enter_context(small_disk(data, DATA_MB))

    def start(self) -> None:
        for role in self.roles:
            self.start_one(role)

    def stop(self) -> None:
        for role in self.roles.values():
            if role.runs:
                role.resume()
            role.stop()
        self._http.close()
        self._undo.close()

    def start_one(self, name: str) -> None:
        if name in self.told:
            self.told[name].process_begins()
        self.processes[name].start()

    def injury_begins(self) -> None:
        for told in self.told.values():
            told.injury_begins()

    def kill(self, name: str) -> None:
        """kill -9 of a role or a server, with the children it has, and a start right after it."""
        self.die(name)
        self.start_one(name)

    def die(self, name: str) -> None:
        process = self.processes[name]
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=10)

    def start_set_back(self, role: str, seconds: float) -> None:
        """Start a role whose clock is behind by so much."""
        self.roles[role].stop()
        set_back = self._role(role, PYTHONPATH=_path(_SET_BACK), TEST_CLOCK_BEHIND_S=str(seconds))
        self.roles[role] = self.processes[role] = set_back
        self.start_one(role)

    def search(self, query: str, top_k: int = 100) -> list[Json]:
        answer = self._http.post("/v1/search", json={"query": query, "top_k": top_k})
        answer.raise_for_status()
        hits: list[Json] = answer.json()["hits"]
        return hits

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the program, with the settings of the roles."""
        return subprocess.run(
            [sys.executable, "-m", "ops.cli", *words],
            env={**_bare(), **self._environment},
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _log_of(self, role: str) -> Path:
        return self.place / f"{role}.log"

    def _role(self, role: str, **environment: str) -> Server:
        port = self._ports[role]
        return Server(
            [sys.executable, "-m", "ops.cli", *ROLES[role], "--port", str(port)],
            log=self._log_of(role),
            answers=lambda: _alive(port),
            start_s=START_S,
            environment={**self._environment, **environment},
        )

    def _settings(self) -> dict[str, str]:
        servers = self.servers
        source = {"name": "folder", "root": str(self.folder), "scan_every_s": 20}
        return {
            "HEADWATER_DAEMON__DATA": str(self.place / "data"),
            "HEADWATER_SOURCES": json.dumps([source]),
            "HEADWATER_EMBEDDING__RUNTIME": "openai",
            "HEADWATER_EMBEDDING__MODEL": "counted",
            "HEADWATER_EMBEDDING__URL": servers.endpoint.url,
            "HEADWATER_EMBEDDING__API_KEY": endpoint.KEY,
            "HEADWATER_EMBEDDING__DIMENSIONS": str(endpoint.DIMENSIONS),
            "HEADWATER_LEDGER__URL": servers.ledger_url,
            "HEADWATER_LEDGER__LEASE_S": str(LEASE_S),
            "HEADWATER_BROKER__URL": servers.redis.url,
            "HEADWATER_INDEX__KIND": "weaviate",
            "HEADWATER_INDEX__URL": f"http://127.0.0.1:{servers.rest.port}",
            "HEADWATER_INDEX__GRPC_PORT": str(servers.grpc.port),
            "HEADWATER_INDEX__API_KEY": servers.weaviate.api_key or "",
            "HEADWATER_INDEX__TIMEOUT_S": "5",
            "PYTHONPATH": _path(),
        }


def _alive(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=2).status_code == 200
    return False


def _path(*before: Path) -> str:
    """Where a process finds the program, when it is started elsewhere."""
    return os.pathsep.join([*map(str, before), str(Path(__file__).parents[2])])


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
