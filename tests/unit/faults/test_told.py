"""The judge of logs finds what is told twice, what is never told to be over, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.told import Told

AWAY = "WARNING headwater.watcher: folder: The server of the PostgreSQL database x cannot be reached."
STARTING = "WARNING headwater.listing: folder: The server of the PostgreSQL database x is starting."
LEDGER_OVER = "INFO headwater.outages: the ledger can be used again"
NO_BROKER = "WARNING headwater.broker: The broker redis://x does not answer."
BROKER_OVER = "INFO headwater.broker: the broker answers again"
NO_INDEX = "folder  waiting  Weaviate at x cannot be reached."
LOST = "WARNING headwater.upkeep: 11 documents were given up by a worker that fell silent"


class Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.told = Told(path)
        self.told.process_begins()

    def writes(self, *lines: str) -> None:
        with self.path.open("a") as log:
            log.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "watch.log")


def test_one_alert_for_each_cause_and_its_end_is_right(log: Log) -> None:
    log.writes("folder/a.md  new  1 of 1 chunk embedded", AWAY, NO_BROKER, BROKER_OVER, NO_INDEX)
    assert log.told.still_open() == {"ledger", "index"}
    log.writes(LEDGER_OVER, "INFO headwater.outages: the index can be used again")
    log.told.injury_begins()
    log.writes(STARTING, LEDGER_OVER, LOST)
    assert list(log.told.wrong()) == []
    assert log.told.still_open() == set()


def test_an_alert_in_other_words_is_the_same_one(log: Log) -> None:
    log.writes(AWAY, STARTING)
    assert len(list(log.told.wrong())) == 1


def test_one_that_comes_and_goes_within_an_injury_is_told_twice(log: Log) -> None:
    log.writes(AWAY, LEDGER_OVER, AWAY, LEDGER_OVER)
    assert len(list(log.told.wrong())) == 1


def test_one_that_was_not_over_is_not_told_again_at_the_next_injury(log: Log) -> None:
    log.writes(AWAY)
    log.told.injury_begins()
    log.writes(AWAY)
    assert len(list(log.told.wrong())) == 1


def test_a_process_that_was_killed_left_nothing_open(log: Log) -> None:
    log.writes(AWAY)
    log.told.process_begins()
    assert log.told.still_open() == set()
    log.writes("WARNING headwater.roles: waiting: The server of the PostgreSQL database x is starting.")
    log.writes("INFO headwater.roles: goes on, after 3.1 s")
    assert list(log.told.wrong()) == []
    assert log.told.still_open() == set()


@pytest.mark.parametrize("line", ["CRITICAL celery.worker: x", "Traceback (most", "ERROR x"])
def test_what_nobody_foresaw_is_never_right(log: Log, line: str) -> None:
    log.writes(line)
    assert len(list(log.told.wrong())) == 1


def test_an_alert_without_a_known_cause_is_told_once_for_each_injury(log: Log) -> None:
    log.writes(LOST, LOST.replace("11", "12"))
    assert len(list(log.told.wrong())) == 1
