"""What may take long, or for ever, keeps nothing from being sent: on either broker, with its workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from uuid import uuid4

import pytest

from ingestion.records import Lane
from ops.in_process import UPKEEP_THREADS, InProcess
from tests.knowledge import eventually
from tests.servers.redis import Redis
from workers.app import IN_PROCESS

DEADLINE_S = 60.0


class Stuck:
    """Implements ``workers.app.Work``: nothing of the upkeep ends before it is let go."""

    def __init__(self) -> None:
        self.sent = 0
        self.stuck = 0
        self.let_go = threading.Event()

    def refresh(self, document_ids: Sequence[int], lane: Lane, edition_id: int | None = None) -> None:
        raise AssertionError("nobody asked for it")

    def send_due(self) -> None:
        self.sent += 1

    def advance(self) -> None:
        self.stuck += 1
        self.let_go.wait()

    sweep = trim = audit = advance

    def list_source(self, name: str) -> None:
        self.advance()


@pytest.fixture
def work() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.let_go.set()


@pytest.mark.parametrize("broker", ["in memory", "Redis"])
def test_the_upkeep_keeps_the_dispatcher_from_nothing(
    work: Stuck, broker: str, request: pytest.FixtureRequest
) -> None:
    url = IN_PROCESS
    if broker == "Redis":
        redis: Redis = request.getfixturevalue("redis")
        url = redis.url
    running = InProcess(work, bulk_threads=1, broker=url, prefix=f"test-{uuid4().hex}")
    running.start()
    try:
        for task in ("sweep", "trim", "audit", "advance") * 2:
            running._sender.send_task(f"headwater.{task}")
        running.list_source("notes")
        eventually(lambda: work.stuck >= UPKEEP_THREADS, deadline_s=DEADLINE_S)
        before = work.sent
        eventually(lambda: work.sent > before + 1, deadline_s=DEADLINE_S)
    finally:
        work.let_go.set()
        running.stop()
