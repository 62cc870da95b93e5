"""What people see of numbers, times and names."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import showing
from ops.stages import STAGES, stages


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("leave.md", "leave.md"),
        ("two words é 日本.md", "two words é 日本.md"),
        ("two\nlines\t.md", "two\\nlines\\t.md"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("csi \x9b2J", "csi \\x9b2J"),
        ("exe\u202etxt.md", "exe\\u202etxt.md"),
        ("line\u2028separator", "line\\u2028separator"),
        ("lone \udc80 surrogate", "lone \\udc80 surrogate"),
    ],
)
def test_a_name_cannot_reach_the_terminal_as_a_command(name: str, shown: str) -> None:
    assert showing.plain(name) == shown


@given(st.text())
def test_whatever_is_shown_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = showing.plain(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "just now"),
        (0.9, "just now"),
        (1, "1 second ago"),
        (59.9, "59 seconds ago"),
        (180, "3 minutes ago"),
        (7200, "2 hours ago"),
        (86400, "1 day ago"),
        (20 * 86400, "2 weeks ago"),
        (800 * 86400, "2 years ago"),
    ],
)
def test_ages(seconds: float, shown: str) -> None:
    assert showing.ago(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0.00 s"), (0.184, "0.18 s"), (12.34, "12.3 s"), (252, "4 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert showing.duration(seconds) == shown


def test_stages_of_less_than_ten_milliseconds_keep_a_decimal() -> None:
    assert showing.milliseconds(0.00042) == "0.4 ms"
    assert showing.milliseconds(0.1842) == "184 ms"
    assert showing.milliseconds(1.5) == "1,500 ms"
    assert showing.milliseconds(90) == "1 min 30 s"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(1, "1 byte"), (512, "512 bytes"), (1536, "1.5 KiB"), (16 * 2**20, "16.0 MiB"), (3 * 2**40, "3.0 TiB")],
)
def test_sizes(size_bytes: int, shown: str) -> None:
    assert showing.size(size_bytes) == shown


def test_times_of_machines_are_read_with_any_offset() -> None:
    assert showing.seconds_of("1970-01-01T00:00:00.250000Z") == 0.25
    assert showing.seconds_of("1970-01-01T01:00:00+01:00") == 0.0


def test_a_time_beyond_the_calendar_is_still_shown() -> None:
    assert showing.moment(1e15) == "1000000000000000 seconds after 1970"


def test_times_for_people_carry_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert showing.moment(0.0) == "1970-01-01 05:30:00 +05:30"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_passage_is_wrapped_and_cut() -> None:
    text = "First paragraph.\n\n" + "word " * 100
    shown = showing.wrapped(text, width=40, lines=4, indent="   ")
    assert len(shown) == 4
    assert shown[0] == "   First paragraph."
    assert shown[-1].endswith("…")
    assert all(len(line) <= 40 for line in shown)
    assert showing.wrapped("short", width=40, lines=4, indent="") == ["short"]


def test_lines_wrapped_by_hand_are_joined_and_structure_is_kept() -> None:
    text = (
        "# Leave\n\nYou have 27 days of paid leave a year, besides the\nten public holidays.\n"
        "- one point that is long enough to have been wrapped\n- another\n\tcode that stays as it stands\n"
    )
    assert showing.wrapped(text, width=90, lines=9, indent="") == [
        "# Leave",
        "You have 27 days of paid leave a year, besides the ten public holidays.",
        "- one point that is long enough to have been wrapped",
        "- another",
        "    code that stays as it stands",
    ]


def test_stages_split_the_whole_lag() -> None:
    split = stages(changed_at=10.0, observed_at=10.1, claimed_at=10.3, staged_at=10.6, finished_at=10.7)
    assert list(split) == list(STAGES)
    parts = sum(seconds for stage, seconds in split.items() if stage != "total")
    assert split["total"] == pytest.approx(parts) == pytest.approx(0.7)


def test_stages_that_were_not_reached_are_left_out() -> None:
    tombstone = stages(changed_at=1.0, observed_at=1.5, claimed_at=None, staged_at=None, finished_at=1.5)
    assert tombstone == {"detect": 0.5, "total": 0.5}
    nothing_to_stage = stages(
        changed_at=1.0, observed_at=1.5, claimed_at=2.0, staged_at=None, finished_at=2.5
    )
    assert nothing_to_stage == {"detect": 0.5, "queue": 0.5, "process": 0.5, "total": 1.5}


def test_stages_are_never_negative() -> None:
    assert stages(changed_at=5.0, observed_at=4.0, claimed_at=3.0, staged_at=2.0, finished_at=1.0) == {
        "detect": 0.0,
        "queue": 0.0,
        "process": 0.0,
        "publish": 0.0,
        "total": 0.0,
    }
