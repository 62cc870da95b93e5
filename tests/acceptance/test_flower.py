"""Flower, as its users start it, on the application of the roles."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import httpx
import pytest

from tests.acceptance.roles import FRESH, Deployment, until
from tests.servers.process import free_port
from tests.servers.redis import IN_URL, PASSWORD, Redis

QUERY_S = 10.0


@pytest.mark.timeout(300)
def test_flower_sees_our_workers_and_no_password(redis: Redis, notes: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with Deployment(place, notes, redis.url) as deployment:
        deployment.environment["FLOWER_UNAUTHENTICATED_API"] = "true"
        (worker,) = deployment.start(FRESH)
        port = free_port()
        flower = deployment.celery("flower", "--address=127.0.0.1", f"--port={port}")
        worker.says("4 threads")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=QUERY_S, trust_env=False) as asked:

            def workers() -> dict[str, dict[str, object]]:
                with contextlib.suppress(httpx.TransportError):
                    found: dict[str, dict[str, object]] = asked.get("/api/workers?refresh=1").json()
                    return found
                return {}

            def reads_edits() -> bool:
                return any(
                    '"name": "fresh"' in json.dumps(one.get("active_queues")) for one in workers().values()
                )

            until(reads_edits, "Flower lists a worker that reads the queue of edits")
            (name,) = workers()
            assert name.startswith("fresh-")
            assert "headwater.refresh" in json.dumps(workers()[name]["registered"])
            said = asked.get("/workers").text + asked.get("/broker").text + json.dumps(workers())
        assert name in said
        assert flower.end() == 0
        said += flower.said()
        for secret in (PASSWORD, IN_URL):
            assert secret not in said
