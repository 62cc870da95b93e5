"""What ``headwater up`` says of every outcome, and when it says nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ingestion.errors import IndexUnavailable
from ingestion.records import Lane
from ops.printing import Printing
from ops.progress import BarMeter, Meter, Pace, PlainMeter, meter_for
from tests.unit.ops.books import START, SetClock
from workers.outcomes import Outcome, Result


class Lines:
    """A printing whose lines are kept."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.lines: list[str] = []
        self.printing = Printing(PlainMeter(self.lines.append, self.clock.monotonic), self.clock)

    def say(self, result: Result, **more: Any) -> list[str]:
        """The lines that one outcome adds."""
        before = len(self.lines)
        values: dict[str, Any] = {
            "source": "handbook",
            "uri": "leave.md",
            "document_id": 1,
            "generation": 7,
            "lane": Lane.FRESH,
            "finished_at": START + 0.184,
            **more,
        }
        self.printing.outcome(Outcome(result, **values))
        return self.lines[before:]


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_an_edit_says_what_it_cost_and_how_long_it_took(lines: Lines) -> None:
    said = lines.say(Result.PUBLISHED, chunks=14, embedded=2, changed_at=START)
    assert said == ["handbook/leave.md  edited  2 of 14 chunks embedded  searchable after 0.18 s"]


@pytest.mark.parametrize(
    ("result", "more", "said"),
    [
        (
            Result.PUBLISHED,
            {"new": True, "chunks": 1, "embedded": 1, "changed_at": START},
            "handbook/leave.md  new  1 of 1 chunk embedded  searchable after 0.18 s",
        ),
        (
            Result.PUBLISHED,
            {"chunks": 0, "changed_at": START},
            "handbook/leave.md  edited  no text in it  searchable after 0.18 s",
        ),
        (
            Result.RENAMED,
            {"detail": "was old.md", "changed_at": START},
            "handbook/leave.md  renamed, was old.md  nothing embedded  searchable after 0.18 s",
        ),
        (
            Result.RETIRED,
            {"detail": "No such file or directory", "changed_at": START},
            "handbook/leave.md  deleted  no longer served after 0.18 s",
        ),
        (Result.SKIPPED, {"detail": "binary"}, "handbook/leave.md  skipped  binary"),
        (
            Result.HELD,
            {"uri": "", "detail": "12 documents are not there. Run: headwater approve handbook"},
            "handbook  held  12 documents are not there. Run: headwater approve handbook",
        ),
        (
            Result.FAILED,
            {"detail": "handbook/leave.md (generation 7): It cannot be read."},
            "handbook/leave.md  failed, will be tried again  (generation 7): It cannot be read.",
        ),
        (
            Result.DEAD,
            {"detail": "It cannot be read."},
            "handbook/leave.md  dead letter  It cannot be read.  Then: headwater dead replay",
        ),
        (Result.FAULT, {"detail": "The disk is full."}, "handbook  waiting  The disk is full."),
        (Result.DEFERRED, {"detail": "much to embed"}, "handbook/leave.md  deferred  much to embed"),
    ],
)
def test_every_outcome_has_its_line(lines: Lines, result: Result, more: dict[str, Any], said: str) -> None:
    assert lines.say(result, **more) == [said]


def test_content_that_turned_out_the_same_is_not_told(lines: Lines) -> None:
    assert lines.say(Result.UNCHANGED, chunks=3) == []


def test_names_cannot_write_on_the_terminal(lines: Lines) -> None:
    said = lines.say(Result.SKIPPED, uri="a\n\x1b[2Jb", detail="bad\x07")
    assert said == ["handbook/a\\n\\x1b[2Jb  skipped  bad\\x07"]


def test_a_fault_is_told_once_until_work_goes_on(lines: Lines) -> None:
    assert lines.say(Result.FAULT, detail="The disk is full.")
    assert lines.say(Result.FAULT, detail="The disk is full.", uri="other.md", document_id=2) == []
    assert lines.say(Result.FAULT, detail="The model is away.")
    lines.say(Result.PUBLISHED, chunks=1)
    assert lines.say(Result.FAULT, detail="The disk is full.")


