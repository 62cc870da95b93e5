"""What is said while the index has lost what searches should find, and how it comes back."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.acceptance.roles import EVERYTHING, FRESH, Deployment, until
from tests.acceptance.test_roles_on_servers import place, weaviate_settings
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
