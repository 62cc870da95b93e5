"""Rows as texts, and values of a change column."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest

from ingestion.sources.sql import changes
from ingestion.sources.sql.texts import BadTemplate, Template, Unfit, body_of, doubled, lines

UTC = datetime.UTC
EARLIEST = datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=14)))
NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_template_names_columns_and_how_they_are_written() -> None:
    template = Template("# {name}\n\n{{{price:.2f}}} {note}")
    assert template.columns == ("name", "price", "note")
    row = {"name": "Tea", "price": decimal.Decimal("3.5"), "note": None, "other": 1}
    assert template.text(row) == "# Tea\n\n{3.50} "


@pytest.mark.parametrize(
    "text", ["{", "{}", "{0.real}", "{name!r}", "{name[0]}", "{a:{b}}", "{a:99999}", "}"]
)
def test_what_is_more_than_a_column_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        Template(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (1.5, "1.5"),
        (NOON, "2026-03-01 12:00:00+00:00"),
        ({"b": 1, "a": "ü"}, '{"a": "ü", "b": 1}'),
        ([1, None], "[1, null]"),
        (b"caf\xc3\xa9", "café"),
        ("a\0b", "a\0b"),
    ],
)
def test_values_are_written_the_same_each_time(value: Any, text: str | None) -> None:
    assert lines({"id": 1, "value": value}) == ("id: 1" if text is None else f"id: 1\nvalue: {text}")


def test_what_cannot_be_written_says_why_and_shows_nothing_of_it() -> None:
    with pytest.raises(Unfit, match="its photo is no UTF-8"):
        lines({"photo": b"\xff\xd8"})
    with pytest.raises(Unfit, match=r"its price cannot be written as \{price:\.2f\}") as refused:
        Template("{price:.2f}").text({"price": "a secret"})
    assert "secret" not in str(refused.value)
    with pytest.raises(Unfit, match="no valid text"):
        body_of("caf\udce9")


def test_two_columns_of_one_name_are_found() -> None:
    assert doubled(["id", "name", "id"]) == "id"
    assert doubled(["id", "ID"]) is None


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(datetime.timezone(datetime.timedelta(hours=5))),
        "2026-03-01 12:00:00",
        "2026-03-01T12:00:00Z",
    ],
)
def test_a_time_without_a_zone_is_utc(value: Any) -> None:
    assert changes.moment(value) == NOON.timestamp()


@pytest.mark.parametrize("value", [None, 5, "soon", datetime.date(2026, 3, 1), "infinity"])
def test_what_tells_no_time_tells_none(value: Any) -> None:
    assert changes.moment(value) is None


def test_a_young_time_of_whole_seconds_proves_nothing() -> None:
    at = NOON.timestamp()
    assert changes.token(NOON, at + 1.0) is None
    assert changes.token(NOON, at + 60.0) == NOON.isoformat()
    assert changes.token(NOON.replace(microsecond=1), at + 1.0) is not None
    assert changes.token(None, at) is None
    assert changes.token(7, at) == "7"


@pytest.mark.parametrize(
    ("latest", "start"),
    [
        (1000, 990),
        (decimal.Decimal(1000), 990),
        (NOON, NOON - datetime.timedelta(seconds=60)),
        (datetime.date(2026, 3, 1), datetime.date(2026, 2, 28)),
        ("2026-03-01 12:00:00.5", "2026-03-01 11:59:00"),
        ("2026-03-01T12:00:00Z", "2026-03-01T11:59:00"),
        ("v7", "v7"),
        (EARLIEST, EARLIEST),
    ],
)
def test_it_is_asked_from_before_the_latest(latest: Any, start: Any) -> None:
    found = changes.since(latest, 60.0, 10)
    assert found == start
    assert found <= latest


def test_a_time_to_come_is_no_time_of_a_change() -> None:
    now = NOON.timestamp()
    for late in (NOON.replace(year=9999), NOON.replace(year=9999, tzinfo=None), "9999-12-31 00:00:00"):
        assert changes.cap(late, now) < late
    assert changes.cap(NOON, now) > NOON
    assert changes.cap(10**9, now) is None