def test_a_fault_that_others_have_told_of_is_not_told_again(lines: Lines) -> None:
    known: list[object] = []

    def begins(fault: object) -> bool | None:
        known.append(fault)
        return None if fault is None else len(known) == 1

    printing = Printing(PlainMeter(lines.lines.append, lines.clock.monotonic), lines.clock, begins=begins)
    lines.printing = printing
    away = IndexUnavailable("The index is away.")
    assert lines.say(Result.FAULT, detail="The index is away.", fault=away)
    assert lines.say(Result.FAULT, detail="In other words, it is away.", fault=away) == []
    assert lines.say(Result.FAULT, detail="It kept changing.")
    assert lines.say(Result.FAULT, detail="It kept changing.") == []


def test_the_same_failure_of_a_document_is_told_once(lines: Lines) -> None:
    assert lines.say(Result.FAILED, detail="It cannot be read.")
    assert lines.say(Result.FAILED, detail="It cannot be read.") == []
    assert lines.say(Result.FAILED, detail="It cannot be read.", document_id=2, uri="b.md")
    assert lines.say(Result.FAILED, detail="It cannot be parsed.")
    assert lines.say(Result.DEAD, detail="It cannot be parsed.")


def test_bulk_work_is_summed_up(lines: Lines) -> None:
    lines.printing.backlog(4)
    for number, result in enumerate((Result.PUBLISHED, Result.PUBLISHED, Result.SKIPPED)):
        assert lines.say(result, lane=Lane.BULK, new=True, chunks=5, embedded=4, document_id=number) == []
    assert len(lines.say(Result.DEAD, lane=Lane.BULK, document_id=9, detail="It cannot be read.")) == 1
    lines.clock.at += 12.3
    lines.printing.backlog(0)
    assert lines.lines[-1] == (
        "indexed 4 documents in 12.3 s: 15 chunks, 12 embedded, "
        "1 skipped, 1 dead letter (see: headwater dead)"
    )
    lines.printing.backlog(0)
    assert len(lines.lines) == 2


def test_a_first_index_of_one_batch_took_as_long_as_the_batch(lines: Lines) -> None:
    for number in range(3):
        lines.say(
            Result.PUBLISHED, lane=Lane.BULK, document_id=number, chunks=1, embedded=1, claimed_at=START - 2.0
        )
    lines.printing.backlog(0)
    assert lines.lines == ["indexed 3 documents in 2.18 s: 3 chunks, 3 embedded"]


def test_an_edit_is_told_while_bulk_work_goes_on(lines: Lines) -> None:
    lines.printing.backlog(1000)
    assert lines.say(Result.PUBLISHED, chunks=3, embedded=1, changed_at=START)


def test_a_large_edit_keeps_its_line_in_the_bulk_lane(lines: Lines) -> None:
    lines.say(Result.DEFERRED, detail="much to embed")
    said = lines.say(Result.PUBLISHED, lane=Lane.BULK, chunks=500, embedded=400, changed_at=START)
    assert said == ["handbook/leave.md  edited  400 of 500 chunks embedded  searchable after 0.18 s"]
    lines.printing.backlog(0)
    assert len(lines.lines) == 2


def test_progress_without_a_terminal_is_a_line_every_five_seconds(lines: Lines) -> None:
    done = 0
    for _ in range(41):  # twenty seconds
        lines.printing.backlog(1000 - done)
        lines.clock.at += 0.5
        for _ in range(10):
            lines.say(Result.PUBLISHED, lane=Lane.BULK, new=True, document_id=done)
        done += 10
    assert len(lines.lines) == 4
    assert lines.lines[0] == "indexing: 100 of 1,000 documents (10 %), 20 documents/s, 45.0 s left"


def test_the_pace_forgets_what_is_long_past() -> None:
    pace = Pace(window_s=10)
    pace.mark(0, 0)
    assert pace.words(0, 100) == ""
    for second in range(1, 60):
        pace.mark(second, second)
    pace.mark(60, 159)
    assert pace.rate == pytest.approx((159 - 50) / 10)


def test_a_terminal_gets_a_bar_and_lines_above_it() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock, terminal = SetClock(), Terminal()
    meter: Meter = meter_for(terminal, lambda text: None, clock.monotonic)
    assert isinstance(meter, BarMeter)
    meter.show(1, 10)
    meter.line("handbook/[bold]leave.md  edited :smile:")
    clock.at += 1
    meter.show(5, 10)
    meter.clear()
    assert "handbook/[bold]leave.md  edited :smile:" in terminal.getvalue()
    assert "5/10" in terminal.getvalue().replace(" ", "")
    assert isinstance(meter_for(io.StringIO(), lambda text: None, clock.monotonic), PlainMeter)
