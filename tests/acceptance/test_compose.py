"""docker-compose.yml as far as it can be run without an engine: its settings, commands, checks and secrets
are carried out here, with other addresses in the place of the containers' own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from tests.acceptance.roles import until
from tests.servers import postgres, weaviate
from tests.servers.process import NotInstalled, Server, accepts, free_port, missing

ROOT = Path(__file__).parents[2]
START_S = 120.0
SINGS = 'headwater_canary_success{kind="files"} 1.0'

Json = dict[str, Any]

composed: Json = YAML(typ="safe").load(ROOT / "docker-compose.yml")
services: Json = composed["services"]
IMAGE = "headwater:local"
ROLES = sorted(name for name, service in services.items() if service["image"] == IMAGE)


@pytest.mark.parametrize("name", sorted(services))
def test_a_service_is_limited_pinned_checked_and_not_root(name: str) -> None:
    service = services[name]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["cap_drop"] == ["ALL"]
    if name == "weaviate-volume":  # ends at once
        return
    assert service["user"].split(":")[0] not in ("0", "root")
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["image"] == IMAGE or re.search(r":v?\d+\.\d+", service["image"])


def test_one_service_builds_the_image_of_all() -> None:
    """Several builds of one name, exported at once, fail with "already exists"."""
    assert len([name for name in ROLES if "build" in services[name]]) == 1
    assert {services[name]["pull_policy"] for name in ROLES} == {"build", "never"}
    bases = re.findall(r"^FROM (\S+)", (ROOT / "ops/docker/Dockerfile").read_text(), re.MULTILINE)
    assert all(re.search(r":\d+\.\d+\.\d+-", base) for base in bases)


def test_what_is_mounted_is_there_and_every_secret_is_made(tmp_path: Path) -> None:
    made = secrets(tmp_path)
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0].replace("${FOLDER", "").lstrip("-")
            if source.startswith("."):
                assert (ROOT / source).exists(), volume
            elif "$" not in volume:
                assert source in composed["volumes"], volume
        assert set(service.get("secrets", ())) <= composed["secrets"].keys()
    for name, secret in composed["secrets"].items():
        assert (made / name).stat().st_size >= 32
        assert secret["file"] == f"./secrets/{name}"


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_writes_lies_where_it_may_write(role: str) -> None:
    """The image names a data folder too, and its variable would beat the settings' file."""
    service = services[role]
    image = re.findall(r"(HEADWATER_\w+)=(\S+)", (ROOT / "ops/docker/Dockerfile").read_text())
    data = Path({**dict(image), **service["environment"]}["HEADWATER_DAEMON__DATA"])
    assert service["read_only"]
    assert any(data.is_relative_to(folder) for folder in service["tmpfs"])


def test_prometheus_asks_every_role() -> None:
    """A role that it does not know of would be missing without a word."""
    scraped = YAML(typ="safe").load(ROOT / "ops/prometheus/prometheus.yml")["scrape_configs"][0]
    assert sorted(scraped["dns_sd_configs"][0]["names"]) == ROLES


@dataclass(frozen=True)
class Stack:
    """What runs, and what stands for the containers' own addresses and paths."""

    place: Path
    secrets: Path
    replaced: Mapping[str, str]

    def here(self, text: str) -> str:
        for inside, outside in self.replaced.items():
            text = text.replace(inside, outside)
        return text.replace("$$", "$")


@pytest.mark.timeout(300)
def test_the_composed_roles_index_and_answer(tmp_path: Path) -> None:
    try:
        with stack(tmp_path) as servers, contextlib.ExitStack() as running:
            ports = {role: free_port() for role in ROLES}
            for role in ROLES:
                running.enter_context(role_of(role, ports[role], servers).running())
            key = (servers.secrets / "api_key").read_text()
            with httpx.Client(
                headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
            ) as client:
                api = f"http://127.0.0.1:{ports['api']}"
                until(lambda: answers(client, api), "the handbook is found", START_S)
                assert httpx.post(f"{api}/v1/search", json={"query": "leave"}).status_code == 401
                for role in ROLES:  # as Prometheus asks them
                    until(partial(measured, client, ports[role]), f"{role} is measured", START_S)
                shown = [role for role in ROLES if shows_states(client, ports[role])]
                assert shown == ["exporter"]
                exporter = f"http://127.0.0.1:{ports['exporter']}/metrics"
                until(lambda: SINGS in client.get(exporter).text, "the canary sings", START_S)
    except NotInstalled as fault:
        missing(fault)


