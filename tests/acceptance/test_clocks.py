"""Processes whose clocks are set differently, as those of two machines are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.roles import API, BULK, WATCH, Deployment
from tests.servers.redis import Redis

BEHIND = Path(__file__).with_name("behind")  # a folder with a sitecustomize.py
BEHIND_S = 3600


@pytest.mark.timeout(300)
def test_a_beat_on_a_machine_whose_clock_is_an_hour_behind(redis: Redis, notes: Path, tmp_path: Path) -> None:
    """A first index is sent by nothing but the schedule: jobs that count as too old would never run."""
    place = tmp_path / "place"
    place.mkdir()
    with Deployment(place, notes, redis.url) as deployment:
        deployment.write("a.md", "sent by a clock of its own")
        deployment.start(WATCH, BULK, API)
        deployment.celery("worker", "-P", "threads", "-Q", "upkeep", "-l", "warning")
        path = os.pathsep.join(filter(None, [str(BEHIND), os.environ.get("PYTHONPATH", "")]))
        deployment.environment |= {"PYTHONPATH": path, "TEST_CLOCK_BEHIND_S": str(BEHIND_S)}
        deployment.celery("beat", "-l", "warning")
        deployment.shows("sent by a clock of its own")
