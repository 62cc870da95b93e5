"""What the program writes where no terminal is: lines that a collector of logs can read, each of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.program import Program
from tests.acceptance.roles import BULK, FRESH, SCHEDULE, WATCH, Deployment, RoleProcess, until
from tests.servers.redis import IN_URL, PASSWORD, Redis

STAGES = ("detect_s", "queue_s", "process_s", "publish_s", "total_s")
HOSTILE = 'x\n{"level": "error"}\x1b[2J\u202e.md'


def entries(text: str) -> list[dict[str, Any]]:
    assert text.isascii()
    return [json.loads(line) for line in text.splitlines()]


def transitions(text: str, **fields: object) -> list[dict[str, Any]]:
    """Those of which these fields are so; a line that is being written is left for later."""
    complete = text[: text.rfind("\n") + 1]
    return [one for one in entries(complete) if all(one.get(name) == fields[name] for name in fields)]


def test_a_daemon_writes_nothing_but_json(tmp_path: Path, notes: Path) -> None:
    (notes / HOSTILE).write_text("# Hostile\n\nwords of a document\n")
    (notes / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\0")
    with Program(tmp_path / "data", notes) as program:
        del program.environment["HEADWATER_DAEMON__LOG_FORMAT"]
        program.start()
        program.until(lambda: transitions(program.said(), result="published", uri=HOSTILE), what="it is told")
        program.until(lambda: transitions(program.said(), result="skipped"), what="the picture is told")
        program.stop()
        first, *_ = transitions(program.said(), result="published")
        assert (first["role"], first["lane"], first["source"]) == ("daemon", "bulk", "notes")
        assert all(first[stage] >= 0 for stage in STAGES)
        (skipped,) = transitions(program.said(), result="skipped")
        assert (skipped["uri"], skipped["detail"]) == ("image.png", "binary: a PNG image")
        assert entries(program.said())[-1]["message"].startswith("stopped; nothing is lost")
        assert "words of a document" not in program.said()


@pytest.mark.timeout(500)
def test_every_role_writes_nothing_but_json(redis: Redis, tmp_path: Path, notes: Path) -> None:
    with Deployment(tmp_path, notes, redis.url, DAEMON__LOG_FORMAT="auto") as deployment:
        deployment.write("leave.md", "twenty-seven days of holiday")
        deployment.write("pay.md", "paid on the last day of each month")
        watch, fresh, bulk, schedule = deployment.start(WATCH, FRESH, BULK, SCHEDULE)
        until(lambda: len(transitions(bulk.said(), result="published")) == 2, "the bulk lane tells")
        deployment.write("leave.md", "thirty days of holiday")
        until(lambda: transitions(fresh.said(), result="published"), "the fresh lane tells")
        (notes / "leave.md").unlink()
        until(lambda: transitions(watch.said(), result="retired"), "the watcher tells")
        (published,) = transitions(fresh.said(), result="published")
        assert published["generation"] > transitions(bulk.said(), result="published")[0]["generation"]
        assert all(stage in published for stage in STAGES)
        roles = {role: _role(role) for role in (watch, fresh, bulk, schedule)}
        assert list(roles.values()) == ["watcher", "worker-fresh", "worker-bulk", "scheduler"]
        for role in roles:
            assert role.end() == 0
            assert entries(role.said())
        assert PASSWORD not in deployment.said()
        assert IN_URL not in deployment.said()


def _role(process: RoleProcess) -> str:
    (role,) = {one["role"] for one in entries(process.said())}
    return str(role)


@pytest.mark.skipif(os.name != "posix", reason="names of this kind are POSIX's")
def test_text_is_there_for_who_asks(tmp_path: Path, notes: Path) -> None:
    with Program(tmp_path / "data", notes) as program:
        program.environment["HEADWATER_DAEMON__LOG_FORMAT"] = "text"
        program.start().listening()
        assert program.said().startswith("Headwater ")
