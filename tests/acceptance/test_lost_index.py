"""What is said while the index has lost what searches should find, and how it comes back."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.acceptance.roles import EVERYTHING, FRESH, Deployment, until
from tests.acceptance.test_roles_on_servers import place, weaviate_settings
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis
from tests.servers.weaviate import Weaviate, remove_collections

__all__ = ["place"]


def asked(deployment: Deployment) -> httpx.Response:
    url = f"http://127.0.0.1:{deployment.port}/v1/search"
    return httpx.post(url, json={"query": "days of holiday"}, timeout=60.0, trust_env=False)


@pytest.mark.timeout(500)
def test_a_lost_collection_is_not_made_again_empty_by_whoever_starts(
    redis: Redis, weaviate: Weaviate, weaviate_prefix: str, place: Path, notes: Path
) -> None:
    settings = weaviate_settings(weaviate, weaviate_prefix)
    with Deployment(place, notes, redis.url, **settings) as deployment:
        deployment.write("leave.md", "days of holiday")
        _, fresh, *_ = deployment.start(*EVERYTHING)
        deployment.shows("days of holiday")
        assert "holds what is live" in deployment.run("ops.cli", "doctor").stdout

        remove_collections(weaviate, weaviate_prefix)
        until(lambda: asked(deployment).status_code == 503, "searches fail")
        fresh.end()
        (fresh,) = deployment.start(FRESH)
        fresh.says("fresh lane: ")
        assert asked(deployment).status_code == 503
        assert "searches fail until it is made again" in fresh.said()
        assert deployment.get("/readyz").status_code == 503
        doctor = deployment.run("ops.cli", "doctor")
        assert doctor.returncode == 1
        assert "Weaviate holds no collection" in doctor.stdout
        assert "headwater audit --repair" in doctor.stdout

        mended = deployment.run("ops.cli", "audit", "--repair")
        assert mended.returncode == 0, mended.stdout + mended.stderr
        assert deployment.finds("days of holiday")
        until(lambda: deployment.get("/readyz").status_code == 200, "it is ready again")


@pytest.mark.timeout(500)
def test_what_is_held_and_lost_is_not_called_searchable(
    redis: Redis, postgres: Postgres, weaviate: Weaviate, weaviate_prefix: str, place: Path, notes: Path
) -> None:
    database = postgres.empty().render_as_string(hide_password=False)
    settings = {"LEDGER__URL": database, **weaviate_settings(weaviate, weaviate_prefix)}
    with Deployment(place, notes, redis.url, **settings) as deployment:
        for name in ("leave.md", "pay.md"):
            deployment.write(name, f"days of holiday in {name}")
        deployment.start(*EVERYTHING)
        for name in ("leave.md", "pay.md"):
            deployment.shows("days of holiday", name)
        for name in ("leave.md", "pay.md"):
            (notes / name).rename(place / name)
        until(lambda: deployment.status()["sources"][0]["held"], "they are held")
        assert "They stay searchable. If" in deployment.run("ops.cli", "status").stdout

        remove_collections(weaviate, weaviate_prefix)
        mended = deployment.run("ops.cli", "audit", "--repair")
        assert mended.returncode == 1
        assert deployment.answers("days of holiday") == []
        said = [
            mended.stdout,
            *(deployment.run("ops.cli", one).stdout for one in ("sync", "status", "doctor")),
        ]
        for output in said:
            assert "the index has lost of 2 documents: only their files can bring that back" in output
        for name in ("leave.md", "pay.md"):
            (place / name).rename(notes / name)
        for name in ("leave.md", "pay.md"):
            deployment.shows("days of holiday", name)
        until(lambda: "lost of" not in deployment.run("ops.cli", "status").stdout, "nothing is lost")
