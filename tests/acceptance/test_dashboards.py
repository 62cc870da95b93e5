"""The dashboards over ``headwater up``: one process and no Redis. Over roles, ``test_alerts`` asks them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.program import Program
from tests.acceptance.roles import until
from tests.dashboards import MEASURED, all_show_something
from tests.pictures.answers import Exposure
from tests.pictures.drawing import draw
from tests.servers import prometheus
from tests.servers.process import NotInstalled, missing
from tests.servers.prometheus import RULES, Prometheus

DELETED = 'headwater_deletion_seconds_count{stage="total"}'
SHOWN_S = 30.0
LONG_AGO = 1e9
CURVES_BYTES = 5000
# One process has neither a Redis nor, beside a ledger in a file, another's clock.
OF_ROLES = {("pipeline", "Does anybody take the messages?"), ("pipeline", "Are clocks apart?")}


@pytest.mark.timeout(240)
def test_every_panel_shows_something_of_one_process(tmp_path: Path, notes: Path) -> None:
    rules = [RULES / "recording.yml", RULES / "alerts.yml"]
    for name in ("kept", "1", "2"):
        (notes / f"{name}.md").write_text(f"# Note {name}\n\nWords of this note.\n")
    with Program(tmp_path / "data", notes) as program:
        program.environment["HEADWATER_CANARY__EVERY_S"] = "1"
        program.start().ready()
        port = int(program.listening().rsplit(":", 1)[1])
        try:
            with prometheus.serving(tmp_path, {"": port}, rules) as monitor:
                until(lambda: monitor.query("up == 1"), "it is scraped")
                for number in (1, 2):
                    changes(program, notes, number)
                    until(partial(monitor.query, f"{DELETED} == {number}"), "the deletion is counted")
                assert program.command("audit").returncode == 0
                all_show_something(monitor, but=OF_ROLES)
                assert (
                    drawn(monitor, time.time(), tmp_path) > drawn(monitor, LONG_AGO, tmp_path) + CURVES_BYTES
                )
        except NotInstalled as fault:
            missing(fault)


def changes(program: Program, notes: Path, number: int) -> None:
    """An edit that is searched for, then a deletion: whoever sees that counted has seen the edit."""
    (notes / "kept.md").write_text(f"# Note kept\n\nRevision{number} of this note.\n")
    program.until(lambda: f"Revision{number}" in str(program.search(f"Revision{number}")), what="it is found")
    (notes / f"{number}.md").unlink()


def drawn(monitor: Prometheus, at: float, place: Path) -> int:
    """Draw a picture as the README shows them; its size in bytes."""
    picture = place / "freshness.png"
    draw(MEASURED["freshness"], Exposure(monitor, at - SHOWN_S, at, 1), picture)
    return picture.stat().st_size
