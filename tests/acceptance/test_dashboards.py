"""The dashboards over ``headwater up``: one process and no Redis. Over roles, ``test_alerts`` asks them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.program import running
from tests.acceptance.roles import until
from tests.dashboards import without_data
from tests.servers import prometheus
from tests.servers.process import NotInstalled, missing
from tests.servers.prometheus import RULES

DELETED = 'headwater_deletion_seconds_count{stage="total"}'
# One process has neither a Redis nor, beside a ledger in a file, another's clock.
OF_ROLES = {("pipeline", "Does anybody take the messages?"), ("pipeline", "Are clocks apart?")}


@pytest.mark.timeout(240)
def test_every_panel_shows_something_of_one_process(tmp_path: Path, notes: Path) -> None:
    rules = [RULES / "recording.yml", RULES / "alerts.yml"]
    for number in range(4):
        (notes / f"{number}.md").write_text(f"# Note {number}\n\nWords of note {number}.\n")
    with running(tmp_path / "data", notes) as program:
        port = int(program.listening().rsplit(":", 1)[1])
        try:
            with prometheus.serving(tmp_path, {"": port}, rules) as monitor:
                until(lambda: monitor.query("up == 1"), "it is scraped")
                for number in range(2):
                    (notes / f"{number}.md").unlink()
                    (notes / f"{number + 2}.md").write_text(f"# Note\n\nNow {number}.\n")
                    counted = f"{DELETED} == {number + 1}"
                    until(partial(monitor.query, counted), "the deletion is counted")
                    program.search("words")
                assert program.command("audit").returncode == 0
                until(lambda: without_data(monitor) == OF_ROLES, "every panel shows something")
        except NotInstalled as fault:
            missing(fault)
