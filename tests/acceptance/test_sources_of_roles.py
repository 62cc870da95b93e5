"""Which sources are served, when roles and commands do not have the same settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.roles import EVERYTHING, SCHEDULE, WATCH, Deployment, until
from tests.acceptance.test_roles_on_servers import place, weaviate_settings
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis
from tests.servers.weaviate import Weaviate

__all__ = ["place"]


def have(deployment: Deployment, *roots: Path) -> None:
    """What is started from now on has these sources."""
    deployment.environment["HEADWATER_SOURCES"] = json.dumps([str(root) for root in roots])


@pytest.mark.timeout(500)
def test_a_source_leaves_with_the_last_role_that_has_it(
    redis: Redis,
    postgres: Postgres,
    weaviate: Weaviate,
    weaviate_prefix: str,
    place: Path,
    notes: Path,
) -> None:
    wiki, other = place / "wiki", place / "other"
    wiki.mkdir()
    other.mkdir()
    (other / "other.md").write_text("# Other\n\nwords of nobody\n")
    (wiki / "old.md").write_text("# Old\n\nsayings of the wiki\n")
    database = postgres.empty().render_as_string(hide_password=False)
    settings = {"LEDGER__URL": database, **weaviate_settings(weaviate, weaviate_prefix)}
    with Deployment(place, notes, redis.url, **settings) as deployment:
        deployment.write("leave.md", "days of holiday")
        have(deployment, notes, wiki)
        roles = deployment.start(*EVERYTHING)
        deployment.shows("sayings of the wiki")
        deployment.shows("days of holiday")

        have(deployment, other)
        refused = deployment.run("ops.cli", "sync")
        assert (refused.returncode, "does not keep other" in refused.stderr) == (2, True), refused.stderr
        watch, schedule = deployment.start(WATCH, SCHEDULE)
        watch.says("not in these settings: notes, wiki")
        schedule.says("schedule: broker")
        assert deployment.finds("sayings of the wiki")
        assert deployment.finds("days of holiday")
        assert deployment.get("/readyz").status_code == 200
        assert (watch.end(), schedule.end()) == (0, 0)

        have(deployment, notes)
        started = []
        for command, role in zip(EVERYTHING, roles, strict=True):
            assert deployment.finds("days of holiday")
            role.end()
            started += deployment.start(command)
            started[-1].says("broker")
        watch, *_ = started
        watch.says("in service, but not in these settings: other, wiki")
        until(lambda: deployment.finds("days of holiday"), "the api answers again")
        until(lambda: not deployment.finds("sayings of the wiki"), "the wiki is out of service")
        until(lambda: deployment.finds("days of holiday"), "the notes are not")
        watch.says("out of service: ")
