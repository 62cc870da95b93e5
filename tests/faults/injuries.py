"""What is done to a deployment, one after another or at random. Each ends with everything running again."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tests.endpoint import Asked, Said
from tests.faults.deployment import LEASE_S, ROLES, Deployment
from tests.servers import weaviate

PAUSE_S = 20.0  # longer than a lease
assert PAUSE_S > LEASE_S
SHORT_S = 6.0
WORKERS = ("fresh", "bulk")
EVENTS = 20_000  # more than the kernel's queue holds


@dataclass(frozen=True)
class Injury:
    """``batches``: how many may be embedded twice: one for each worker that dies with one under way."""

    name: str
    inflict: Callable[[Deployment, random.Random], None]
    batches: int = 0


def kill(name: str) -> Injury:
    def inflict(deployment: Deployment, _: random.Random) -> None:
        deployment.kill(name)

    return Injury(f"kill -9 of {name}", inflict, batches=int(name in WORKERS))


def pause(name: str) -> Injury:
    def inflict(deployment: Deployment, _: random.Random) -> None:
        process = deployment.processes[name]
        process.pause()
        time.sleep(PAUSE_S)
        process.resume()

    # To the others it is dead: what it had under way is embedded anew.
    return Injury(f"{name} stopped for {PAUSE_S:.0f} s", inflict, batches=int(name in WORKERS))


def away(name: str) -> Injury:
    def inflict(deployment: Deployment, _: random.Random) -> None:
        deployment.die(name)
        time.sleep(SHORT_S)
        deployment.processes[name].start()

    return Injury(f"{name} dead for {SHORT_S:.0f} s", inflict)


def flush(deployment: Deployment, _: random.Random) -> None:
    deployment.servers.redis.empty()


def double_messages(deployment: Deployment, dice: random.Random) -> None:
    """Everything that waits in Redis, again and in another order; then all of it once more, late."""
    client = deployment.servers.redis.client()
    seen: list[tuple[bytes, bytes]] = []
    ends = time.monotonic() + SHORT_S
    while time.monotonic() < ends:
        for key in client.keys("*"):
            if client.type(key) == b"list":
                seen += [(key, message) for message in client.lrange(key, 0, -1)]
        dice.shuffle(seen)
        for key, message in seen[:50]:
            client.lpush(key, message)
        time.sleep(0.05)
    for key, message in seen[:200]:
        client.rpush(key, message)
    client.close()


def refuse_writes(deployment: Deployment, _: random.Random) -> None:
    _set_shards(deployment, "READONLY")
    time.sleep(SHORT_S)
    _set_shards(deployment, "READY")


def slow_index(deployment: Deployment, _: random.Random) -> None:
    deployment.servers.manners.delay_s = 0.8
    time.sleep(SHORT_S)
    deployment.servers.manners.sound()


def failing_objects(deployment: Deployment, _: random.Random) -> None:
    deployment.servers.manners.failing_share = 0.5
    time.sleep(SHORT_S)
    deployment.servers.manners.sound()


def cut_index(deployment: Deployment, _: random.Random) -> None:
    deployment.servers.manners.cut = True
    time.sleep(SHORT_S)
    deployment.servers.manners.sound()


def no_embedder(deployment: Deployment, _: random.Random) -> None:
    """Every connection to the endpoint is reset, and nothing of what was asked is embedded."""
    endpoint = deployment.servers.endpoint

    def reset(asked: Asked) -> Said:
        with endpoint.lock:
            endpoint.asked.remove(asked)
        return Said(status=0)

    endpoint.script = reset
    time.sleep(SHORT_S)
    endpoint.script = None


def drop_connections(deployment: Deployment, _: random.Random) -> None:
    """Every connection to the ledger, some times over."""
    for _number in range(5):
        with psycopg.connect(deployment.servers.ledger_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        time.sleep(0.5)


def overflow(deployment: Deployment, _: random.Random) -> None:
    """More events than the kernel keeps for a watcher that does not read them."""
    watcher = deployment.processes["watch"]
    watcher.pause()
    noise = deployment.folder / "noise.tmp"
    for _number in range(EVENTS // 2):
        noise.touch()
        noise.unlink()
    time.sleep(1.0)  # edits go on meanwhile, unseen
    watcher.resume()


def unmount(deployment: Deployment, _: random.Random) -> None:
    """The folder is gone and an empty one lies in its place; then it is back. The writer waits meanwhile."""
    if deployment.mounted is None:
        print("          (not mounted: this user may not; renamed instead)", flush=True)
        return rename_away(deployment)
    deployment.mounted.unmount()
    time.sleep(SHORT_S)
    return deployment.mounted.mount()


def rename_away(deployment: Deployment) -> None:
    elsewhere = deployment.folder.with_name("elsewhere")
    deployment.folder.rename(elsewhere)
    deployment.folder.mkdir()
    time.sleep(SHORT_S)
    deployment.folder.rmdir()
    elsewhere.rename(deployment.folder)


def full_disk(deployment: Deployment, _: random.Random) -> None:
    """Of the ledger's server, up to its last segment, and of the data folder of the roles. It ends for it."""
    disks = [one for one in (deployment.data_disk, deployment.servers.postgres.disk) if one is not None]
    if not disks:
        print("          (left out: this user may not mount a small disk)", flush=True)
        return
    for disk in disks:
        disk.fill()
    with contextlib.suppress(psycopg.OperationalError):
        _use_up_segments(deployment.servers.ledger_url)
    time.sleep(SHORT_S)
    for disk in disks:
        disk.free()
    deployment.processes["postgres"].revive()


def _use_up_segments(ledger_url: str) -> None:
    """Write to PostgreSQL's log until it has no room for more."""
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        while True:
            connection.execute("SELECT pg_logical_emit_message(false, 'full', repeat('x', 1000000))")


def set_clock_back(role: str) -> Injury:
    def inflict(deployment: Deployment, _: random.Random) -> None:
        deployment.start_set_back(role, 3600.0)

    return Injury(f"the clock of {role} set back an hour", inflict)


EVERY = (
    *(kill(name) for name in (*ROLES, "redis", "postgres", "weaviate")),
    *(pause(name) for name in (*ROLES, "redis", "postgres", "weaviate")),
    *(away(name) for name in ("redis", "postgres", "weaviate")),
    Injury("Redis flushed", flush),
    Injury("messages twice, late and out of order", double_messages),
    Injury("Weaviate refuses writes", refuse_writes),
    Injury("Weaviate answers slowly", slow_index),
    Injury("Weaviate fails some items of a batch", failing_objects),
    Injury("connections to Weaviate cut", cut_index),
    Injury("the embedding endpoint resets connections", no_embedder),
    Injury("PostgreSQL drops connections", drop_connections),
    Injury("the event queue overflows", overflow),
    Injury("the folder unmounted and back", unmount),
    Injury("the disks of PostgreSQL and of the data folders full", full_disk),
    *(set_clock_back(role) for role in ROLES),
)


def _set_shards(deployment: Deployment, state: str) -> None:
    server = deployment.servers.weaviate
    with weaviate.admin(server) as client:
        for one in client.get("/schema").raise_for_status().json()["classes"]:
            for shard in client.get(f"/schema/{one['class']}/shards").raise_for_status().json():
                change = client.put(f"/schema/{one['class']}/shards/{shard['name']}", json={"status": state})
                change.raise_for_status()
