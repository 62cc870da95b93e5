"""What every test may use, and what none may touch: the settings and data of whoever runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.embedding.models import hub_cache
from tests.servers import objects as object_server
from tests.servers import postgres as postgres_server
from tests.servers import redis as redis_server
from tests.servers import weaviate as weaviate_server
from tests.servers.process import NotInstalled, missing
from tests.servers.redis import Redis

SHARED_DATA = Path(__file__).resolve().parents[1] / "../shared/data"


# Where tests shall find running servers; read before the variables are taken away from the tests.
_RUNNING_WEAVIATE = weaviate_server.elsewhere(os.environ)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No HEADWATER_ variable is set; the default data folder is a fresh one, and so is the cache: what a
    developer's machine found out before must not decide a test. The hub's and the installer's own caches are
    theirs still: what is in them takes gigabytes to fetch."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
            patch.delenv(name)
        patch.setenv("HF_HUB_CACHE", str(hub_cache(os.environ)))
        patch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or str(caches / "uv"))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("user-data")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user-cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that lies beside the repository; read only."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is not here")
    return SHARED_DATA.resolve()


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_server.ObjectServer]:
    """One S3 server for all tests; each makes a bucket of its own, and none stops it."""
    try:
        with object_server.serving(tmp_path_factory.mktemp("objects")) as server:
            yield server
    except NotInstalled as fault:
        missing(fault)


@pytest.fixture(scope="session")
def weaviate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[weaviate_server.Weaviate]:
    """One Weaviate for all tests; each takes a ``weaviate_prefix`` of its own, and none stops it."""
    if _RUNNING_WEAVIATE is not None:
        yield _RUNNING_WEAVIATE
        return
    try:
        with weaviate_server.serving(tmp_path_factory.mktemp("weaviate")) as server:
            yield server
    except NotInstalled as fault:
        missing(fault)


@pytest.fixture
def weaviate_prefix(weaviate: weaviate_server.Weaviate) -> Iterator[str]:
    """A prefix that nobody else has; its collections are removed afterwards."""
    prefix = weaviate_server.fresh_prefix()
    yield prefix
    weaviate_server.remove_collections(weaviate, prefix)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis for many tests: each uses a prefix of its own, or empties it."""
    if (there := redis_server.named()) is not None:
        yield there
        return
    try:
        with redis_server.serving(tmp_path_factory.mktemp("redis")) as started:
            yield started
    except NotInstalled as fault:
        missing(fault)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis for one test, which may kill, stop and empty it."""
    try:
        with redis_server.serving(tmp_path) as started:
            yield started
    except NotInstalled as fault:
        missing(fault)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Postgres]:
    """A real PostgreSQL server; a test takes a database of its own from it."""
    try:
        with postgres_server.running() as server:
            yield server
    except NotInstalled as fault:
        missing(fault)
