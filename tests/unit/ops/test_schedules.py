"""When a source is looked at next."""

from __future__ import annotations

import datetime

import pytest

from ops.schedules import Cron, Every


def at(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("line", "now", "then"),
    [
        ("30 2 * * *", "2026-11-28 05:00:00", "2026-11-29 02:30:00"),
        ("30 2 * * *", "2026-11-28 02:29:59.9", "2026-11-28 02:30:00"),
        ("30 2 * * *", "2026-11-28 02:30:00", "2026-11-29 02:30:00"),
        ("*/15 * * * *", "2026-11-28 05:50:00", "2026-11-28 06:00:00"),
        ("0 0 29 2 *", "2026-11-28 05:50:00", "2028-02-29 00:00:00"),
        ("0 9 * * MON", "2026-11-28 05:50:00", "2026-11-30 09:00:00"),
    ],
)
def test_a_crontab_says_the_next_moment(line: str, now: str, then: str) -> None:
    assert Cron(line).after(at(now)) == at(then)


def test_what_was_missed_is_not_made_up_for() -> None:
    now = at("2026-11-28 05:00:00")
    assert Every(60.0).after(now) == now + 60.0
    assert Cron("* * * * *").after(now + 86_400) == now + 86_400 + 60


@pytest.mark.parametrize("line", ["", "* * * *", "* * * * * *", "61 * * * *", "x * * * *", "0 0 31 2 *"])
def test_what_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"fields|no schedule|never comes"):
        Cron(line)
