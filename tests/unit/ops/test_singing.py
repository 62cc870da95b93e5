"""The canary on its schedule: whose round it is, what is kept and told of it, and how patient it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from ingestion.errors import Interrupted
from ingestion.ledger.sources import SourceRow
from ingestion.own import canary_of
from ops.exporter import Metrics
from ops.singing import FIRST_WITHIN_S, LOOK_EVERY_S, Singer
from retrieval.index.memory import MemoryIndex
from retrieval.search import Searcher
from tests.bench._common import total
from tests.unit.ops.books import Books
from workers.canary import Round
from workers.perches import FilesPerch

EVERY_S, WITHIN_S = 30.0, 20.0
SANG = Round({"write": 0.3, "edit": 0.2, "delete": 0.1})


class Stage:
    """Singers on one ledger, whose rounds go as they are told to."""

    def __init__(self, books: Books) -> None:
        books.ledger.sources.add([SourceRow(canary_of("files"), "files", "/canary")])
        self.books = books
        self.metrics = Metrics(books.ledger, books.clock, version="1", states=False)
        self.within_s: list[float] = []
        self.goes: Callable[[], Round] = lambda: SANG
        self.meanwhile: Callable[[], object] = lambda: None

    def singer(self) -> Singer:
        ledger, clock = self.books.ledger, self.books.clock
        searcher = Searcher(ledger, MemoryIndex(), lambda *_: None, clock, on_demand=lambda _: None)
        perch = FilesPerch.__new__(FilesPerch)  # nothing is written
        one = Singer(perch, ledger, searcher, clock, self.metrics, every_s=EVERY_S, within_s=WITHIN_S)
        one._canary.sing = self._sing  # type: ignore[method-assign]
        return one

    def counted(self, name: str) -> float:
        return total(self.metrics.rendered()[0].decode(), name)

    def _sing(self, within_s: float, keep: Callable[[], None]) -> Round:
        self.within_s.append(within_s)
        keep()
        self.meanwhile()
        keep()
        return self.goes()


@pytest.fixture
def stage(books: Books) -> Iterator[Stage]:
    yield Stage(books)


def test_two_singers_take_one_round_at_a_time(stage: Stage) -> None:
    first, second = stage.singer(), stage.singer()
    assert first.turn() == EVERY_S
    assert second.turn() == LOOK_EVERY_S
    stage.books.clock.at += EVERY_S
    assert second.turn() == EVERY_S
    assert len(stage.within_s) == 2
    assert stage.counted("headwater_canary_seconds_count") == 6
    assert stage.counted("headwater_canary_seconds_sum") == pytest.approx(1.2)


def test_the_first_round_is_patient_and_the_others_are_not(stage: Stage) -> None:
    singer = stage.singer()
    for _ in range(3):
        singer.turn()
        stage.books.clock.at += EVERY_S
    assert stage.within_s == [FIRST_WITHIN_S, WITHIN_S, WITHIN_S]


def test_who_joins_those_that_sing_is_as_impatient(stage: Stage) -> None:
    stage.singer().turn()
    stage.books.clock.at += EVERY_S
    stage.singer().turn()
    stage.goes = lambda: Round({}, "write", "no watcher has seen it")
    stage.books.clock.at += EVERY_S
    stage.singer().turn()
    stage.books.clock.at += EVERY_S
    stage.singer().turn()
    stage.goes = lambda: SANG
    stage.books.clock.at += EVERY_S
    stage.singer().turn()
    stage.books.clock.at += 3600.0
    stage.singer().turn()
    patient = FIRST_WITHIN_S
    assert stage.within_s == [patient, WITHIN_S, WITHIN_S, patient, patient, patient]


def test_an_outage_is_told_once_and_so_is_its_end(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    singer = stage.singer()
    failed = Round({}, "write", "no watcher has seen it")
    with caplog.at_level(logging.INFO):
        for went in (SANG, failed, failed, SANG, SANG):
            stage.goes = lambda: went  # noqa: B023
            singer.turn()
            stage.books.clock.at += EVERY_S
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "the canary of files fails at its write: no watcher has seen it"),
        ("INFO", "the canary of files sings again"),
    ]
    assert stage.counted('headwater_canary_failures_total{kind="files",step="write"}') == 2
    assert stage.counted("headwater_canary_failures_total") == 2


def test_a_round_that_is_broken_off_tells_nothing_and_is_free_for_others(stage: Stage) -> None:
    def interrupted() -> Round:
        raise Interrupted("It is being stopped.")

    stage.goes = interrupted
    with pytest.raises(Interrupted):
        stage.singer().turn()
    assert stage.books.ledger.canaries.latest() == []
    stage.goes = lambda: SANG
    stage.books.clock.at += EVERY_S
    assert stage.singer().turn() == EVERY_S


def test_a_singer_that_was_away_for_too_long_leaves_the_round_to_another(stage: Stage) -> None:
    def other_begins() -> None:
        stage.books.clock.at += 1000.0
        number = stage.books.ledger.canaries.begin("files", every_s=EVERY_S, lease_s=60.0)
        assert number is not None

    stage.meanwhile = other_begins
    assert stage.singer().turn() == LOOK_EVERY_S
    assert stage.counted("headwater_canary_seconds_count") == 0
    assert stage.books.ledger.canaries.latest() == []
    assert stage.singer().turn() == LOOK_EVERY_S, "the other's goes on"