def measured(client: httpx.Client, port: int) -> bool:
    """Once it has what it needs: a fresh worker may find the handbook done by others."""
    answer = client.get(f"http://127.0.0.1:{port}/metrics")
    return answer.status_code == 200 and "headwater_" in answer.text


def shows_states(client: httpx.Client, port: int) -> bool:
    told = client.get(f"http://127.0.0.1:{port}/metrics").text
    return "headwater_exporter_up 1.0" in told and "headwater_broker_up 1.0" in told


def answers(client: httpx.Client, api: str) -> bool:
    answer = client.post(f"{api}/v1/search", json={"query": "How many days of leave do I have?"})
    return answer.status_code == 200 and any("27 days" in hit["text"] for hit in answer.json()["hits"])


def role_of(role: str, port: int, stack: Stack) -> Server:
    """As the container starts it, alive when the container's own check says so."""
    service = services[role]
    words = [
        stack.here(word).replace("0.0.0.0", "127.0.0.1").replace("7878", str(port))
        for word in service["command"]
    ]
    check = [
        sys.executable,
        *(word.replace("7878", str(port)) for word in service["healthcheck"]["test"][2:]),
    ]
    settings = {name: stack.here(value) for name, value in service["environment"].items()}
    settings["HEADWATER_CONFIG"] = str(stack.place / "headwater.toml")
    return Server(
        [sys.executable, "-m", "ops.cli", *words],
        log=stack.place / f"{role}.log",
        answers=lambda: subprocess.run(check, capture_output=True, check=False).returncode == 0,
        start_s=START_S,
        environment={**settings, "PYTHONPATH": str(ROOT)},
    )


@contextlib.contextmanager
def stack(place: Path) -> Iterator[Stack]:
    """The three servers: Redis by its composed command. Raises NotInstalled."""
    if shutil.which("redis-server") is None:
        raise NotInstalled("there is no redis-server")
    made, port = secrets(place), free_port()
    with contextlib.ExitStack() as running:
        sql = running.enter_context(postgres.own())
        (made / "postgres_password").chmod(0o600)
        (made / "postgres_password").write_text(postgres.PASSWORD)
        vectors = running.enter_context(weaviate.serving(place))
        (made / "weaviate_key").chmod(0o600)
        (made / "weaviate_key").write_text(vectors.api_key or "")
        database = sql.empty()
        stack = Stack(
            place,
            made,
            {
                "/run/secrets": str(made),
                "/tmp/redis.conf": f"{place}/redis.conf",
                "exec redis-server": f"exec redis-server --port {port} --bind 127.0.0.1 --include",
                "redis-cli": f"redis-cli -p {port}",
                "postgres:5432/headwater": f"127.0.0.1:{sql.url.port}/{database.database}",
                "redis:6379": f"127.0.0.1:{port}",
                '"http://weaviate:8080"': f'"{vectors.url}"\ngrpc_port = {vectors.grpc_port}',
                '"/sources"': f'"{ROOT}/ops/handbook"',
                '"/canary"': f'"{place}/canary"',
                "/tmp/headwater": f"{place}/data",
            },
        )
        settings = (ROOT / "ops/docker/headwater.toml").read_text()
        (place / "headwater.toml").write_text(stack.here(settings))
        running.enter_context(redis_of(stack, port).running())
        yield stack


def redis_of(stack: Stack, port: int) -> Server:
    service = services["redis"]
    script, check = service["command"][0], service["healthcheck"]["test"][1]

    def answers() -> bool:
        healthy = subprocess.run(["/bin/sh", "-c", stack.here(check)], capture_output=True, check=False)
        return accepts(port) and healthy.returncode == 0

    return Server(
        [*service["entrypoint"], stack.here(script)],
        log=stack.place / "redis.log",
        answers=answers,
        start_s=START_S,
    )


def secrets(place: Path) -> Path:
    """As the script makes them, in a folder of their own."""
    script = place / "checkout/ops/docker/secrets.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "ops/docker/secrets.sh", script)
    for _ in range(2):  # what is there stays
        subprocess.run(["sh", script], check=True, capture_output=True, env={**os.environ})
    return place / "checkout/secrets"
