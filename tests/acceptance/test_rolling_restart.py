"""A source is added while roles with the settings from before still run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.roles import BULK, EVERYTHING, FRESH, LISTEN_AGAIN_S, WATCH, Deployment
from tests.servers.redis import Redis


@pytest.mark.timeout(500)
def test_workers_from_before_leave_a_new_source_to_the_others(
    redis: Redis, tmp_path: Path, notes: Path
) -> None:
    place, policies = tmp_path / "place", tmp_path / "policies"
    place.mkdir()
    policies.mkdir()
    with Deployment(place, notes, redis.url) as deployment:
        deployment.write("a.md", "words of the first source")
        watch, fresh, bulk, *_ = deployment.start(*EVERYTHING)
        deployment.shows("words of the first source")
        fresh.says("4 threads")
        assert watch.end() == 0
        (policies / "b.md").write_text("words of another source")
        deployment.environment["HEADWATER_SOURCES"] = json.dumps(
            [{"root": str(root), "scan_every_s": LISTEN_AGAIN_S} for root in (notes, policies)]
        )
        deployment.start(WATCH)
        bulk.says("policies is not among the [[sources]] of this process")
        deployment.start(FRESH, BULK)
        deployment.shows("words of another source")
        (policies / "b.md").write_text("other words of another source")
        deployment.shows("other words of another source")
        assert bulk.said().count("is not among the [[sources]]") == 1
        assert "b.md" not in deployment.run("ops.cli", "dead").stdout
