"""Logs for machines: one line of JSON for every transition and record, with nothing in it that could harm."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import Any

import pytest

from ingestion.records import Lane
from ingestion.shown import without_secrets
from ops.outages import Outages
from ops.printing import Printing
from ops.roles.process import RoleLines
from ops.settings import Settings, load
from ops.structured import StructuredPrinting
from ops.telling import printing_for
from ops.tracing import Traces
from tests.unit.ops.books import START, SetClock
from workers.outcomes import Outcome, Result

HOSTILE = 'a"\x1b[31m\r\n{"level": "error"}\u202egpj.\udcff'


class Log:
    """What was written, and the same read again as a reader of logs does: line by line."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.written: list[str] = []
        self.trace_id: str | None = None
        self.printing = StructuredPrinting(
            self.written.append, self.clock, role="worker-fresh", trace_id=lambda: self.trace_id
        )

    def entries(self) -> list[dict[str, Any]]:
        assert all(line.isascii() and line.isprintable() for line in self.written)
        return [json.loads(line) for line in self.written]

    def transition(self, result: Result, **more: Any) -> dict[str, Any] | None:
        """The entry that one outcome adds, if it adds one."""
        before = len(self.written)
        values: dict[str, Any] = {
            "source": "handbook",
            "uri": "leave.md",
            "document_id": 3,
            "generation": 7,
            "lane": Lane.FRESH,
            "finished_at": START + 1.0,
            **more,
        }
        self.printing.outcome(Outcome(result, **values))
        return next(iter(self.entries()[before:]), None)


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_publication_says_all_of_itself_in_one_line(log: Log) -> None:
    entry = log.transition(
        Result.PUBLISHED,
        chunks=14,
        embedded=2,
        reused=1,
        dropped=3,
        changed_at=START,
        observed_at=START + 0.1,
        claimed_at=START + 0.3,
        staged_at=START + 0.9,
    )
    assert entry == {
        "at": "2023-11-14T22:13:20.000Z",
        "level": "info",
        "logger": "headwater.documents",
        "message": "handbook/leave.md published",
        "role": "worker-fresh",
        "result": "published",
        "source": "handbook",
        "uri": "leave.md",
        "document_id": 3,
        "generation": 7,
        "lane": "fresh",
        "new": False,
        "chunks": 14,
        "embedded": 2,
        "reused": 1,
        "dropped": 3,
        "detect_s": pytest.approx(0.1),
        "queue_s": pytest.approx(0.2),
        "process_s": pytest.approx(0.6),
        "publish_s": pytest.approx(0.1),
        "total_s": pytest.approx(1.0),
    }


@pytest.mark.parametrize("result", list(Result))
def test_every_transition_has_a_line_in_the_bulk_lane_too(log: Log, result: Result) -> None:
    entry = log.transition(result, lane=Lane.BULK)
    assert entry is not None
    assert (entry["result"], entry["lane"]) == (result.value, "bulk")


@pytest.mark.parametrize(
    ("result", "level"),
    [
        (Result.DEAD, "error"),
        (Result.FAILED, "warning"),
        (Result.HELD, "warning"),
        (Result.FAULT, "warning"),
        (Result.RETIRED, "info"),
    ],
)
def test_what_waits_for_somebody_is_louder(log: Log, result: Result, level: str) -> None:
    entry = log.transition(result, detail="the reason")
    assert entry is not None
    assert (entry["level"], entry["detail"]) == (level, "the reason")
    assert entry["message"].endswith(f"{result.value}: the reason")


def test_a_fault_is_told_once_until_something_goes_on(log: Log) -> None:
    assert log.transition(Result.FAULT, detail="The index is away.") is not None
    assert log.transition(Result.FAULT, detail="The index is away.", document_id=4) is None
    assert log.transition(Result.PUBLISHED) is not None
    assert log.transition(Result.FAULT, detail="The index is away.") is not None
    assert log.transition(Result.FAILED, detail="no text") is not None
    assert log.transition(Result.FAILED, detail="no text") is None
    assert log.transition(Result.FAILED, detail="no text", document_id=9) is not None


def test_a_hostile_name_is_one_line_of_ascii_and_read_back_as_it_was(log: Log) -> None:
    entry = log.transition(Result.PUBLISHED, uri=HOSTILE)
    assert len(log.written) == 1
    assert entry is not None
    assert entry["uri"] == HOSTILE
    assert entry["level"] == "info"
    assert entry["message"] == ('handbook/a"\\x1b[31m\\r\\n{"level": "error"}\\u202egpj.\\udcff published')


