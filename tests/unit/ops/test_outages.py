"""One alert for each outage of a dependency, and a line when it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from ingestion.errors import (
    EditionMissing,
    EmbedderUnavailable,
    IndexUnavailable,
    LedgerUnavailable,
    SourceUnavailable,
)
from ops.outages import QUIET_S, Outages
from ops.roles.process import RoleLines
from tests.unit.ops.books import SetClock

AWAY = LedgerUnavailable("The server cannot be reached.")
AGAIN = LedgerUnavailable("The server is starting.")
OVER = "INFO headwater.outages: the ledger can be used again"


class Told:
    """What a role writes, and what its dependencies lack."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.lines: list[str] = []
        self.missing: dict[str, str] = {}
        self.outages = Outages(self.clock)
        self.outages.look_at(lambda: self.missing)
        self.lines_of_role = RoleLines(self.lines.append, self.outages)
        self.log = logging.getLogger("headwater.told")

    def after(self, seconds: float) -> list[str]:
        """What is written by what looks then."""
        before = len(self.lines)
        self.clock.at += seconds
        self.outages.look()
        return self.lines[before:]


@pytest.fixture
def told() -> Iterator[Told]:
    one, root, ours = Told(), logging.getLogger(), logging.getLogger("headwater")
    level = ours.level
    ours.setLevel(logging.INFO)
    root.addHandler(one.lines_of_role)
    yield one
    root.removeHandler(one.lines_of_role)
    ours.setLevel(level)


def test_whoever_meets_an_outage_it_is_told_once_and_once_that_it_is_over(told: Told) -> None:
    told.log.warning("the watcher waits: %s", AWAY)
    told.log.warning("%s could not be listed: %s", "notes", AGAIN)
    told.log.warning("the metrics cannot be read: %s", AWAY)
    assert told.after(QUIET_S - 1) == []
    assert told.after(1) == [OVER]
    assert told.after(QUIET_S) == []
    assert told.lines == ["WARNING headwater.told: the watcher waits: The server cannot be reached.", OVER]
    told.log.warning("the watcher waits: %s", AWAY)
    assert len(told.lines) == 3


def test_it_is_not_over_while_it_does_not_answer(told: Told) -> None:
    told.log.warning("%s", AWAY)
    told.missing["ledger"] = "it does not answer"
    assert told.after(QUIET_S) == []
    told.missing.clear()
    assert told.after(QUIET_S - 1) == []
    assert told.after(1) == [OVER]


def test_what_comes_and_goes_is_one_outage(told: Told) -> None:
    for _ in range(5):
        told.log.warning("%s", AWAY)
        told.after(QUIET_S / 2)
    assert len(told.lines) == 1


def test_each_dependency_has_its_own(told: Told) -> None:
    told.log.warning("%s", AWAY)
    told.log.warning("%s", IndexUnavailable("It is away."))
    told.log.warning("%s", EditionMissing("It is lost."))
    told.log.warning("%s", EmbedderUnavailable("It is slow."))
    assert len(told.lines) == 3
    assert len(told.after(QUIET_S)) == 3


def test_what_is_no_outage_is_always_told(told: Told) -> None:
    for _ in range(2):
        told.log.warning("%s", SourceUnavailable("It is not mounted."))
        told.log.warning("nothing of the kind")
        told.log.info("an edit was not followed: %s", AWAY)
    assert len(told.lines) == 6
    assert told.outages.begins(AWAY) is True
    assert told.outages.begins(None) is None


def test_what_libraries_say_of_what_ours_tell_is_not_told(told: Told) -> None:
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed")
    logging.getLogger("psycopg").warning("error ignored terminating <psycopg.Pipeline>")
    logging.getLogger("ingestion.sources.inotify").warning("More changes than the queue holds")
    assert told.lines == ["WARNING ingestion.sources.inotify: More changes than the queue holds"]
