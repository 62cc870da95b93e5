"""Several processes with the same schedules, and one source that each could look at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.turns import TURN_S
from ops.listing import Lister
from ops.schedules import Every
from ops.turns import InTurn
from tests.acceptance.roles import until
from tests.rig import ShiftedClock

NAME = "wiki"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.file(tmp_path / "ledger.db")
    yield made
    made.close()


class Process:
    """One that lists a source, as slowly as it is told."""

    def __init__(self, database: Database, clock: ShiftedClock, log: list[str], name: str) -> None:
        self.ledger = Ledger(database, clock)
        self.may_end = threading.Event()
        self.may_end.set()
        self._log, self._name = log, name
        self._turn = InTurn(self.ledger, [NAME])
        self._lister = Lister(
            self._list,
            clock,
            schedules={NAME: Every(100.0)},
            note=self.ledger.sources.set_looks,
            turn=self._turn,
            looked=self._turn.looked,
        )
        self._turn.start()
        self._lister.start()
        self.ask = self._lister.ask

    def _list(self, name: str) -> None:
        self._log.append(f"{self._name} begins")
        self.may_end.wait(60)
        self._log.append(f"{self._name} ends")

    def close(self) -> None:
        self.may_end.set()
        self._lister.stop()
        self._turn.close()


MakeProcess = Callable[[str], Process]


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def start(
    database: Database, clock: ShiftedClock, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeProcess]:
    monkeypatch.setattr("ops.turns.AGAIN_S", 0.02)
    monkeypatch.setattr("ops.listing.LOOK_AT_CLOCK_S", 0.02)
    made: list[Process] = []

    def start(name: str) -> Process:
        made.append(Process(database, clock, log, name))
        made[-1].ledger.sources.add([SourceRow(NAME, "web", "https://h/")])
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_one_after_the_other(start: MakeProcess, log: list[str]) -> None:
    a, b = start("a"), start("b")
    a.may_end.clear()
    a.ask(NAME)
    until(lambda: log == ["a begins"], what="it is listed")
    b.ask(NAME)
    assert not b.ledger.turns.take(NAME)
    a.may_end.set()
    until(lambda: len(log) == 4, what="it is listed by both")
    assert log == ["a begins", "a ends", "b begins", "b ends"]


def test_by_their_schedule_one_of_them_looks(start: MakeProcess, log: list[str], clock: ShiftedClock) -> None:
    processes = [start("a"), start("b"), start("c")]
    for number in range(1, 4):
        clock.shift_s += 106.0
        until(lambda number=number: len(log) == 2 * number, what="it is listed")  # type: ignore[misc]
    assert processes[0].ledger.sources.state(NAME) is not None
    begun = [line.partition(" ")[0] for line in log]
    assert begun[0::2] == begun[1::2]


def test_what_was_being_looked_at_by_whoever_dies_is_looked_at(
    start: MakeProcess, database: Database, log: list[str], clock: ShiftedClock
) -> None:
    start("a")
    dead = Ledger(database, clock)
    clock.shift_s += 90.0
    assert dead.turns.take(NAME)
    began = clock.now()
    dead.sources.set_looks(NAME, began, began)  # as a listing that begins
    assert log == []
    clock.shift_s += TURN_S + 1
    until(lambda: len(log) == 2, what="it is listed by another")


def test_whoever_dies_is_followed(database: Database, clock: ShiftedClock) -> None:
    dead, other = Ledger(database, clock), Ledger(database, clock)
    assert dead.turns.take(NAME)
    assert dead.turns.take(NAME)
    assert not other.turns.take(NAME)
    other.turns.end([NAME])
    assert not other.turns.take(NAME), "another's turn is not for it to end"
    clock.shift_s += TURN_S + 1
    assert other.turns.take(NAME)
    assert not dead.turns.take(NAME)
    clock.shift_s -= 10 * TURN_S
    assert dead.turns.take(NAME), "a clock that was set back holds nobody up"
