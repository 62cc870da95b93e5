"""The schedule goes on whatever becomes of the machine's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from celery import Celery

from ops.in_process import SteadyScheduler


class Watched(SteadyScheduler):
    """Notes what it would send."""

    sent: list[str]

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.sent.append(entry.name)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_stops_no_schedule(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    app = Celery("test", broker="memory://", set_as_current=False)
    app.conf.beat_schedule = {
        name: {"task": name, "schedule": seconds} for name, seconds in (("often", 1.0), ("seldom", 60.0))
    }
    shift = timedelta()
    now = app.now
    monkeypatch.setattr(app, "now", lambda: _shifted(now(), shift))
    scheduler = Watched(app=app, lazy=True)
    scheduler.sent = []
    scheduler.setup_schedule()

    def run(seconds: int) -> list[str]:
        nonlocal shift
        scheduler.sent = []
        for _ in range(seconds):
            while scheduler.tick() == 0:
                pass
            shift += timedelta(seconds=1)
        return scheduler.sent

    assert run(62).count("often") > 30
    shift += timedelta(hours=hours)
    after = run(62)
    assert after.count("often") > 30
    assert "seldom" in after


def _shifted(now: datetime, shift: timedelta) -> datetime:
    return now + shift
