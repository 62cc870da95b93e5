"""A role whose thread ended by itself says so, whichever it is; its process ends, to be started again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ingestion.records import Lane
from ops.roles.api import ApiRole
from ops.roles.schedule import ScheduleRole
from ops.roles.watch import WatchRole
from ops.roles.worker import WorkerRole
from ops.settings import Settings
from tests.unit.ops.books import SetClock
from workers.outcomes import ignore


def roles() -> dict[str, tuple[Any, list[str]]]:
    """Each with the attributes that hold what it runs."""
    settings, clock = Settings(), SetClock()
    return {
        "worker": (
            WorkerRole(
                settings, clock, lane=Lane.FRESH, concurrency=1, listener=ignore, backlog=lambda number: None
            ),
            ["_worker", "_workshop"],
        ),
        "schedule": (
            ScheduleRole(settings, clock, listener=ignore),
            ["_worker", "_beat", "_workshop"],
        ),
        "watch": (WatchRole(settings, clock, listener=ignore), ["_threads"] * 4),
        "api": (ApiRole(settings, clock, host="127.0.0.1"), ["_threads"] * 3),
    }


@pytest.mark.parametrize("name", ["worker", "schedule", "watch", "api"])
def test_each_thread_counts(name: str) -> None:
    role, places = roles()[name]
    threads = [SimpleNamespace(alive=True) for _ in places]
    for place, thread in zip(places, threads, strict=True):
        setattr(role, place, threads if place == "_threads" else thread)
    assert role.alive()
    for thread in threads:
        thread.alive = False
        assert not role.alive()
        thread.alive = True
