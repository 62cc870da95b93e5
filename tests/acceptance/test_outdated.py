"""An upgrade that was begun while processes of the old version still ran."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.acceptance.roles import API, DEADLINE_S, EVERYTHING, EXPORTER, Deployment, RoleProcess, until
from tests.servers.redis import Redis

NEWER = "9999"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def migrate(place: Path) -> None:
    """As a newer version would: to a schema that nobody here knows."""
    engine = sa.create_engine(f"sqlite:///{place / 'data' / 'headwater.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :newer"), {"newer": NEWER})
    engine.dispose()


def ended(role: RoleProcess) -> None:
    assert role.process.wait(DEADLINE_S) == 1
    assert "A newer version of Headwater has migrated" in role.said()
    assert f"(schema {NEWER})" in role.said()
    assert "Start it again with the newer version." in role.said()


@pytest.mark.timeout(500)
def test_every_role_ends_when_the_ledger_is_newer_than_it(redis: Redis, place: Path, notes: Path) -> None:
    with Deployment(place, notes, redis.url) as deployment:
        deployment.write("a.md", "before the upgrade")
        roles = deployment.start(*EVERYTHING, EXPORTER)
        plain = deployment.celery("worker", "-P", "threads", "-Q", "fresh", "-l", "info")
        deployment.shows("before the upgrade")
        until(lambda: all("Headwater" in role.said() for role in roles), "all have begun")
        plain.says(" ready.")
        migrate(place)
        for role in (*roles, plain):
            ended(role)
        (again,) = deployment.start(API)
        assert again.process.wait(DEADLINE_S) == 1
        assert "was made by a newer version" in again.said()


@pytest.mark.timeout(300)
def test_so_does_a_daemon(place: Path, notes: Path) -> None:
    with Deployment(place, notes, "") as deployment:
        deployment.write("a.md", "before the upgrade")
        (daemon,) = deployment.start(("up",))
        deployment.shows("before the upgrade")
        migrate(place)
        ended(daemon)