def test_other_lines_and_records_of_the_log_are_entries_too(log: Log) -> None:
    log.printing.line("ready: 3 documents")
    logger = logging.Logger("headwater.test")
    logger.addHandler(RoleLines(log.printing, Outages(log.clock)))
    logger.info("it goes %s", "on\nand on")
    try:
        raise ValueError("of redis://me:hunter2@host/0")
    except ValueError:
        logger.exception("not so: %s", "https://x.example/?api_key=hunter2&a=1")
    said, info, error = log.entries()
    assert (said["message"], said["level"], said["role"]) == ("ready: 3 documents", "info", "worker-fresh")
    assert (info["message"], info["logger"]) == ("it goes on\nand on", "headwater.test")
    assert error["message"] == "not so: https://x.example/?api_key=***&a=1"
    assert error["level"] == "error"
    assert error["traceback"].endswith("ValueError: of redis://***@host/0")
    assert "hunter2" not in "".join(log.written)


def test_no_field_of_a_transition_tells_a_secret(log: Log) -> None:
    entry = log.transition(
        Result.FAULT, uri="a http://ann:hunter2@h", detail="http://bob:hunter2@emb.example does not answer."
    )
    assert entry is not None
    assert entry["detail"] == "http://***@emb.example does not answer."
    assert "hunter2" not in log.written[-1]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("redis://:a%20b@h:6379/0 is away", "redis://***@h:6379/0 is away"),
        ("postgresql://u:p@ss@h/d?sslpassword=x y", "postgresql://***@h/d?sslpassword=*** y"),
        ("https://h/a@b?page=1&token=x#t", "https://h/a@b?page=1&token=***#t"),
        ("write to me@example.com", "write to me@example.com"),
    ],
)
def test_addresses_are_shown_without_secrets(said: str, shown: str) -> None:
    assert without_secrets(said) == shown


def test_the_trace_is_named_where_there_is_one(log: Log) -> None:
    assert "trace_id" not in (log.transition(Result.PUBLISHED) or {})
    log.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    entry = log.transition(Result.PUBLISHED)
    assert entry is not None
    assert entry["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("log_format", "stream", "structured"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("text", io.StringIO(), False),
        ("json", Terminal(), True),
    ],
)
def test_the_form_goes_by_the_terminal_unless_it_is_set(
    log_format: str, stream: io.StringIO, structured: bool
) -> None:
    settings = load(arguments={"daemon.log_format": log_format}, environ={})
    printing = printing_for(settings, SetClock(), Traces(), role="daemon", bar=True, stream=stream)
    assert isinstance(printing, StructuredPrinting) is structured
    printing.line("it says so")
    assert "it says so" in stream.getvalue()
    assert stream.getvalue().startswith("{") is structured


def test_a_reader_that_left_ends_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for stream in (Left(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        printing: Printing = printing_for(Settings(), SetClock(), Traces(), role="daemon")
        printing.line("nobody reads this")


def test_what_is_not_known_is_left_out(log: Log) -> None:
    entry = log.transition(Result.HELD, uri="", document_id=0, generation=0)
    assert entry is not None
    assert entry["message"] == "handbook held"
    assert not {"uri", "document_id", "generation", "detail", "total_s"} & set(entry)
    skipped = log.transition(Result.SKIPPED, document_id=0, generation=0, detail="binary")
    assert skipped is not None
    assert (skipped["uri"], "document_id" in skipped) == ("leave.md", False)


def test_times_are_told_to_the_millisecond(log: Log) -> None:
    for at in (1_700_000_000.9996, 1_700_000_001.0004, 1_700_000_000.123):
        log.clock.at = at
        log.printing.line("it is late")
    assert [one["at"] for one in log.entries()] == [
        "2023-11-14T22:13:21.000Z",
        "2023-11-14T22:13:21.000Z",
        "2023-11-14T22:13:20.123Z",
    ]


def test_what_keeps_spans_from_being_sent_is_the_first_line() -> None:
    stream = io.StringIO()
    printing_for(Settings(), SetClock(), Traces(fault="it is not installed"), role="daemon", stream=stream)
    assert json.loads(stream.getvalue())["message"] == "it is not installed"
