"""Settings of the kind sql: what is refused at the start, and that nothing secret is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingestion.errors import Misconfigured, WrongSettings
from ops.kinds.sql import SqlSettings
from ops.settings import load

SECRET = "hunter2"
GIVEN: dict[str, Any] = {
    "name": "shop",
    "kind": "sql",
    "url": f"postgresql://reader:{SECRET}@db.example.com/shop",
    "query": "SELECT id, name FROM items",
    "key": ["id"],
}


def loaded(**given: Any) -> SqlSettings:
    (source,) = load(arguments={"sources": [{**GIVEN, **given}]}, environ={}).sources
    assert isinstance(source, SqlSettings)
    return source


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "db.example.com"}, "is no address"),
        ({"url": 7}, "url: should be a valid string"),
        ({"url": f"nosuch://reader:{SECRET}@host/db"}, "SQLAlchemy does not know"),
        ({"url": f"oracle+oracledb://reader:{SECRET}@host/db"}, "needs the driver oracledb"),
        ({"url": "sqlite:///shop.db"}, "names no whole path"),
        ({"url": "sqlite://"}, "names no whole path"),
        ({"query": "DELETE FROM items"}, "should be a SELECT"),
        ({"key": []}, "should name the columns"),
        ({"key": ["id", "id"]}, "names a column twice"),
        ({"text": "{id.real}"}, "name a column"),
        ({"text": "{id"}, "cannot be read"),
        ({"cron": "61 * * * *"}, "no schedule"),
        ({"cron": "0 3 * * *", "list_every_s": 60}, "both list_every_s and cron"),
        ({"password_file": "/run/secret"}, "keep one of the two"),
        ({"every_s": 0}, "every_s: should be greater"),
    ],
)
def test_what_makes_no_sense_is_refused_and_no_password_repeated(given: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongSettings, match=said) as refused:
        loaded(**given)
    assert SECRET not in str(refused.value)


def test_the_password_is_shown_nowhere(tmp_path: Path) -> None:
    settings = load(arguments={"sources": [GIVEN]}, environ={})
    (source,) = settings.sources
    assert source.place == "postgresql://reader:***@db.example.com/shop"
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.in_force())


def test_a_password_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}/@\n")
    source = loaded(url="postgresql://reader@db.example.com/shop", password_file=str(file))
    url = source.database_url()
    assert (url.drivername, url.password) == ("postgresql+psycopg", f"{SECRET}/@")
    file.unlink()
    with pytest.raises(Misconfigured, match="password_file of the source shop"):
        source.database_url()


def test_it_is_listed_on_its_own_schedule() -> None:
    assert loaded().schedule.after(0.0) == 900.0
    assert loaded(list_every_s=60).schedule.after(0.0) == 60.0
    assert loaded(cron="0 3 * * *").schedule.after(0.0) == 3 * 3600.0
