"""The production stack with every server behind TLS, certified by an authority of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.roles import EVERYTHING, Deployment
from tests.acceptance.test_roles_on_servers import weaviate_settings
from tests.servers import redis as redis_server
from tests.servers.certificates import certified
from tests.servers.process import NotInstalled, missing
from tests.servers.weaviate import Weaviate
from tests.servers.weaviate_front import fronted


@pytest.mark.timeout(500)
def test_an_edit_over_redis_and_weaviate_behind_tls(
    weaviate: Weaviate, weaviate_prefix: str, notes: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    tls = certified(tmp_path)
    try:
        with redis_server.serving(tmp_path, tls=tls) as redis, fronted(weaviate, tls=tls) as secured:
            settings = weaviate_settings(secured, weaviate_prefix)
            with Deployment(place, notes, redis.url, **settings) as deployment:
                deployment.environment["SSL_CERT_FILE"] = str(tls.authority)
                deployment.write("leave.md", "twenty-seven days of holiday")
                deployment.start(*EVERYTHING)
                deployment.shows("twenty-seven days")
                deployment.write("leave.md", "thirty days of holiday")
                deployment.shows("thirty days")
                result = deployment.run("celery", "-A", "ops.celery_app", "inspect", "ping", "--timeout", "5")
                assert result.returncode == 0, result.stderr
                assert redis_server.IN_URL not in deployment.said() + result.stdout + result.stderr
    except NotInstalled as fault:
        missing(fault)
