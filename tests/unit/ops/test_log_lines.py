"""What of the log reaches the lines of a process."""

from __future__ import annotations

import logging

import pytest

from ops.printing import Printing
from ops.progress import PlainMeter
from ops.running import SELDOM_S, LogLines
from tests.unit.ops.books import START, SetClock


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def handler(lines: list[str]) -> LogLines:
    clock = SetClock()
    return LogLines(Printing(PlainMeter(lines.append, clock.monotonic), clock))


def record(name: str, words: str, at: float = START, *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "", 0, words, arguments, None)
    made.created = at
    return made


def test_every_line_of_a_record_is_safe_and_shows_no_secret(handler: LogLines, lines: list[str]) -> None:
    handler.handle(record("headwater.x", "no answer\x1b of redis://u:p@h/0\nnor of anybody"))
    assert lines == ["WARNING headwater.x: no answer\\x1b of redis://***@h/0", "nor of anybody"]


def test_a_collector_that_is_away_is_told_of_seldom(handler: LogLines, lines: list[str]) -> None:
    for second in range(20):
        handler.handle(record("opentelemetry.exporter", "not sent, %s", START + second, second))
        handler.handle(record("headwater.x", "said each time", START + second))
    handler.handle(record("opentelemetry.exporter", "given up", START + 20))
    handler.handle(record("opentelemetry.exporter", "not sent, %s", START + SELDOM_S + 1, "again"))
    told = [line for line in lines if "opentelemetry" in line]
    assert [line.rsplit(": ", 1)[1] for line in told] == ["not sent, 0", "given up", "not sent, again"]
    assert len(lines) == 20 + 3
