"""The whole production stack, one process a role, on real servers: and what the commands say of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance.roles import API, EVERYTHING, SCHEDULE, WATCH, Deployment, until
from tests.servers.postgres import Postgres
from tests.servers.process import free_port
from tests.servers.redis import IN_URL, Redis
from tests.servers.weaviate import Weaviate


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def weaviate_settings(weaviate: Weaviate, prefix: str) -> dict[str, str]:
    return {
        "INDEX__KIND": "weaviate",
        "INDEX__URL": weaviate.url,
        "INDEX__GRPC_PORT": str(weaviate.grpc_port),
        "INDEX__PREFIX": prefix,
        **({} if weaviate.api_key is None else {"INDEX__API_KEY": weaviate.api_key}),
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", [WATCH, SCHEDULE, API])
def test_a_wrong_password_of_the_ledger_is_said_and_ends_the_process(
    redis: Redis, postgres: Postgres, place: Path, notes: Path, role: Sequence[str]
) -> None:
    if postgres.server is None:
        pytest.skip("the server is somebody else's, and may ask for no password")
    wrong = postgres.url.set(password="wrong-secret").render_as_string(hide_password=False)
    index = {"INDEX__KIND": "weaviate", "INDEX__URL": f"http://127.0.0.1:{free_port()}"}  # never asked
    with Deployment(place, notes, redis.url, LEDGER__URL=wrong, **index) as deployment:
        result = deployment.run("ops.cli", *role)
    assert result.returncode == 1
    assert "refuses the user or the password" in result.stderr
    assert "ledger.password_file" in result.stderr
    assert "wrong-secret" not in result.stdout + result.stderr


@pytest.mark.timeout(500)
def test_an_edit_through_redis_postgresql_and_weaviate(
    redis: Redis,
    postgres: Postgres,
    weaviate: Weaviate,
    weaviate_prefix: str,
    place: Path,
    notes: Path,
) -> None:
    database = postgres.empty().render_as_string(hide_password=False)
    settings = {"LEDGER__URL": database, **weaviate_settings(weaviate, weaviate_prefix)}
    with Deployment(place, notes, redis.url, **settings) as deployment:
        deployment.write("leave.md", "twenty-seven days of holiday")
        deployment.write("pay.md", "paid on the last day of each month")
        _, fresh, *_ = deployment.start(*EVERYTHING)
        deployment.shows("twenty-seven days")
        fresh.says("4 threads")
        deployment.write("leave.md", "thirty days of holiday")
        deployment.shows("thirty days")
        assert not deployment.finds("twenty-seven")
        (notes / "leave.md").unlink()
        until(lambda: not deployment.finds("thirty days"), "what is deleted is not served")

        doctor = deployment.run("ops.cli", "doctor").stdout
        for about in ("Redis", "PostgreSQL", "Weaviate"):
            assert re.search(rf"^ok    .*answers, {about} \d+\.\d+", doctor, re.MULTILINE), doctor
        assert "ok    clock of the ledger: agrees" in doctor
        assert "ok    queue fresh: 0 messages" in doctor
        assert "ok    broker's memory: " in doctor
        said = deployment.said()
        for command in (
            ["search", "last day of the month"],
            ["status"],
            ["explain", "notes/pay.md"],
            ["sync"],
            ["export"],
            ["doctor"],
        ):
            result = deployment.run("ops.cli", *command)
            assert result.returncode in (0, 1), result.stderr
            assert result.returncode == 0 or command == ["doctor"], result.stdout + result.stderr
            said += result.stdout + result.stderr
        assert "pay.md" in said
        assert not (place / "data" / "headwater.sqlite").exists()
        for secret in (IN_URL, weaviate.api_key, postgres.url.password):
            assert not secret or secret not in said


@pytest.mark.timeout(300)
def test_everything_in_one_process_with_the_index_in_weaviate(
    weaviate: Weaviate, weaviate_prefix: str, place: Path, notes: Path
) -> None:
    with Deployment(place, notes, "", **weaviate_settings(weaviate, weaviate_prefix)) as deployment:
        deployment.write("a.md", "as it was")
        deployment.start(("up",))
        deployment.shows("as it was")
        deployment.write("a.md", "as it is now")
        deployment.shows("as it is now")


@pytest.mark.timeout(300)
def test_up_beside_a_shared_broker_leaves_the_claims_of_others(
    redis: Redis, place: Path, notes: Path
) -> None:
    with Deployment(place, notes, redis.url) as deployment:
        deployment.write("a.md", "as it was")
        (up,) = deployment.start(("up",))
        deployment.shows("as it was")
        deployment.write("a.md", "as it is now")
        deployment.shows("as it is now")
        told = deployment.get("/metrics").text
        assert "headwater_exporter_up 1.0\n" in told
        assert "headwater_broker_up 1.0\n" in told
        assert up.end() == 0


@pytest.mark.timeout(300)
def test_up_outlives_a_broker_that_goes_away_again_and_again(
    own_redis: Redis, place: Path, notes: Path
) -> None:
    """Its workers share a process: none may close what another one waits on."""
    assert own_redis.server is not None
    with Deployment(place, notes, own_redis.url) as deployment:
        deployment.write("a.md", "as it was")
        (up,) = deployment.start(("up",))
        deployment.shows("as it was")
        for turn in range(4):
            own_redis.server.kill()
            deployment.write("a.md", f"written without a broker, time {turn}")
            own_redis.server.start()
            deployment.shows(f"written without a broker, time {turn}")
        assert up.end() == 0
        assert "epoll" not in up.said()


@pytest.mark.timeout(300)
def test_the_api_says_which_server_is_missing(redis: Redis, place: Path, notes: Path) -> None:
    settings = {
        "LEDGER__URL": f"postgresql://headwater:ledger-secret@127.0.0.1:{free_port()}/headwater",
        "INDEX__KIND": "weaviate",
        "INDEX__URL": f"http://127.0.0.1:{free_port()}",
    }
    with Deployment(place, notes, redis.url, **settings) as deployment:
        (api,) = deployment.start(API)
        api.says("waiting: ")
        answer = deployment.get("/readyz")
        assert answer.status_code == 503
        assert "ledger" in answer.json()["detail"].lower()
        assert deployment.get("/healthz").status_code == 200
        assert deployment.get("/v1/status").status_code == 503
        assert api.end() == 0
        assert "ledger-secret" not in deployment.said() + answer.text
