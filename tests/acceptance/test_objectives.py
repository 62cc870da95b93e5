"""Whether a source is current, as a user and a monitor are told: by one daemon, and by roles of which one is
stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.program import running
from tests.acceptance.roles import EVERYTHING, Deployment, until
from tests.servers.redis import Redis


def test_a_daemon_tells_what_it_kept(notes: Path) -> None:
    (notes / "leave.md").write_text("# Leave\n\ntwenty-seven days\n")
    (notes / "pay.md").write_text("# Pay\n\non the last day\n")
    with running(notes.parent / "data", notes) as program:
        program.settles(notes)

        def finished(kind: str) -> float:
            return program.metric("headwater_objective_changes_total", kind=kind, met="true")

        assert finished("change") == 0  # a first index is none
        (notes / "leave.md").write_text("# Leave\n\nthirty days\n")
        program.until(lambda: finished("change") == 1, what="the edit is counted")
        (notes / "pay.md").unlink()
        program.until(lambda: finished("deletion") == 1, what="the deletion is counted")
        # The states may be some seconds old.
        program.until(lambda: program.metric("headwater_verdict", verdict="current") == 1, what="a verdict")
        assert program.metric("headwater_deletion_seconds_count", stage="total") == 1
        assert program.metric("headwater_error_budget_left_ratio") == 1
        assert program.metric("headwater_last_event_timestamp_seconds") > 0
        source = program.source()
        assert source["last_hour"]["changes"]["number"] == 1
        assert source["last_hour"]["deletions"]["number"] == 1
        assert 0 < source["last_hour"]["changes"]["p50_s"] < 60
        assert (source["verdict"], source["reason"]) == ("current", "Every change is searchable.")
        done = program.command("check", "--max-lag", "60s")
        assert (done.returncode, done.stdout) == (0, "notes  current   Every change is searchable.\n")


@pytest.mark.timeout(500)
def test_a_worker_that_is_missing_is_told_from_its_backlog(redis: Redis, tmp_path: Path, notes: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    promised = [{"root": str(notes), "scan_every_s": 3600, "objective": {"within_s": 2}}]
    with Deployment(place, notes, redis.url, SOURCES=json.dumps(promised)) as deployment:
        deployment.write("leave.md", "twenty-seven days of holiday")
        _, fresh, *_ = deployment.start(*EVERYTHING)
        deployment.shows("twenty-seven days")
        deployment.settled()

        def check(*words: str) -> tuple[int, str]:
            done = deployment.run("ops.cli", "check", *words)
            return done.returncode, done.stdout

        until(lambda: check()[0] == 0, "the source is current")
        assert fresh.end() == 0
        deployment.write("leave.md", "thirty days of holiday")
        until(lambda: check()[0] == 1, "the change is late")
        code, said = check()
        assert code == 1
        assert said.startswith("notes  starved   No worker takes 1 document in the fresh lane")
        assert check("--max-lag", "1h")[0] == 0
        deployment.start(("worker", "--lane", "fresh"))
        deployment.shows("thirty days")
        until(lambda: check()[0] == 0, "it is current again")
        assert deployment.status()["sources"][0]["error_budget_left"] < 0  # the one change was late
