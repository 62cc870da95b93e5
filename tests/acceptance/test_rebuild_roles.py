"""`headwater rebuild` where the roles are processes of their own: the schedule sends, workers build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.roles import EVERYTHING, Deployment, until
from tests.servers.redis import Redis

OTHER = "hashing-96"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.mark.timeout(500)
def test_a_rebuild_with_a_gate_and_back_through_processes(redis: Redis, place: Path, notes: Path) -> None:
    queries = place / "queries.jsonl"
    queries.write_text('{"query": "document number 4", "expected": ["4.md"]}\n')
    with Deployment(place, notes, redis.url) as deployment:
        for number in range(20):
            deployment.write(f"{number}.md", f"document number {number}, as it was")
        deployment.start(*EVERYTHING)
        deployment.shows("number 19, as it was")
        deployment.settled()
        gate = ("--min-recall", "0.9", "--queries", str(queries))
        built = deployment.run("ops.cli", "rebuild", "--model", OTHER, *gate, "--wait", "--json")
        assert built.returncode == 0, built.stdout + built.stderr
        assert json.loads(built.stdout)["live"]["model"] == OTHER
        until(lambda: deployment.answers("document number 4"), "it answers")
        assert deployment.status()["editions"]["live"]["model"] == OTHER
        deployment.write("4.md", "document number 4, after the switch")
        deployment.shows("number 4, after the switch")
        back = deployment.run("ops.cli", "rebuild", "--back", "--json")
        assert back.returncode == 0, back.stdout + back.stderr
        assert json.loads(back.stdout)["live"]["model"] == "hashing"
        assert deployment.finds("number 4, after the switch"), "going back loses no edit"
        assert not deployment.finds("number 4, as it was")
