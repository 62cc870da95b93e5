"""The canary on the real path: it sings unseen, tells what is broken, and sings again."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.canaries import CanaryState
from ingestion.ledger.ledger import Ledger
from ops.opening import DATA_FILE
from tests.acceptance.program import Program
from tests.acceptance.roles import BULK, FRESH, SCHEDULE, WATCH, Deployment, RoleProcess, until
from tests.servers.redis import Redis
from workers.perches import ANCHOR, DOCUMENT

OWN = "_canary-files"


def last_round(program: Program) -> dict[str, str] | None:
    rounds: list[dict[str, str]] = program.status()["canaries"]
    return rounds[0] if rounds else None


def sings(program: Program, after: str = "") -> str:
    """Wait for a round that succeeded after that time; returns when it ended."""

    def sang() -> bool:
        last = last_round(program)
        return last is not None and last["failed"] is None and last["at"] > after

    program.until(sang, what="the canary sings")
    last = last_round(program)
    assert last is not None
    return last["at"]


def test_it_sings_unseen_survives_a_kill_and_tells_when_it_cannot(tmp_path: Path, notes: Path) -> None:
    (notes / "leave.md").write_text("# Leave\n\nThe canary is no answer to twenty-seven days.\n")
    folder = tmp_path / "data" / "canary" / "files"
    with Program(tmp_path / "data", notes) as program:
        program.environment["HEADWATER_CANARY__EVERY_S"] = "0.5"
        program.start().ready()
        at = sings(program, after=sings(program))
        assert {hit["source"] for hit in program.search("Canary: its word now")} == {"notes"}
        assert program.search("anchor stays", sources=[OWN])[0]["uri"] == ANCHOR
        assert {one["uri"] for one in program.documents().values()} == {"leave.md"}
        assert [one["name"] for one in program.get("/v1/sources").json()["sources"]] == ["notes"]
        assert {line["source"] for line in program.export()} == {"notes"}
        assert program.status()["chunks"] == 1
        assert program.metric("headwater_canary_seconds_count", step="delete") >= 2
        assert program.metric("headwater_canary_success", kind="files") == 1
        assert program.metric("headwater_canary_failures_total") == 0
        assert program.metric("headwater_outcomes_total") == 1
        assert OWN not in program.said()

        program.until(lambda: (folder / DOCUMENT).exists(), what="a round is under way")
        program.kill()
        program.start().ready()
        at = sings(program, after=at)

        # In the place of its folder there is a file.
        set_aside(folder)
        program.until(lambda: (last_round(program) or {})["failed"] == "write", what="the write fails")
        assert "the canary of files fails at its" in program.said()
        assert program.command("doctor").returncode == 1
        folder.unlink()
        sings(program, after=at)
        assert sorted(one.name for one in folder.iterdir()) in ([ANCHOR], [ANCHOR, DOCUMENT])
        assert program.source()["verdict"] in ("current", "idle")

        program.stop()
        program.environment["HEADWATER_CANARY__EVERY_S"] = "0"
        program.start().ready()
        assert program.status()["canaries"] == []
        assert program.search("canary anchor", top_k=5)[0]["source"] == "notes"


def set_aside(folder: Path) -> None:
    """A round may be making files there."""
    aside = folder.with_name("aside")
    for _ in range(100):
        with contextlib.suppress(OSError):
            if folder.is_dir():
                folder.rename(aside)
            folder.write_text("in the way")
            return
        threading.Event().wait(0.01)
        with contextlib.suppress(OSError):
            for one in aside.iterdir():
                one.unlink()
            aside.rmdir()
    raise AssertionError("the folder could not be set aside")


class Told:
    """What the ledger says of the canary of a deployment."""

    def __init__(self, database: Database) -> None:
        self._ledger = Ledger(database, SystemClock())

    def last(self) -> CanaryState | None:
        rounds = self._ledger.canaries.latest()
        return rounds[0] if rounds else None

    def sings(self) -> None:
        """Wait for a round that begins from now on and succeeds."""
        now = self._ledger.now()
        until(
            lambda: (last := self.last()) is not None and not last.failed and last.finished_at > now + 0.5,
            "the canary sings",
        )

    def fails(self, detail: str) -> None:
        until(
            lambda: (last := self.last()) is not None and last.failed is not None and detail in last.detail,
            f"the canary tells that {detail}",
        )


@contextlib.contextmanager
def stopped(data_file: Path, *roles: RoleProcess) -> Iterator[None]:
    """They answer nothing, and have not ended. One that holds SQLite's lock would stop all others too."""

    def tell(number: signal.Signals) -> None:
        for role in roles:
            role.process.send_signal(number)

    def stop() -> bool:
        tell(signal.SIGSTOP)
        if is_writable(data_file):
            return True
        tell(signal.SIGCONT)
        return False

    try:
        until(stop, "they stop, and nobody with them")
        yield
    finally:
        tell(signal.SIGCONT)


def is_writable(data_file: Path) -> bool:
    with contextlib.closing(sqlite3.connect(data_file, timeout=0.5)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
        return True


@pytest.mark.timeout(300)
def test_of_processes_it_tells_which_has_stopped(redis: Redis, tmp_path: Path, notes: Path) -> None:
    settings = {"FOLDER": str(tmp_path / "shared"), "EVERY_S": "2", "WITHIN_S": "3"}
    canary = {f"CANARY__{name}": value for name, value in settings.items()}
    with Deployment(tmp_path, notes, redis.url, **canary) as run:
        watch, fresh, bulk, *schedules = run.start(WATCH, FRESH, BULK, SCHEDULE, SCHEDULE)
        watch.says("1 source")
        data_file = tmp_path / "data" / DATA_FILE
        database = Database.file(data_file)
        try:
            told = Told(database)
            told.sings()
            with stopped(data_file, watch):
                told.fails("no watcher has seen it")
            told.sings()
            with stopped(data_file, fresh, bulk):
                told.fails("no worker has published it")
            told.sings()
            schedules[0].end()
            told.sings()
        finally:
            database.close()
        said = run.said()
        assert said.count("no watcher has seen it") == 1, "once for each outage, by one of the schedulers"
