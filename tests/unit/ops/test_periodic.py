"""What a process does every few seconds: again and again, whatever goes wrong, until it is closed."""

from __future__ import annotations

import logging
import threading

import pytest

from ingestion.errors import LedgerUnavailable
from ops.periodic import Periodic

SOON_S = 0.01
DEADLINE_S = 30.0


def looks(periodic: Periodic, done: threading.Event) -> None:
    periodic.start()
    try:
        assert done.wait(DEADLINE_S)
        assert periodic.alive
    finally:
        periodic.close()
    assert not periodic.alive


def test_it_goes_on_after_errors_and_tells_each_kind_once(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [
        LedgerUnavailable("The ledger is away."),
        ValueError("one"),
        ValueError("one"),
        ValueError("another"),
    ]
    done = threading.Event()

    def look() -> None:
        if errors:
            raise errors.pop(0)
        done.set()

    with caplog.at_level(logging.INFO):
        looks(Periodic(look, SOON_S, name="errands", at_once=True), done)
    assert [record.message for record in caplog.records] == [
        "unexpected error in the thread errands, which goes on"
    ] * 2


def test_the_first_look_is_waited_for_unless_at_once() -> None:
    looked = threading.Event()
    periodic = Periodic(looked.set, 1000.0, name="later")
    periodic.start()
    periodic.close()
    assert not looked.is_set()
    looks(Periodic(looked.set, 1000.0, name="now", at_once=True), looked)


def test_it_may_be_closed_before_it_was_started_and_twice() -> None:
    periodic = Periodic(lambda: None, SOON_S, name="never")
    periodic.close()
    periodic.close()
    assert not periodic.alive
