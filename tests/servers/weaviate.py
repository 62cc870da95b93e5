"""A real Weaviate on loopback, built from its Go module: once, in the user's cache, by version.

``HEADWATER_TEST_WEAVIATE_URL`` names a running one instead (with ``HEADWATER_TEST_WEAVIATE_GRPC_PORT`` and
``HEADWATER_TEST_WEAVIATE_API_KEY``); tests that stop and start a server are skipped there.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.servers import go_module
from tests.servers.process import Server, accepts, free_port

VERSION = "1.39.0"
MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
START_S = 60.0


@dataclass(frozen=True)
class Weaviate:
    """A server that answers. ``server`` is None where it is not ours to stop."""

    url: str
    grpc_port: int
    api_key: str | None = field(repr=False)
    server: Server | None = None


def elsewhere(environ: Mapping[str, str]) -> Weaviate | None:
    """The running server that the environment names, if it names one."""
    url = environ.get("HEADWATER_TEST_WEAVIATE_URL")
    if not url:
        return None
    port = int(environ.get("HEADWATER_TEST_WEAVIATE_GRPC_PORT", "50051"))
    return Weaviate(url, port, environ.get("HEADWATER_TEST_WEAVIATE_API_KEY"))


@contextlib.contextmanager
def serving(place: Path, **settings: str) -> Iterator[Weaviate]:
    """A server of its own, its data and its log in ``place``. Raises NotInstalled."""
    made = stopped(place, **settings)
    assert made.server is not None
    with made.server.running():
        yield made


def stopped(place: Path, **settings: str) -> Weaviate:
    """The same, not started yet. Raises NotInstalled."""
    port, grpc_port, key = free_port(), free_port(), secrets.token_urlsafe(16)
    url = f"http://127.0.0.1:{port}"
    server = Server(
        [binary(), "--host", "127.0.0.1", "--port", str(port), "--scheme", "http"],
        log=place / "weaviate.log",
        answers=lambda: _answers(url, grpc_port),
        start_s=START_S,
        environment={**_environment(place, grpc_port, key), **settings},
    )
    return Weaviate(url, grpc_port, key, server)


def fresh_prefix() -> str:
    """A prefix of collections' names that no test had before."""
    return f"Test{secrets.token_hex(6)}"


def remove_collections(weaviate: Weaviate, prefix: str) -> None:
    """Every collection of the prefix. Raises httpx.HTTPError when it cannot."""
    with admin(weaviate) as client:
        for name in collections(weaviate, prefix):
            client.delete(f"/schema/{name}").raise_for_status()


def collections(weaviate: Weaviate, prefix: str) -> list[str]:
    with admin(weaviate) as client:
        made = client.get("/schema").raise_for_status().json()["classes"]
    return [one["class"] for one in made if one["class"].startswith(f"{prefix}_")]


def admin(weaviate: Weaviate) -> httpx.Client:
    """Its REST interface, for doing to it what others might."""
    headers = {"authorization": f"Bearer {weaviate.api_key}"} if weaviate.api_key else {}
    return httpx.Client(base_url=f"{weaviate.url}/v1", headers=headers, trust_env=False, timeout=30)


def binary() -> Path:
    """The server's program, built on first use. Raises NotInstalled."""
    return go_module.binary(MODULE, VERSION)


def _environment(place: Path, grpc_port: int, key: str) -> dict[str, str]:
    gossip, raft = _free_pair(), _free_pair()
    return {
        "PERSISTENCE_DATA_PATH": str(place / "weaviate"),
        "GRPC_PORT": str(grpc_port),
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
        "AUTHENTICATION_APIKEY_USERS": "tests",
        "CLUSTER_HOSTNAME": "node1",
        "CLUSTER_IN_LOCALHOST": "true",
        "CLUSTER_BIND_ADDR": "127.0.0.1",
        "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
        "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
        "CLUSTER_DATA_BIND_PORT": str(gossip + 1),
        "RAFT_PORT": str(raft),
        "RAFT_INTERNAL_RPC_PORT": str(raft + 1),
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "RAFT_TIMEOUTS_MULTIPLIER": "1",  # there is nobody to wait for in an election
        "RAFT_JOIN": f"node1:{raft}",
        "DEFAULT_VECTORIZER_MODULE": "none",
        "API_BASED_MODULES_DISABLED": "true",
        "GO_PROFILING_DISABLE": "true",
        "DISABLE_TELEMETRY": "true",
        "LOG_LEVEL": "warning",
    }


def _free_pair() -> int:
    """A free port whose next one is free too: on one machine Weaviate looks for the second there."""
    while True:
        port = free_port()
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", port + 1))
            return port


def _answers(url: str, grpc_port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        ready = httpx.get(f"{url}/v1/.well-known/ready", trust_env=False, timeout=2).status_code == 200
        return ready and accepts(grpc_port)
    return False


if __name__ == "__main__":
    go_module.make(MODULE, VERSION)
